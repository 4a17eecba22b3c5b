"""One request with its secret, and the answer to it.

    machine ── body, piece by piece ──────────────────────────► host       `_upload`, beside
            ◄── interim answers, head, body ◄── watched ◄────── host       `_download`

Each piece is waited for by whoever sent the one before: what is held of a request is bounded, whatever its sides do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import h11

from .... import errors
from . import head
from .client import Client
from .echo import Watch
from .outside import STALL_S, Outside


class Gone(Exception):
    """The machine's side has ended, or speaks no HTTP."""


class Exchange:
    """`request`: with its secret. `status`: of the answer, when it has begun, which is told before anybody has it."""

    def __init__(self, client: Client, request: h11.Request, watch: Watch, on_answer: Callable[[int], None]) -> None:
        self._client, self._request, self._watch, self._on_answer = client, request, watch, on_answer
        self._has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers)
        self.status: int | None = None

    @property
    def can_be_repeated(self) -> bool:
        """Whether it may be asked once more when nobody has answered: it changes nothing, and nothing of it is gone."""
        return self.status is None and not self._has_body and self._request.method in (b"GET", b"HEAD", b"OPTIONS")

    async def run(self, outside: Outside) -> bool:
        """Ask, and answer; whether both sides may go on with another one.

        `PeerError`: of the host; `echo.Echoed`: its answer is cut off; `Gone`: nobody is there to be answered.
        """
        outside.is_fresh = False
        upload = asyncio.create_task(self._upload(outside), name="upload")
        download = asyncio.create_task(self._download(outside), name="download")
        try:
            await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
            if not download.done():
                upload.result()  # who is gone needs no answer
                await download
            await asyncio.wait({download})
            download.result()
            return upload.done() and upload.result()
        finally:
            await _ended(upload, download)

    async def _upload(self, outside: Outside) -> bool:
        """Whether the host has taken all of it; it may have answered, and ended, before it has."""
        try:
            await outside.send(self._request)
            # When it is asked once more, the end of what had no body was read already.
            while self._client.http.their_state is h11.SEND_BODY:
                if isinstance(event := await self._received(), h11.Data):
                    await outside.send(h11.Data(data=event.data))
            await outside.send(h11.EndOfMessage())  # trailers stay behind: they are no headers of the request
            return True
        except OSError:
            return False

    async def _received(self) -> h11.Event:
        try:
            event = await self._client.receive(STALL_S)
        except (h11.RemoteProtocolError, OSError) as error:  # `TimeoutError` is one
            raise Gone from error
        if not isinstance(event, h11.Data | h11.EndOfMessage):
            raise Gone
        return event

    async def _download(self, outside: Outside) -> None:
        while not isinstance(event := await outside.receive(), h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse):
                await self._interim(event)
            elif isinstance(event, h11.Response):
                await self._begin(event)
            elif isinstance(event, h11.Data):
                await self._send_data(self._watch.feed(event.data))
        await self._send_data(self._watch.rest())
        await self._send(h11.EndOfMessage())

    async def _interim(self, event: h11.InformationalResponse) -> None:
        headers = self._watched(event)
        if self._client.http.their_http_version != b"1.0":  # which has none
            await self._send(h11.InformationalResponse(status_code=event.status_code, headers=headers))

    async def _begin(self, event: h11.Response) -> None:
        headers = self._watched(event)
        self.status = event.status_code
        self._on_answer(self.status)
        await self._send(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))

    def _watched(self, event: h11.InformationalResponse | h11.Response) -> list[tuple[bytes, bytes]]:
        headers = list(head.answered(event))
        self._watch.check(b"\n".join([event.reason, *(each for header in headers for each in header)]))
        return headers

    async def _send_data(self, data: bytes) -> None:
        if data:
            await self._send(h11.Data(data=data))

    async def _send(self, event: h11.Event) -> None:
        try:
            await self._client.send(event)
        except h11.LocalProtocolError as error:
            raise errors.PeerError("its answer cannot be passed on") from error
        except OSError as error:
            raise Gone from error


async def _ended(*tasks: asyncio.Task[bool] | asyncio.Task[None]) -> None:
    """None of them goes on; what they raised was told, or nobody asks for it any more."""
    for task in tasks:
        task.cancel()
    waiting: Sequence[asyncio.Task[bool] | asyncio.Task[None]] = tasks
    await asyncio.gather(*waiting, return_exceptions=True)
