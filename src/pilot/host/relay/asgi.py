"""An Exchange as starlette sees a request, and a starlette Response as an Exchange's answer; no server of its own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from . import paths
from .edge import Exchange


def request_of(exchange: Exchange) -> Request:
    """For `starlette.responses` and their reading of bodies; routing was done before."""
    return Request(_scope(exchange), _Receiving(exchange))


async def send(exchange: Exchange, request: Request, response: Response) -> None:
    """Answer with it; a streaming one piece by piece, each at once."""
    await response(request.scope, request.receive, _Sending(exchange))


def _scope(exchange: Exchange) -> Scope:
    head = exchange.head
    host, port = exchange.address[:2]
    return {
        "type": "http",
        # 2.4: a stream that nobody takes any more ends with its task, so that starlette need not listen for it.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": head.version,
        "method": head.method,
        "scheme": exchange.scheme,
        "path": "/" + "/".join(paths.split(head.path)),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": "",
        "headers": list(head.headers),
        "client": (exchange.peer, 0),
        "server": (host, port),
    }


class _Receiving:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_through = False

    async def __call__(self) -> Message:
        if self._is_through:
            await self._exchange.gone.wait()
            return {"type": "http.disconnect"}
        self._exchange.go_on()
        piece = await self._exchange.body.piece()
        self._is_through = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}


class _Sending:
    def __init__(self, exchange: Exchange) -> None:
        self._answer = exchange.answer

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answer.begin(message["status"], message["headers"])
            return
        self._answer.write(message.get("body", b""))
        if message.get("more_body"):
            self._answer.flush()
        else:
            self._answer.end()
        await self._answer.drain()
