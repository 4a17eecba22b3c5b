"""Sockets of ours in gateways: who asks there is that gateway's machine, whatever it says."""

from __future__ import annotations

import os
import socket

# The addresses come and go with the machine's link.
_FREEBIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}


def identity(namespace: str) -> int:
    """Tells the namespace at that path from one that was there before."""
    return os.stat(namespace).st_ino


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """Bound there, in the namespace of the calling thread, and not listening yet. The caller's to close; `OSError`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(*_FREEBIND[family], 1)
        made.bind((address, port))
    except BaseException:
        made.close()
        raise
    return made
