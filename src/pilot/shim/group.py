"""Those that share a machine, and where it and its shim are.

    /run/pilot-shim/<digest of containerd, namespace, group>/
        lock        held by the shim for as long as it lives, and until the machine has ended
        shim.sock   where it listens
        machine/    a bare machine (`pilot.bare`), its dial.sock and console.log

A shim that dies leaves its machine running; `delete`, which containerd runs then for each of its containers, ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

RUN = "/run/pilot-shim"


class Group:
    """One of them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.lock = os.path.join(directory, "lock")
        self.socket = os.path.join(directory, "shim.sock")
        self.machine = os.path.join(directory, "machine")

    @classmethod
    def of(cls, containerd: str, namespace: str, group: str) -> Group:
        """Of one that containerd speaks of."""
        whole = "\0".join((containerd, namespace, group))
        return cls(os.path.join(RUN, hashlib.sha256(whole.encode()).hexdigest()[:20]))

    def remove(self) -> None:
        """Nothing of it is left but what somebody else has put there."""
        for path in (self.socket, self.lock):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for directory in (self.machine, self.directory, RUN):
            with contextlib.suppress(OSError):  # it has something of others in it
                os.rmdir(directory)
