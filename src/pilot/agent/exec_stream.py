"""A client and a session: frames out in the order of `wire.exec_frames`, wishes in, for WebSockets and for HTTP.

    writer   cursors ─► frames ─► client      waits for news, or for KEEPALIVE_S
    reader   client ─► stdin, resize, signal  ends when the client closes
    silence  nothing of either for long       ends a terminal's client, where its host says so (`quiet`)

Whichever ends first ends the others; the session lives on. Much output goes to a WebSocket in blocks of whole messages
(`wire.bulk`), which are read from the record to where they are sent from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

from .. import errors
from ..server.call import WebSocket
from ..wire import bulk, exec_frames, websocket
from ..wire.exec_frames import Framing, Stream
from . import quiet, signal_names
from .ended import EndedSession
from .output import Cursor
from .session import Session

KEEPALIVE_S = 10.0
BLOCK_MESSAGES = 6  # as many as a Unix socket takes at once (net.core.wmem_default): more come in two pieces
Shown = Session | EndedSession
_log = logging.getLogger(__name__)


Known = Mapping[Stream, int]
NOTHING: Known = {}


def session_info(session: Shown, *, is_owner: bool) -> exec_frames.SessionInfo:
    """The first frame."""
    meta = session.meta
    return exec_frames.SessionInfo(
        session_id=meta.id,
        command=meta.command,
        created=int(meta.created),
        cols=meta.cols,
        rows=meta.rows,
        is_owner=is_owner,
        tty=meta.tty,
    )


async def frames(
    session: Shown, framing: Framing, *, is_owner: bool, known: Known = NOTHING
) -> AsyncGenerator[exec_frames.Frame | memoryview, None]:
    """Everything that a client is told, to the close. Leaves the session when the iterator is closed.

    `known`: how many bytes of which stream the client has, which are not told once more.

    A memoryview, for WebSockets alone, has whole messages; it is good until the next frame is asked for.
    """
    output = exec_frames.ExecOutput(framing)
    rooms = _Rooms(output) if framing is not Framing.HTTP else None
    cursors = session.attach_expected() if is_owner and isinstance(session, Session) else session.attach()
    for stream, offset in known.items():
        if stream in cursors:
            cursors[stream].skip_to(offset)
    try:
        if framing is not Framing.HTTP:
            for first in output.begin(session_info(session, is_owner=is_owner)):
                yield first
            for stream, cursor in cursors.items():
                for first in output.dropped(stream, cursor.dropped):
                    yield first
        while not output.done:
            change = session.changed.next()
            idle = True
            for frame in _news(session, output, cursors, rooms):
                idle = False
                session.touch()
                yield frame
            if not idle:
                continue
            if rooms is not None:
                rooms.leave()
            if not await _wait(change):
                for sign in output.keepalive():
                    yield sign
    finally:
        session.detach(cursors)


class _Rooms:
    """A block for each stream of which much is there."""

    def __init__(self, output: exec_frames.ExecOutput) -> None:
        self._output = output
        self._blocks: dict[Stream, bulk.Block] = {}

    def read(self, stream: Stream, cursor: Cursor) -> memoryview | None:
        """Whole messages, when there is more than one."""
        if cursor.behind_bytes < 2 * exec_frames.MAX_PAYLOAD:
            return None
        prefix = self._output.prefix(stream)
        if stream not in self._blocks:
            self._blocks[stream] = bulk.Block(prefix, exec_frames.MAX_PAYLOAD, BLOCK_MESSAGES)
        block = self._blocks[stream]
        return block.filled(cursor.read_into(block.rooms)) or None

    def leave(self) -> None:
        """Nothing is to be said for a while."""
        self._blocks.clear()


def _news(
    session: Shown, output: exec_frames.ExecOutput, cursors: Mapping[Stream, Cursor], rooms: _Rooms | None
) -> Iterator[exec_frames.Frame | memoryview]:
    """The next frames that are due: a piece of each stream; at the end of all of them what there is to say, and the
    exit."""
    for stream, cursor in cursors.items():
        if rooms is not None and (messages := rooms.read(stream, cursor)) is not None:
            yield messages
        elif data := cursor.read(exec_frames.MAX_PAYLOAD):
            yield from output.output(stream, data)
    if session.exit_code is not None and all(cursor.at_end for cursor in cursors.values()):
        yield from _end(session, output, list(cursors))


def _end(session: Shown, output: exec_frames.ExecOutput, streams: Sequence[Stream]) -> list[exec_frames.Frame]:
    """The last words on stderr, or a terminal's only stream."""
    assert session.exit_code is not None
    found: list[exec_frames.Frame] = []
    if words := session.meta.last_words.encode():
        found += output.output(streams[-1], words.replace(b"\n", b"\r\n") if session.meta.tty else words)
    for stream in streams:
        found += output.ended(stream)
    return [*found, *output.exited(session.exit_code)]


