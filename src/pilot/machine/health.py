"""Whether a machine is there, asked at a path that no other call can block.

`dial.sock` is shared by all calls: its backlog may be full, its agent busy or stopped, and the machine is alive all the
same. At `health.sock` PID 1 itself answers. So a machine is dead when the kernel says so, or when *this* stays silent,
asked again and again over a time; nothing that a busy agent does counts.
"""

from __future__ import annotations

import os
import socket

from .. import errors
from ..kernel import fds
from ..wire import dial as lines

TIMEOUT_S = 5.0


def ask(path: str, timeout_s: float = TIMEOUT_S) -> lines.Health:
    """init's word; `PeerError` when there is none: a machine of a build before this has no such door. Blocks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as stream:
        stream.settimeout(timeout_s)
        try:
            with fds.short_path(os.fspath(path)) as address:
                stream.connect(address)
            line = b""
            while not line.endswith(b"\n") and (piece := stream.recv(lines.MAX_LINE_BYTES)):
                line += piece
        except OSError as error:
            raise errors.PeerError(f"health of {path}: {error.strerror or error}") from error
    return lines.parse_health(line)
