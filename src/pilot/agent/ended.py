"""What is left of sessions that have ended: for KEEP_S a client that lost its connection may come for the rest.

None of them has a descriptor of its own. All are records of one memfd, which is in init's store, so they outlive the
agent:

    ended ┌────────┬──────┬─────┬─────┬───┬────────┬─ ─ ─      each record begins a page; freed ones are holes
          │ header │ meta │ out │ err │ … │ header │
          └────────┴──────┴─────┴─────┴───┴────────┴─ ─ ─      a record counts once the file is as long as it says

A record that the agent died in the middle of is cut off by the next one, which still has the session itself and makes
it anew. Of each stream the newest TAIL_BYTES are kept (an eighth of the budget, if that is less), and of records as
many as the budget has room for, the oldest go first; none goes while a client reads it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
from collections.abc import Mapping, Sequence

import msgspec

from .. import errors
from ..kernel import directio
from ..wire.exec_frames import Stream
from .machine import Link
from .output import Changed, Cursor
from .record_budget import RecordBudget
from .session import Session, SessionMeta

STORE_NAME = "sessions/ended"
KEEP_S = 30.0
TAIL_BYTES = 4 << 20
MOST_RECORDS = 4096
_PAGE = os.sysconf("SC_PAGESIZE")
_HEADER = struct.Struct("<8sIQQQQ")  # magic, bytes of meta, and for out and err: bytes, offset of the first
_MAGIC = b"ENDED\0\0\2"
_log = logging.getLogger(__name__)


class _Meta(msgspec.Struct, frozen=True):
    session: SessionMeta
    ended_s: float  # of the monotonic clock: all agents of a machine have the same, and nobody sets it


class Tail:
    """The end of a stream. Offsets are those of the whole stream."""

    def __init__(self, fd: int, position: int, length: int, first: int) -> None:
        self._fd = fd
        self._position = position
        self._first = first
        self.size = first + length
        self.ended = True

    def attach(self) -> Cursor:
        return Cursor(self, self._first)

    def read(self, offset: int, limit_bytes: int) -> bytes:
        return os.pread(self._fd, min(limit_bytes, self.size - offset), self._position + offset - self._first)

    def read_into(self, offset: int, rooms: Sequence[memoryview]) -> int:
        return os.preadv(self._fd, rooms, self._position + offset - self._first)

    def moved(self) -> None:
        """Nothing waits for anybody here."""

    def forget(self, cursor: Cursor) -> None:
        """As little."""


class EndedSession:
    """As a `Session` to whom it may be shown; whatever a client sends meets nobody."""

    def __init__(self, meta: _Meta, position: int, length: int, tails: Mapping[Stream, Tail]) -> None:
        self.meta = meta.session
        self.ended_s = meta.ended_s
        self.position = position
        self.length = length
        self.clients = 0
        self.changed = Changed()
        self._tails = tails

    @property
    def exit_code(self) -> int | None:
        return self.meta.exit_code

    def attach(self) -> dict[Stream, Cursor]:
        self.clients += 1
        return {stream: tail.attach() for stream, tail in self._tails.items()}

    def detach(self, cursors: Mapping[Stream, Cursor]) -> None:
        self.clients -= 1

    def touch(self) -> None:
        pass

    async def write_stdin(self, data: bytes) -> None:
        pass

    def end_stdin(self) -> None:
        pass

    def resize(self, rows: int, cols: int) -> None:
        pass

    def signal(self, number: int) -> None:
        raise errors.NotFound(f"signal session {self.meta.id}: it has ended")


class Ended:
    """All of them. Owns the memfd; on the event loop, which only memory is moved in."""

    def __init__(self, link: Link, budget: RecordBudget) -> None:
        self._link = link
        self._budget = budget
        self._fd = -1
        self._sessions: dict[str, EndedSession] = {}  # by age
        self._timer: asyncio.TimerHandle | None = None
        self.kept_bytes = 0
        budget.join(self)

    def __contains__(self, id: object) -> bool:
        return id in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, id: str) -> EndedSession | None:
        return self._sessions.get(id)

    def restore(self) -> None:
        """Take over the former agent's records."""
        if STORE_NAME not in self._link.inherited:
            return
        self._fd = self._link.take(STORE_NAME)
        position = _next_data(self._fd, 0)
        while position is not None:
            found = _read(self._fd, position)
            if found is None:
                # The agent died while it wrote this one.
                os.ftruncate(self._fd, position)
                break
            self._add(found)
            position = _next_data(self._fd, _round_up(position + found.length))
        self._arm()

    def keep(self, session: Session) -> None:
        """Remember the end of this session; what cannot be remembered is logged and gone."""
        try:
            self._add(self._write(session))
        except OSError as error:
            _log.error("session %s: its output is not kept: %s", session.meta.id, error)
            return
        if len(self._sessions) > MOST_RECORDS:
            self._drop(next(iter(self._sessions.values())))
        self._budget.settle()
        self._arm()

    @property
    def spare_bytes(self) -> int:
        return sum(_round_up(session.length) for session in self._sessions.values() if not session.clients)

    @property
    def share_bytes(self) -> int:
        return self.spare_bytes // max(1, len(self._sessions))

    def give_up(self, wanted_bytes: int) -> None:
        for session in [each for each in self._sessions.values() if not each.clients]:
            if wanted_bytes <= 0:
                return
            wanted_bytes -= _round_up(session.length)
            self._drop(session)

    def close(self) -> None:
        """Leave all to the next agent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget_all(self, container: str) -> None:
        """It has ended, and what was said in it with it."""
        for session in [each for each in self._sessions.values() if each.meta.container == container]:
            self._drop(session)

    def _write(self, session: Session) -> EndedSession:
        if self._fd < 0:
            self._fd = os.memfd_create("pilot-ended", os.MFD_CLOEXEC)
            self._link.put(STORE_NAME, self._fd)
        position = _round_up(os.fstat(self._fd).st_size)
        meta = _Meta(session.meta, time.monotonic())
        encoded = msgspec.json.encode(meta)
        most = min(TAIL_BYTES, self._budget.limit_bytes // 8)
        pieces = [session.tail(stream, most) for stream in (Stream.STDOUT, Stream.STDERR)]
        numbers = [number for _, first, length in pieces for number in (length, first)]
        try:
            os.pwrite(self._fd, _HEADER.pack(_MAGIC, len(encoded), *numbers) + encoded, position)
            os.lseek(self._fd, 0, os.SEEK_END)
            for fd, first, length in pieces:
                _append(self._fd, fd, first, length)
        except OSError:
            os.ftruncate(self._fd, position)
            raise
        return _session(self._fd, position, meta, len(encoded), numbers)

    def _add(self, session: EndedSession) -> None:
        self._sessions[session.meta.id] = session
        self._count(_round_up(session.length))

    def _drop(self, session: EndedSession) -> None:
        del self._sessions[session.meta.id]
        length = _round_up(session.length)
        directio.punch_hole(self._fd, session.position, length)
        self._count(-length)

    def _count(self, bytes: int) -> None:
        self.kept_bytes += bytes
        self._budget.changed(bytes)

    def _arm(self) -> None:
        if self._timer is None and self._sessions:
            oldest = next(iter(self._sessions.values()))
            wait_s = max(0.0, oldest.ended_s + KEEP_S - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._expire)

    def _expire(self) -> None:
        """Those whose time has come; one that is being read stays until the next time."""
        self._timer = None
        due = time.monotonic() - KEEP_S
        for session in [each for each in self._sessions.values() if each.ended_s <= due]:
            if session.clients:
                session.ended_s = time.monotonic()
                self._sessions[session.meta.id] = self._sessions.pop(session.meta.id)
            else:
                self._drop(session)
        self._arm()


def _append(target_fd: int, source_fd: int, offset: int, length: int) -> None:
    while length > 0:
        moved = os.sendfile(target_fd, source_fd, offset, length)
        if not moved:
            raise OSError(5, "the recorded output became shorter")
        offset += moved
        length -= moved


def _session(fd: int, position: int, meta: _Meta, meta_bytes: int, numbers: list[int]) -> EndedSession:
    place = position + _HEADER.size + meta_bytes
    tails = {}
    for stream, length, first in zip((Stream.STDOUT, Stream.STDERR), numbers[::2], numbers[1::2], strict=True):
        if stream is Stream.STDOUT or not meta.session.tty:
            tails[stream] = Tail(fd, place, length, first)
        place += length
    return EndedSession(meta, position, place - position, tails)


def _read(fd: int, position: int) -> EndedSession | None:
    """The record at `position`; None when it is not whole."""
    head = os.pread(fd, _HEADER.size, position)
    if len(head) < _HEADER.size:
        return None
    magic, meta_bytes, *numbers = _HEADER.unpack(head)
    whole = position + _HEADER.size + meta_bytes + sum(numbers[::2])
    if magic != _MAGIC or os.fstat(fd).st_size < whole:
        return None
    meta = msgspec.json.decode(os.pread(fd, meta_bytes, position + _HEADER.size), type=_Meta)
    return _session(fd, position, meta, meta_bytes, numbers)


def _next_data(fd: int, position: int) -> int | None:
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError:
        return None  # ENXIO: nothing more but holes


def _round_up(number: int) -> int:
    return -(-number // _PAGE) * _PAGE
