"""WebSocket upgrades: authenticate, wake, dial, replay the request; after 101, and only then, raw bytes both ways.

    client ─ GET /v1/sprites/web/exec?cmd=… Upgrade ─► uvicorn ─► Upgrade ─ GET /v1/exec?cmd=… ─► agent
           ◄─────────────────── 101, then bytes as they come, in both directions ───────────────►
           ◄─────────────────── any other answer: that one answer, then both connections end ◄───

A connection to the machine on which no 101 came still speaks HTTP: what a client sent behind its request would be read
there as requests of ours, to the machine's whole API. So not a byte of it is passed on before 101.

Keepalives and framing are the agent's and the client's business. Each direction pauses its source when the other side
does not take what it has been given. A request that cannot be met is answered with JSON before any upgrade.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http
import json
import logging
import re
from typing import Any, cast

import h11

from ... import errors
from ...wire import faults
from ..machine.dial import Stream
from ..store.sprites import Sprite
from . import reach, relay, shapes
from .access import Access

log = logging.getLogger(__name__)

UPGRADE_TIMEOUT_S = 60.0
WORLD_NOT_RUNNING = faults.fault_of(faults.WorldNotRunning("")).code
HEAD_BYTES = 65536
HIGH_WATER_BYTES = 1 << 20
REFUSAL_BYTES = 1 << 20  # a machine's refusal is a small document

_NOT_FOR_THE_MACHINE = frozenset({"authorization", "host", "cookie"})
_NOT_OF_A_REFUSAL = relay.NOT_FOR_THE_CLIENT | {b"content-length"}


@dataclasses.dataclass(frozen=True)
class Head:
    """A request's line and headers. `target` is as sent, with its query."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def parse_head(data: bytes) -> Head:
    """`data` ends with the empty line; uvicorn has written it anew from what it parsed, so it is well formed."""
    request, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    method, target, _ = request.split(" ", 2)
    return Head(method, target, tuple((key, value.strip()) for key, _, value in pairs))


def plan_route(target: str) -> tuple[str, str]:
    """The sprite's name and the target to ask its machine for; `NotFound` for what is no upgrade of ours."""
    path, mark, query = target.partition("?")
    found = reach.find("GET", path, upgrade=True)
    return found.sprite, f"{found.path}{mark}{query}"


def replay(head: Head, target: str) -> bytes:
    """The request as the machine is asked it: another path, without what is between client and pilotd."""
    kept = [(key, value) for key, value in head.headers if key.lower() not in _NOT_FOR_THE_MACHINE]
    lines = [f"GET {target} HTTP/1.1", "host: machine", *(f"{key}: {value}" for key, value in kept)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def announce(answer: bytes) -> bytes:
    """The machine's 101 with what clients read from our headers."""
    line, _, rest = answer.partition(b"\r\n")
    ours = f"\r\nSprite-Version: {shapes.VERSION}\r\n"
    return line + ours.encode() + rest


def parse_status(answer: bytes) -> int:
    """The status of the machine's answer; `PeerError` when it is no HTTP answer."""
    match = re.match(rb"HTTP/1\.1 (101|[2-5][0-9][0-9]) ", answer)
    if match is None:
        raise errors.PeerError(f"upgrade: the machine's answer is no HTTP answer: {answer[:40]!r}")
    return int(match[1])


def parse_fault(answer: bytes) -> str | None:
    """The code of the agent's refusal."""
    match = re.search(rb"\r\n%s: *([a-z_]+)\r\n" % faults.HEADER.encode(), answer, re.IGNORECASE)
    return match and match[1].decode()


def parse_refusal(data: bytes, *, at_end: bool) -> bytes | None:
    """The one answer that `data` begins with, as the client is given it, or None while more of it is to come.

    What follows the answer is dropped with the connection. `at_end`: the machine has said all. `PeerError`: it is none.
    """
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "machine")]))
    try:
        parser.receive_data(data)
        if at_end:
            parser.receive_data(b"")
        return _whole_answer(parser)
    except h11.RemoteProtocolError as error:
        raise errors.PeerError(f"upgrade: the machine's answer is no HTTP answer: {str(error)[:200]}") from error


def _whole_answer(parser: h11.Connection) -> bytes | None:
    head, body = None, b""
    while (event := parser.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return refusal(head.status_code, body, relay.passed_on(head.headers, _NOT_OF_A_REFUSAL))
        else:
            raise errors.PeerError(f"upgrade: the machine answered out of turn: {type(event).__name__}")
    return None


def refusal(status: int, body: bytes, headers: relay.Headers) -> bytes:
    """A whole HTTP answer that ends the connection; `headers` say nothing of its length."""
    length, version = str(len(body)).encode(), shapes.VERSION.encode()
    ours = [(b"content-length", length), (b"sprite-version", version), (b"connection", b"close")]
    lines = b"".join(b"%s: %s\r\n" % pair for pair in (*headers, *ours))
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, _phrase(status), lines, body)


def _phrase(status: int) -> bytes:
    """The machine may answer with a status that has no name."""
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Refused"


