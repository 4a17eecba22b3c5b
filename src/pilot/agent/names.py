"""What a world is called, and whom it asks for names: /etc/hostname, one line of /etc/hosts, /etc/resolv.conf.

The files are the user's: everything else in them stays, and a file that the user has made unwritable (a directory, an
endless link) keeps no world from starting.
"""

from __future__ import annotations

import logging
import socket
import struct

from ..wire import faults
from .rootfs import Root

# Debian's address for the host's own name when it has no permanent one; a fork gets a name of its own in the same line.
_OWN_ADDRESS = "127.0.1.1"
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_HOST_NAME_MAX = 64
_log = logging.getLogger(__name__)


def check(hostname: str) -> str:
    """It, when the kernel takes it (HOST_NAME_MAX) and it is one word of a line; else `InvalidRequest`."""
    is_one_word = hostname.split() == [hostname] and hostname.isprintable()
    if not is_one_word or len(hostname.encode()) > _HOST_NAME_MAX:
        raise faults.InvalidRequest(f"hostname: one word of 1 to {_HOST_NAME_MAX} bytes is needed")
    return hostname


def plan_hosts(text: str, hostname: str) -> str:
    """`text` of /etc/hosts with the line of our own address naming `hostname`; nothing else changes."""
    lines = [line for line in (text or _LOCALHOST).splitlines() if line.split()[:1] != [_OWN_ADDRESS]]
    return "\n".join([*lines, f"{_OWN_ADDRESS}\t{hostname}"]) + "\n"


def plan_resolver(text: str, gateway: str | None) -> str | None:
    """What /etc/resolv.conf is to be, of what it is; None: as it is.

    Who routes for the machine also answers for it. A file that names somebody is the user's.
    """
    named = any(line.split()[:1] == ["nameserver"] for line in text.splitlines())
    return None if named or gateway is None else f"nameserver {gateway}\n"


def find_gateway(routes: str) -> str | None:
    """Of the default route in the text of /proc/net/route; None when there is none."""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":
            return socket.inet_ntoa(struct.pack("=I", int(fields[2], 16)))
    return None


def write_resolver(root: Root, gateway: str | None) -> None:
    """/etc/resolv.conf below `root`, where the user has none; one that cannot be written is logged and left."""
    wanted = plan_resolver(root.read_small("/etc/resolv.conf"), gateway)
    if wanted is None:
        return
    try:
        root.write_file("/etc/resolv.conf", wanted.encode(), 0o644)
    except OSError as error:
        _log.warning("write /etc/resolv.conf of the world: %s", error.strerror)


def write_names(root: Root, hostname: str) -> None:
    """Both files below `root`; one that cannot be written is logged and left."""
    for path, content in (
        ("/etc/hostname", f"{hostname}\n"),
        ("/etc/hosts", plan_hosts(root.read_small("/etc/hosts"), hostname)),
    ):
        try:
            root.write_file(path, content.encode(), 0o644)
        except OSError as error:
            _log.warning("write %s of the world: %s", path, error.strerror)
