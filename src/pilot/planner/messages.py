"""Packets between `pilot` (native/front) and the planner, on a SOCK_SEQPACKET socket; little-endian.

to pilot     u32 kind · i32 status · u64 flags · i32 cgroup · u32 count · i16 × MAX_SLOTS slots
             COLD   nothing has been done: be the command line
             BEGUN  from here on something is; flags: what to do when we are lost (Loss), status: its exit status;
                    descriptor, if any: the words, each ended by NUL, of the command line that undoes what was begun
             HOLD   descriptors, more than one packet takes: they belong to the next packet
             CLONE  descriptors: stage, Program's file, channel, then those that `slots` count from 0 (-1: none)
             WAIT   descriptor: pidfd of the process to attend to until it ends
             REAP   descriptor: pidfd of a process that has ended, or is about to
             PASS   descriptors status ... status + count - 1 are wanted
             EXIT   status; descriptor, if any: what is to be printed
to planner   u32 kind · i32 pid · i32 error · i32 status
             REQUEST  then, each ended by NUL: the build's digest, `pid` words, the environment;
                      descriptors: cwd, 0, 1, 2
             CLONED   pid, or an errno; descriptor: pidfd
             ENDED    status; error 0 exited, 1 killed, 2 with a core, 3 nobody knows (answers WAIT and REAP)
             PASSED   the descriptors, or an errno and the number (pid) that it is of
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence

import msgspec

from .. import errors
from ..plan.code import MAX_SLOTS

MAX_REQUEST = 1 << 18
MAX_DESCRIPTORS = 253  # SCM_MAX_FD
_ANSWER = struct.Struct(f"<IiQiI{MAX_SLOTS}h")
_REPORT = struct.Struct("<Iiii")
REPORT_BYTES = _REPORT.size


class Kind(enum.IntEnum):
    """What a packet is."""

    COLD = 1
    CLONE = 2
    WAIT = 3
    EXIT = 4
    BEGUN = 5
    REAP = 6
    PASS = 7
    HOLD = 8
    REQUEST = 16
    CLONED = 17
    ENDED = 18
    PASSED = 19


class Loss(enum.IntEnum):
    """What pilot does when the planner is lost after BEGUN, once what was begun is undone."""

    RERUN = 0  # everything again, by the Python command line
    GIVE_UP = 1  # say so: part of it cannot be taken back


class Report(msgspec.Struct, frozen=True):
    """From pilot; `rest` is what follows a REQUEST."""

    kind: Kind
    pid: int
    error: int
    status: int
    rest: bytes


class Request(msgspec.Struct, frozen=True):
    """What follows a REQUEST."""

    digest: str
    words: tuple[str, ...]
    environment: dict[str, str]


def format_answer(kind: Kind, *, status: int = 0, flags: int = 0, cgroup: int = -1, slots: Sequence[int] = ()) -> bytes:
    """A packet to pilot."""
    return _ANSWER.pack(kind, status, flags, cgroup, len(slots), *slots, *[0] * (MAX_SLOTS - len(slots)))


def format_pass(first: int, count: int) -> bytes:
    """PASS."""
    return _ANSWER.pack(Kind.PASS, first, 0, -1, count, *[0] * MAX_SLOTS)


def parse_report(packet: bytes) -> Report:
    """A packet from pilot; PeerError."""
    try:
        kind, pid, error, status = _REPORT.unpack_from(packet)
        return Report(Kind(kind), pid, error, status, packet[_REPORT.size :])
    except (struct.error, ValueError) as problem:
        raise errors.PeerError(f"pilot sent something else than a packet: {problem}") from problem


def format_request(request: Request) -> bytes:
    """A REQUEST, from one process of the planner to another."""
    variables = (f"{name}={value}" for name, value in request.environment.items())
    parts = "".join(f"{part}\0" for part in (request.digest, *request.words, *variables))
    return _REPORT.pack(Kind.REQUEST, len(request.words), 0, 0) + parts.encode("utf-8", "surrogateescape")


def parse_request(report: Report) -> Request:
    """What follows a REQUEST; PeerError."""
    parts = report.rest.decode("utf-8", "surrogateescape").split("\0")
    if parts.pop() or not 0 <= report.pid < len(parts):
        raise errors.PeerError("pilot sent a request that does not end")
    digest, *rest = parts
    words, variables = rest[: report.pid], rest[report.pid :]
    return Request(digest, tuple(words), dict(item.partition("=")[::2] for item in variables))
