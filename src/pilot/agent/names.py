"""What a world is called, written where its programs look: /etc/hostname and one line of /etc/hosts.

The files are the user's: everything else in them stays, and a file that the user has made unwritable (a directory, an
endless link) keeps no world from starting.
"""

from __future__ import annotations

import logging

from .rootfs import Root

# Debian's address for the host's own name when it has no permanent one; a fork gets a name of its own in the same line.
_OWN_ADDRESS = "127.0.1.1"
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_log = logging.getLogger(__name__)


def plan_hosts(text: str, hostname: str) -> str:
    """`text` of /etc/hosts with the line of our own address naming `hostname`; nothing else changes."""
    lines = [line for line in (text or _LOCALHOST).splitlines() if line.split()[:1] != [_OWN_ADDRESS]]
    return "\n".join([*lines, f"{_OWN_ADDRESS}\t{hostname}"]) + "\n"


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
