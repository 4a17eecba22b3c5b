"""What a container writes: recorded without loss, bounded, with times, over its restarts and the agent's death.

    process ─► pipe ─splice─► memfd (one per stream)       container/<name>/log/{out,err}, .../{out,err}.pipe
                    └─► a mark: (time, stream, size then)  container/<name>/log/marks: records of 24 bytes, by time

The memfds are the log (`kernel/splice`: their size is the commit point); marks say when, and in which order of the two
streams. What the agent had no time to mark is marked by the next one. A process never waits for who reads its log: the
oldest bytes are given up instead, first what is more than `log_bytes` of a stream, then what the machine has no room
for (`record_budget`). All on the event loop; only `splice` and `pread` touch the bytes.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Final

from ...kernel import splice
from ...wire import timestamps
from ...wire.graph import LogPiece, Output
from ..containers import naming
from ..machine import Link
from ..output import Changed
from ..record_budget import RecordBudget

STREAMS: Final[tuple[Output, ...]] = ("stdout", "stderr")
PARTS: Final[Mapping[Output, str]] = {"stdout": "out", "stderr": "err"}
MOST_MARKS = 16_384
# What a stream says within so long of a mark, and the other nothing in between, is the same mark's.
SAME_MARK_NS = 10_000_000
PIECE_BYTES = 32 << 10
READ_BYTES = 256 << 10
_PIECE_COSTS_BYTES = 256  # as much work as so many bytes
_MARK = struct.Struct("<QQB7x")


class _Stream:
    """One of the two. Owns its descriptors; `pipe_fd` is -1 while no process writes."""

    def __init__(self, memfd: int, pipe_fd: int) -> None:
        self.recorder = splice.Recorder(pipe_fd, memfd)
        self.size = self.recorder.size
        self.start = _first_kept(memfd, self.size)
        self.watched = False

    @property
    def pipe_fd(self) -> int:
        return self.recorder.source_fd


class Place:
    """Where a reader is: the next mark, and the next byte of each stream."""

    def __init__(self, mark: int, offsets: dict[Output, int]) -> None:
        self.mark = mark
        self.offsets = offsets


class Log:
    """Of one container. On the running loop."""

    def __init__(self, link: Link, container: str, budget: RecordBudget, inherited: Mapping[str, int]) -> None:
        """`inherited`: what the former agent left, by the last part of the names in the store; owned from now on."""
        self.changed = Changed()
        self.closed = False
        self.log_bytes = 1 << 20
        self._link = link
        self._container = container
        self._budget = budget
        self._streams: dict[Output, _Stream] = {}
        for stream in STREAMS:
            part = PARTS[stream]
            memfd = inherited[part] if part in inherited else self._new_memfd(part)
            self._streams[stream] = _Stream(memfd, inherited.get(f"{part}.pipe", -1))
        self._marks_fd = inherited["marks"] if "marks" in inherited else self._new_memfd("marks")
        self._marks = _read_marks(self._marks_fd)
        self._first_mark = 0  # how many have been given up
        self._mark_what_is_not()
        budget.join(self)
        for stream in STREAMS:
            self._watch(stream)

    # ---- writing ----------------------------------------------------------------------------------------------------

    def open_pipes(self) -> tuple[int, int]:
        """For the next process: its stdout and stderr, which the caller closes. Both are in init's store first."""
        ends = []
        for stream in STREAMS:
            self._close_pipe(stream)
            read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read_fd, False)
            self._link.put(self._name(f"{PARTS[stream]}.pipe"), read_fd)
            self._streams[stream].recorder.source_fd = read_fd
            self._watch(stream)
            ends.append(write_fd)
        return ends[0], ends[1]

    def drain(self) -> None:
        """All that is in the pipes now is in the log afterwards."""
        for stream in STREAMS:
            while self._streams[stream].pipe_fd >= 0 and self._pump(stream):
                pass

    def close(self) -> None:
        """Leave it to the next agent."""
        if self.closed:
            return
        self.closed = True
        for stream, each in self._streams.items():
            self._unwatch(stream)
            if each.pipe_fd >= 0:
                os.close(each.pipe_fd)
            os.close(each.recorder.memfd)
        os.close(self._marks_fd)
        self._budget.leave(self)
        self.changed.notify()

    def forget(self) -> None:
        """Nothing of it is left, here and in init's store."""
        self.close()
        for part in ("marks", *PARTS.values(), *(f"{part}.pipe" for part in PARTS.values())):
            self._link.drop(self._name(part))

    # ---- what is kept -----------------------------------------------------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        return sum(each.size - each.start for each in self._streams.values())

    @property
    def spare_bytes(self) -> int:
        return self.kept_bytes

    @property
    def share_bytes(self) -> int:
        return self.kept_bytes

    def give_up(self, wanted_bytes: int) -> None:
        largest = max(STREAMS, key=lambda stream: self._streams[stream].size - self._streams[stream].start)
        self._trim(largest, self._streams[largest].start + wanted_bytes)

    # ---- reading ----------------------------------------------------------------------------------------------------

    def place(self, since_ns: int = 0, offsets: Mapping[Output, int] | None = None) -> Place:
        """Behind the last mark that is older; with `offsets`, of each stream what comes from there on.

        The last one, because a clock may have been set back: what is said from now on is behind all of them.
        """
        older = max((number for number, mark in enumerate(self._marks, 1) if mark[0] < since_ns), default=0)
        sizes = dict.fromkeys(STREAMS, 0)
        for _, stream, end in self._marks[:older]:
            sizes[stream] = end
        return Place(
            self._first_mark + older, {stream: max(sizes[stream], (offsets or {}).get(stream, 0)) for stream in STREAMS}
        )

    def sizes(self) -> dict[Output, int]:
        """As far as each stream goes now."""
        return {stream: each.size for stream, each in self._streams.items()}

    def read(self, place: Place) -> list[LogPiece]:
        """What is there from `place` on, which moves along, and no more than READ_BYTES at once; [] at the end."""
        found, size = [], 0
        for piece in self._pieces(place):
            found.append(piece)
            size += len(piece.text or piece.base64 or "") + _PIECE_COSTS_BYTES
            if size >= READ_BYTES:
                break
        return found

    def _pieces(self, place: Place) -> Iterator[LogPiece]:
        """Lines where they were written as lines."""
        if self.closed:
            return
        place.mark = max(place.mark, self._first_mark)
        while place.mark - self._first_mark < len(self._marks):
            time_ns, stream, end = self._marks[place.mark - self._first_mark]
            each = self._streams[stream]
            while place.offsets[stream] < end:
                begin = max(place.offsets[stream], each.start)
                data = _whole_lines(os.pread(each.recorder.memfd, min(PIECE_BYTES, end - begin), begin))
                dropped = begin - place.offsets[stream]
                place.offsets[stream] = begin + len(data)
                if data or dropped:
                    yield _piece(time_ns, stream, begin, data, dropped)
                if not data:
                    break  # all of it has been given up
            if place.mark - self._first_mark == len(self._marks) - 1:
                return  # the last one may still grow
            place.mark += 1

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _on_readable(self, stream: Output) -> None:
        self._pump(stream)

    def _pump(self, stream: Output) -> int:
        each = self._streams[stream]
        moved = each.recorder.pump()
        if moved:
            each.size += moved
            self._budget.changed(moved)
            self._mark(stream, time.time_ns())
            if each.size - each.start > self.log_bytes + PIECE_BYTES:
                self._trim(stream, each.size - self.log_bytes)
            self._budget.settle()
            self.changed.notify()
        if each.recorder.ended:
            self._close_pipe(stream)
        return moved

    def _mark(self, stream: Output, now_ns: int) -> None:
        size = self._streams[stream].size
        if self._marks:
            time_ns, last, _ = self._marks[-1]
            if last == stream and 0 <= now_ns - time_ns < SAME_MARK_NS:
                self._marks[-1] = (time_ns, stream, size)
                os.pwrite(self._marks_fd, _pack(self._marks[-1]), (len(self._marks) - 1) * _MARK.size)
                return
        self._marks.append((now_ns, stream, size))
        os.pwrite(self._marks_fd, _pack(self._marks[-1]), (len(self._marks) - 1) * _MARK.size)
        if len(self._marks) > MOST_MARKS:
            self._give_up_marks(MOST_MARKS // 4)

    def _give_up_marks(self, count: int) -> None:
        """With them goes what they marked: nothing is kept that has no time."""
        for _, stream, end in self._marks[:count]:
            self._trim(stream, end)
        del self._marks[:count]
        self._first_mark += count
        fd = os.memfd_create("pilot-log-marks", os.MFD_CLOEXEC)
        os.write(fd, b"".join(map(_pack, self._marks)))
        self._link.put(self._name("marks"), fd)
        os.close(self._marks_fd)
        self._marks_fd = fd

    def _mark_what_is_not(self) -> None:
        """What was recorded after the last mark: the former agent died before it could say when."""
        marked = dict.fromkeys(STREAMS, 0)
        for _, stream, end in self._marks:
            marked[stream] = end
        for stream, each in self._streams.items():
            if each.size > marked[stream]:
                self._mark(stream, time.time_ns())

    def _trim(self, stream: Output, start: int) -> None:
        each = self._streams[stream]
        start = min(start, each.size)
        if start > each.start:
            each.recorder.trim(each.size - start)
            self._budget.changed(each.start - start)
            each.start = start

    def _close_pipe(self, stream: Output) -> None:
        each = self._streams[stream]
        if each.pipe_fd >= 0:
            self._unwatch(stream)
            os.close(each.pipe_fd)
            each.recorder.source_fd = -1
            self._link.drop(self._name(f"{PARTS[stream]}.pipe"))

    def _watch(self, stream: Output) -> None:
        each = self._streams[stream]
        if each.pipe_fd >= 0 and not each.watched:
            each.watched = True
            asyncio.get_running_loop().add_reader(each.pipe_fd, self._on_readable, stream)

    def _unwatch(self, stream: Output) -> None:
        each = self._streams[stream]
        if each.watched:
            each.watched = False
            asyncio.get_running_loop().remove_reader(each.pipe_fd)

    def _new_memfd(self, part: str) -> int:
        fd = os.memfd_create(f"pilot-log-{part}", os.MFD_CLOEXEC)
        self._link.put(self._name(part), fd)
        return fd

    def _name(self, part: str) -> str:
        return naming.store_name(self._container, "log", part)


_Mark = tuple[int, Output, int]


def _pack(mark: _Mark) -> bytes:
    return _MARK.pack(mark[0], mark[2], STREAMS.index(mark[1]))


def _read_marks(fd: int) -> list[_Mark]:
    """Those that are whole: the agent may have died in the middle of one."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    whole = data[: len(data) // _MARK.size * _MARK.size]
    return [(time_ns, STREAMS[stream], end) for time_ns, end, stream in _MARK.iter_unpack(whole)]


def _whole_lines(data: bytes) -> bytes:
    """As far as the last end of a line; all of it where there is none."""
    return data[: data.rfind(b"\n") + 1] or data


def _piece(time_ns: int, stream: Output, offset: int, data: bytes, dropped: int) -> LogPiece:
    told = timestamps.of_s(time_ns / 1e9)
    try:
        return LogPiece(time=told, stream=stream, offset=offset, text=data.decode(), dropped=dropped)
    except UnicodeDecodeError:
        encoded = base64.b64encode(data).decode()
        return LogPiece(time=told, stream=stream, offset=offset, base64=encoded, dropped=dropped)


def _first_kept(memfd: int, size: int) -> int:
    """Where the former agent's trimming ended: the first byte that is not a hole."""
    if size == 0:
        return 0
    try:
        return os.lseek(memfd, 0, os.SEEK_DATA)
    except OSError:
        return size  # ENXIO: nothing but a hole
