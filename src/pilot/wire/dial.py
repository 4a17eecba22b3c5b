"""The first lines of a dialled connection: which port of the machine is wanted, and whether it was reached.

    client                          machine
      CONNECT <port>\\n      ────►
                             ◄────  OK <port>\\n          then bytes, both ways
                             ◄────  ERR <text>\\n         or a plain close: refused

From 65536 on a port is a TCP port of the machine, 65536 + 8080 for one: what listens there on loopback is at the other
end once it is `OK`, and `ERR` says that nothing does.

10003 is the pilot API, as 10000 is but for machines that have a run.json (docs/reference/old-init.md).

10002 is answered by `OK` and a close as soon as the agent's loop gets to it, whatever limits are reached. At a
machine's `health.sock` (`container`), a listener of its own, no port is named: init answers one line there, and closes.

This is Firecracker's vsock contract, so that one client speaks to every kind of machine.
"""

from __future__ import annotations

import re

import msgspec

from .. import errors

PORT_API = 10000
PORT_DESCRIPTORS = 10001
PORT_HEALTH = 10002
PORT_PILOT = 10003
FIRST_TCP = 1 << 16
MAX_LINE_BYTES = 1024
# How a refusal begins that asking again does not change.
NO_SUCH_PORT = "no such port"


class Refused(errors.PeerError):
    """The machine said that this is not to be had."""


def tcp_port(port: int) -> int:
    """What to ask for to reach that TCP port of the machine."""
    return FIRST_TCP + port


def as_tcp_port(port: int) -> int | None:
    """The TCP port that is meant by a port of the dial contract; None for one that is no TCP port."""
    return port - FIRST_TCP if 0 < port - FIRST_TCP < 1 << 16 else None


def connect_line(port: int) -> bytes:
    """What the client sends."""
    return b"CONNECT %d\n" % port


def ok_line(port: int) -> bytes:
    """What the machine answers when the port is open."""
    return b"OK %d\n" % port


def error_line(reason: str) -> bytes:
    """What the machine answers when it refuses; one line whatever `reason` holds."""
    text = " ".join(reason.split())
    return b"ERR " + text.encode()[: MAX_LINE_BYTES - 8] + b"\n"


def parse_connect(line: bytes) -> int:
    """The port that a client asks for; `PeerError` when the line is anything else."""
    word, _, number = line.removesuffix(b"\n").partition(b" ")
    if word != b"CONNECT" or not number.isdigit() or len(number) > 10 or int(number) >= 1 << 32:
        raise errors.PeerError(f"dial: not a CONNECT line: {line[:80]!r}")
    return int(number)


class Health(msgspec.Struct, frozen=True):
    """What init says of itself. `agent_pid` 0: it is being started. `stopping`: the machine is about to end."""

    agent_pid: int
    stopping: bool


def parse_health(line: bytes) -> Health:
    """init's line at `health.sock`; `PeerError` when it is none."""
    match = re.fullmatch(rb"pilot-init agent=([0-9]{1,10}) stopping=([01])\n", line)
    if match is None:
        raise errors.PeerError(f"health: not a line of init: {line[:80]!r}")
    return Health(int(match[1]), match[2] == b"1")


def parse_answer(line: bytes) -> None:
    """Returns when the machine said OK; `PeerError` with its reason when it refused."""
    if not line:
        raise errors.PeerError("dial: the machine closed the connection", hint="is the agent running?")
    if line.startswith(b"ERR "):
        raise Refused(f"dial: refused: {line[4:].decode(errors='replace').strip()}")
    if not line.startswith(b"OK ") or not line.endswith(b"\n"):
        raise errors.PeerError(f"dial: unexpected answer {line[:80]!r}")
