"""Which TCP ports are listened on in a network namespace, from the tables of /proc/PID/net.

The tables are text with a line per socket: `sl local remote state … inode`; addresses are hexadecimal words in the
machine's own byte order.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from typing import NamedTuple

_LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Listening(NamedTuple):
    """A listening socket: its port, address as text, and inode."""

    port: int
    address: str
    inode: int


def parse_table(text: str) -> list[Listening]:
    """/proc/net/tcp or tcp6 → its listening sockets."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return [_listening(row) for row in rows if len(row) > 9 and row[3] == _LISTEN]


def _listening(row: list[str]) -> Listening:
    words, port = row[1].split(":")
    raw = b"".join(struct.pack("=I", int(words[start : start + 8], 16)) for start in range(0, len(words), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return Listening(int(port, 16), socket.inet_ntop(family, raw), int(row[9]))


def read_listening(pid: int) -> list[Listening]:
    """Of the network namespace of that process. `FileNotFoundError` when there is none."""
    os.stat(f"/proc/{pid}/net")
    found = []
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}") as table:
                found += parse_table(table.read())
        except FileNotFoundError:
            continue  # a kernel without IPv6
    return found


def find_owners(inodes: set[int]) -> dict[int, int]:
    """A pid for each socket inode, where one can be seen. Reads every process's descriptors: for few, new sockets."""
    owners: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if len(owners) == len(inodes):
            break
        if entry.isdigit():
            owners |= {inode: int(entry) for inode in _sockets(entry) & inodes}
    return owners


def _sockets(pid: str) -> set[int]:
    found = set()
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            match = _SOCKET.match(os.readlink(f"/proc/{pid}/fd/{fd}"))
            if match:
                found.add(int(match[1]))
    except OSError:
        pass  # it has ended, or is not ours to look into
    return found
