"""Calls with a request id are done once: asked again, also of the next agent, they get the first answer.

    Pilot-Request-Id: ID ─► known?  yes ─► the first answer, with Pilot-Repeated: true (409 for another request)
                              no ─► done ─► answer written down (a line of a journal in init's store) ─► answered

What is no answer (503, 504, an internal error) is not remembered: it may be better the next time. An agent that dies
between the deed and its line does it again; all calls but `restart`, `kill` and `start` say the same twice anyway.
Remembered are the newest answers, MOST of them and MOST_BYTES.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable

import msgspec

from .. import errors
from ..server import response
from ..server.call import Call
from ..server.response import Response
from ..server.routing import Endpoint, Route
from ..wire import faults, operations
from ..wire.operations import AnyOperation
from .journal import Journal
from .machine import Link

STORE_NAME = "agent/requests"
MOST = 2048
MOST_BYTES = 4 << 20
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_NO_ANSWERS = frozenset({408, 429})
_encode = msgspec.json.Encoder().encode


class Answered(msgspec.Struct, frozen=True):
    """A line. `digest` is of the request."""

    id: str
    digest: str
    status: int
    body: str
    headers: dict[str, str]


class Requests:
    """One per machine. `answer_error` is how the listener tells errors."""

    def __init__(self, link: Link, answer_error: Callable[[str, BaseException], Response]) -> None:
        self._journal = Journal(link, STORE_NAME)
        self._answer_error = answer_error
        self._answered: dict[str, Answered] = {}
        self._bytes = 0
        self._running: dict[str, tuple[str, asyncio.Event]] = {}

    def restore(self) -> None:
        """What former agents have answered."""
        for line in self._journal.restore():
            self._keep(msgspec.json.decode(line, type=Answered), len(line))

    def close(self) -> None:
        """Leave all to the next agent."""
        self._journal.close()

    def once(self, route: Route) -> Route:
        """The same route, done once for each request id, where it changes something and answers in one piece."""
        return Route(route.operation, self._endpoint(route)) if _can_repeat(route.operation) else route

    def _endpoint(self, route: Route) -> Endpoint:
        async def endpoint(call: Call) -> Response | None:
            id = call.request.headers.get(operations.REQUEST_ID.lower())
            return await (route.endpoint(call) if id is None else self._once(id, route, call))

        return endpoint

    async def _once(self, id: str, route: Route, call: Call) -> Response | None:
        if not _ID.fullmatch(id):
            raise faults.InvalidRequest(f"{operations.REQUEST_ID}: it is not 1 to 128 printable characters")
        digest = _digest(call, await call.body())
        while (running := self._running.get(id)) is not None:
            _require_same(id, digest, running[0])
            await running[1].wait()
        if (known := self._answered.get(id)) is not None:
            _require_same(id, digest, known.digest)
            return _repeated(known)
        done = asyncio.Event()
        self._running[id] = (digest, done)
        try:
            return await self._first(id, digest, route, call)
        finally:
            del self._running[id]
            done.set()

    async def _first(self, id: str, digest: str, route: Route, call: Call) -> Response | None:
        try:
            answer = await route.endpoint(call)
        except errors.PilotError as error:
            self._remember(id, digest, self._answer_error(call.request.path, error))
            raise
        if answer is not None:
            self._remember(id, digest, answer)
        return answer

    def _remember(self, id: str, digest: str, answer: Response) -> None:
        if answer.status >= 500 or answer.status in _NO_ANSWERS or not isinstance(answer.body, bytes):
            return
        kept = Answered(id, digest, answer.status, answer.body.decode(), dict(answer.headers))
        line = _encode(kept)
        self._journal.append(line)
        self._keep(kept, len(line))
        if len(self._answered) > MOST or self._bytes > MOST_BYTES:
            self._give_up_half()

    def _keep(self, answered: Answered, size: int) -> None:
        self._answered[answered.id] = answered
        self._bytes += size

    def _give_up_half(self) -> None:
        newest = list(self._answered.values())[len(self._answered) // 2 + 1 :]
        lines = [_encode(each) for each in newest]
        self._journal.replace(lines)
        self._answered = {each.id: each for each in newest}
        self._bytes = sum(map(len, lines))


def _can_repeat(operation: AnyOperation) -> bool:
    return not (operation.method == "GET" or operation.websocket or operation.lines or operation.asked is bytes)


def _digest(call: Call, body: bytes) -> str:
    said = f"{call.request.method} {call.request.target}\n".encode() + body
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def _require_same(id: str, digest: str, known: str) -> None:
    if digest != known:
        raise errors.Conflict(
            f"{operations.REQUEST_ID} {id}: it was another request's", hint="an id is for one request"
        )


def _repeated(known: Answered) -> Response:
    headers = {name: value for name, value in known.headers.items() if name != "Content-Length"}
    told = [*headers.items(), (operations.REPEATED, "true")]
    body = known.body.encode()
    return response.Response(known.status, body, headers=told)