class _Refused(Exception):
    """The machine's answer was not 101; `answer` is all of it, for the client."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("the machine refused the upgrade")
        self.answer = answer


class Upgrade(asyncio.Protocol):
    """One upgraded connection; uvicorn makes it (its `ws` protocol) and feeds it the request's head first."""

    def __init__(self, entry: Access, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self._entry = entry
        self._connections: set[Any] = server_state.connections
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()  # from the client: its head first, then what the machine is to get
        self._wanted = asyncio.Event()  # there is something in it
        self._head: Head | None = None
        self._is_deaf = False  # the machine takes no more
        self._writable = asyncio.Event()
        self._writable.set()
        self._serving: asyncio.Task[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._is_deaf:
            return
        self._received += data
        self._wanted.set()
        if len(self._received) > HIGH_WATER_BYTES:
            self._transport.pause_reading()
        if self._head is None and b"\r\n\r\n" in self._received:
            head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
            self._head, self._received = parse_head(head + b"\r\n\r\n"), bytearray(rest)
            self._serving = asyncio.get_running_loop().create_task(self._serve(self._head), name="upgrade")
            self._tasks.add(self._serving)
            self._serving.add_done_callback(self._tasks.discard)

    def connection_lost(self, reason: Exception | None) -> None:
        self._connections.discard(self)
        self._writable.set()
        if self._serving is not None:
            self._serving.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops: sessions outlive the connection, so it may go at any time."""
        if self._transport is not None:
            self._transport.close()

    # The way to the machine and back

    async def _serve(self, head: Head) -> None:
        assert self._transport is not None
        with contextlib.ExitStack() as use:
            try:
                async with asyncio.timeout(UPGRADE_TIMEOUT_S):
                    stream, answer = await self._switched(head, use)
            except _Refused as refused:
                self._end_with(refused.answer)
            except TimeoutError:
                self._refuse(503, "the sprite did not wake in time")
            except errors.PilotError as error:
                self._refuse(faults.fault_of(error).status, str(error))
            except Exception:
                log.exception("upgrade failed", extra={"target": head.target.partition("?")[0]})
                self._refuse(500, "internal error")
            else:
                self._transport.write(announce(answer))
                await self._relay(stream)

    async def _switched(self, head: Head, use: contextlib.ExitStack) -> tuple[Stream, bytes]:
        """A stream that speaks WebSocket from here on, and its 101. `_Refused` when the machine does not want to."""
        stream, answer = await self._open(head, use)
        if parse_status(answer) == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return stream, answer
        try:
            while (whole := parse_refusal(answer, at_end=False)) is None and len(answer) < REFUSAL_BYTES:
                piece = await stream.receive()
                if not piece:
                    whole = parse_refusal(answer, at_end=True)
                    break
                answer += piece
        finally:
            stream.close()
        if whole is None:
            raise errors.PeerError(f"upgrade: the machine's refusal is longer than {REFUSAL_BYTES} bytes")
        raise _Refused(whole)

    async def _open(self, head: Head, use: contextlib.ExitStack) -> tuple[Stream, bytes]:
        """The machine's answer to the upgrade; what it sends afterwards comes from the stream."""
        organisation = self._entry.organisation(head.header("authorization"))
        name, target = plan_route(head.target)
        if head.method != "GET":
            raise faults.MethodNotAllowed(f"upgrade: the method is {head.method}, not GET")
        if head.header("content-length") not in (None, "0") or head.header("transfer-encoding") is not None:
            raise faults.InvalidRequest("upgrade: a request to upgrade has no body")
        sprite = self._entry.sprite(organisation, name)
        use.enter_context(self._entry.activity.using(sprite.id))
        stream, answer = await self._ask(sprite, replay(head, target))
        try:
            lost = await self._lost_world(sprite, answer)
        except BaseException:
            stream.close()
            raise
        if lost:
            stream.close()
            stream, answer = await self._ask(sprite, replay(head, target))
        return stream, answer

    async def _lost_world(self, sprite: Sprite, answer: bytes) -> bool:
        """Whether the refusal is because the world, thought to run, does not: woken, it can be asked once more."""
        if parse_fault(answer) != WORLD_NOT_RUNNING:
            return False
        return not await asyncio.to_thread(self._entry.sprites.recheck, sprite)

    async def _ask(self, sprite: Sprite, request: bytes) -> tuple[Stream, bytes]:
        stream = await self._entry.open(sprite)
        try:
            with contextlib.suppress(ConnectionError):  # refused half-way; the answer says why
                await stream.send(request)
            answer = await stream.receive_through(b"\r\n\r\n", HEAD_BYTES)
            parse_status(answer)
            return stream, answer
        except OSError as error:
            stream.close()
            raise errors.PeerError(f"upgrade: the machine broke off: {error}") from error
        except BaseException:
            stream.close()
            raise

    async def _relay(self, stream: Stream) -> None:
        """Until the machine has said all, or the client has gone (which cancels this)."""
        assert self._transport is not None
        sending = asyncio.create_task(self._to_machine(stream), name="upgrade-to-machine")
        try:
            while data := await stream.receive():
                self._transport.write(data)
                await self._writable.wait()
        finally:
            # Closing flushes what is still to be written: the exit frame is never cut off.
            self._transport.close()
            sending.cancel()
            try:
                await asyncio.wait({sending})
            finally:
                stream.close()  # also when the client goes right now, which cancels this a second time

    async def _to_machine(self, stream: Stream) -> None:
        assert self._transport is not None
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            data, self._received = bytes(self._received), bytearray()
            self._transport.resume_reading()
            try:
                await stream.send(data)
            except OSError:
                # It has closed; what it said before that is still being read, and ends the relay.
                self._is_deaf = True
                return

    def _refuse(self, status: int, text: str) -> None:
        body = json.dumps({"error": text}).encode()
        self._end_with(refusal(status, body, [(b"content-type", b"application/json")]))

    def _end_with(self, answer: bytes) -> None:
        assert self._transport is not None
        self._transport.write(answer)
        self._transport.close()