async def _wait(change: asyncio.Future[None]) -> bool:
    """True when something changed, False when it is time for a sign of life."""
    try:
        async with asyncio.timeout(KEEPALIVE_S):
            await asyncio.shield(change)
    except TimeoutError:
        return False
    return True


async def serve_websocket(
    session: Shown, socket: WebSocket, *, is_owner: bool, known: Known = NOTHING, quiet_s: float | None = None
) -> None:
    """Until the session has ended and all is said, or the client has gone; or a terminal has been quiet for so long."""
    session.touch()
    framing = Framing.TERMINAL if session.meta.tty else Framing.STREAMS
    writer = asyncio.create_task(_write(session, socket, framing, is_owner, known), name="exec writer")
    reader = asyncio.create_task(_read(session, socket), name="exec reader")
    silence = quiet.of(session, quiet_s)
    silent = [asyncio.create_task(silence.wait(), name="exec silence")] if silence else []
    try:
        done, _ = await asyncio.wait([writer, reader, *silent], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writer, reader, *silent):
            task.cancel()
        for result in await asyncio.gather(writer, reader, *silent, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, errors.PeerError):
                _log.error("session %s: client: %r", session.meta.id, result)
    if silence and done.isdisjoint((writer, reader)):
        await silence.tell(socket)


async def _write(session: Shown, socket: WebSocket, framing: Framing, is_owner: bool, known: Known) -> None:
    source = frames(session, framing, is_owner=is_owner, known=known)
    try:
        async for frame in source:
            if isinstance(frame, memoryview):
                await socket.send_block(frame)
            elif isinstance(frame, exec_frames.Close):
                await socket.close(frame.code)
            else:
                await socket.send(frame)
    finally:
        await source.aclose()


async def _read(session: Shown, socket: WebSocket) -> None:
    while not isinstance(message := await socket.receive(), websocket.Closed):
        event = exec_frames.parse_client_message(message, tty=session.meta.tty)
        match event:
            case exec_frames.Stdin(data):
                await session.write_stdin(data)
            case exec_frames.StdinEof():
                session.end_stdin()
            case exec_frames.Resize(cols, rows) if 0 < cols < 65536 and 0 < rows < 65536:
                session.resize(rows, cols)
            case exec_frames.Signal(name):
                _signal(session, name)


def _signal(session: Shown, name: str) -> None:
    try:
        session.signal(signal_names.parse_signal(name))
    except errors.PilotError as error:
        # The frame has no answer: a wrong name, or a process that has just ended.
        _log.info("session %s: signal %s: %s", session.meta.id, name, error)


async def http_body(session: Session) -> AsyncGenerator[bytes, None]:
    """The body of POST exec: one frame per chunk, and a pause before and after a short one."""
    source = frames(session, Framing.HTTP, is_owner=True)
    before: bytes | None = None
    try:
        async for frame in source:
            if isinstance(frame, bytes):
                if before is not None:
                    await asyncio.sleep(exec_frames.http_pause_s(before, frame))
                yield frame
                before = frame
    finally:
        await source.aclose()
