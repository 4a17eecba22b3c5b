"""Packets between `pilot` (native/front) and the planner, on a SOCK_SEQPACKET socket; little-endian.

to pilot     u32 kind · i32 status · u64 flags · i32 cgroup · u32 count · i16 × MAX_SLOTS slots
             COLD   nothing has been done: be the command line
             CLONE  descriptors: stage, Program's file, channel, then those that `slots` count from 0 (-1: none)
             WAIT   descriptor: pidfd of the process to wait for      EXIT  status
to planner   u32 kind · i32 pid · i32 error · i32 status
             REQUEST  then the build's digest and the words, each ended by NUL; descriptors: cwd, 0, 1, 2
             CLONED   pid, or an errno; descriptor: pidfd             ENDED  error 0 exited, 1 killed, 2 with a core
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence

import msgspec

from .. import errors
from ..plan.code import MAX_SLOTS

MAX_REQUEST = 1 << 17
MAX_DESCRIPTORS = 8
_ANSWER = struct.Struct(f"<IiQiI{MAX_SLOTS}h")
_REPORT = struct.Struct("<Iiii")


class Kind(enum.IntEnum):
    """What a packet is."""

    COLD = 1
    CLONE = 2
    WAIT = 3
    EXIT = 4
    REQUEST = 16
    CLONED = 17
    ENDED = 18


class Report(msgspec.Struct, frozen=True):
    """From pilot; `rest` is what follows a REQUEST."""

    kind: Kind
    pid: int
    error: int
    status: int
    rest: bytes


def format_answer(kind: Kind, *, status: int = 0, flags: int = 0, cgroup: int = -1, slots: Sequence[int] = ()) -> bytes:
    """A packet to pilot."""
    return _ANSWER.pack(kind, status, flags, cgroup, len(slots), *slots, *[0] * (MAX_SLOTS - len(slots)))


def parse_report(packet: bytes) -> Report:
    """A packet from pilot; PeerError."""
    try:
        kind, pid, error, status = _REPORT.unpack_from(packet)
        return Report(Kind(kind), pid, error, status, packet[_REPORT.size :])
    except (struct.error, ValueError) as problem:
        raise errors.PeerError(f"pilot sent something else than a packet: {problem}") from problem


def parse_request(rest: bytes) -> tuple[str, list[str]]:
    """What follows a REQUEST → the build's digest, the words; PeerError."""
    parts = rest.split(b"\0")
    if len(parts) < 2 or parts.pop():
        raise errors.PeerError("pilot sent a request that does not end")
    digest, *words = (part.decode("utf-8", "surrogateescape") for part in parts)
    return digest, words
