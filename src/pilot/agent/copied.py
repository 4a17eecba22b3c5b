"""The disk of a world that is a copy of another's: what tells the two apart is made anew, before any session.

machine id    /etc/machine-id, where it has one, and D-Bus's file of it, where that is no link to it
random seed   systemd's is removed: two of one seed would begin alike
ssh           each host key in /etc/ssh that openssh has made: another of its kind, by the world's own ssh-keygen

What somebody has put there on purpose stays: a key that has a certificate beside it, or is a link, and all of it where
the disk has a file KEEP. A key that cannot be made anew is removed: no two machines have one. What cannot be changed at
all, of a disk that somebody has made odd, stays and is logged: it is no reason not to start.
A start that is repeated does all of it again; nobody has met what the one before has made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from .. import errors
from ..kernel import fds, waiter
from ..runtime.values import Stdio
from ..spec.process import Process
from .machine import Executes, Exits
from .rootfs import Root

KEEP = "/etc/pilot/keep-identity"
MAKE_S = 60.0  # for all keys; one of RSA takes its time where a processor is emulated
_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_ID = re.compile(r"[0-9a-f]{32}\n?")
_SEED = "/var/lib/systemd/random-seed"
_KEYS, _KEYGEN = "/etc/ssh", "/usr/bin/ssh-keygen"
_KEY = re.compile(r"ssh_host_(?P<kind>rsa|ecdsa|ed25519)_key")
_NEW = ".pilot-new"
_RECORD_S = 30.0  # until init has told how a process ended that has
_log = logging.getLogger(__name__)


class Runs(Protocol):
    """What runs a program of the world's to its end; `HostError` when that is not a good one, or not in time."""

    def run(self, words: Sequence[str], deadline: float) -> None: ...


def renew(root: Root, world: Runs) -> None:
    """All of it, unless somebody wants this disk to be who it was. Blocks."""
    if not _exists(root, KEEP):
        renew_ids(root)
        with _logged(_KEYS):
            renew_keys(root, world)


@contextlib.contextmanager
def _logged(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.error("%s of a copied disk stays as it is: %s", path, errors.told(error))


def renew_ids(root: Root) -> None:
    """Those that are there; an empty one is filled by whoever needs it."""
    id = f"{uuid.uuid4().hex}\n".encode()
    for path in _IDS:
        with _logged(path):
            if _is_file(root, path) and _ID.fullmatch(root.read_small(path)):
                _remove(root, path)  # it may be one that nobody writes
                root.write_file(path, id, 0o444)
    with _logged(_SEED):
        _remove(root, _SEED)


def find_keys(root: Root) -> dict[str, str]:
    """Path and kind of each host key that openssh has made; none where the disk has no program to make them."""
    if not (_exists(root, _KEYGEN) and _exists(root, _KEYS)):
        return {}
    with root.opened(_KEYS, os.O_RDONLY | os.O_DIRECTORY) as fd:
        names = os.listdir(fd)
    made = {name: match["kind"] for name in sorted(names) if (match := _KEY.fullmatch(name))}
    return {
        path: kind
        for name, kind in made.items()
        if f"{name}-cert.pub" not in names and _is_file(root, path := f"{_KEYS}/{name}")
    }


def renew_keys(root: Root, world: Runs) -> None:
    """Each is another one of its kind, or gone, which is logged. Blocks."""
    deadline = time.monotonic() + MAKE_S
    for path, kind in find_keys(root).items():
        try:
            _renew_key(root, path, kind, world, deadline)
        except (errors.PilotError, OSError) as error:
            _log.error("%s of a copied disk is removed, as no other could be made: %s", path, errors.told(error))
            for place in (path, f"{path}.pub"):
                with _logged(place):
                    _remove(root, place)
            with _logged(path):
                _remove_begun(root, path)


def _renew_key(root: Root, path: str, kind: str, world: Runs, deadline: float) -> None:
    _remove_begun(root, path)  # by a start that came to no end
    new = path + _NEW
    world.run((_KEYGEN, "-q", "-t", kind, "-N", "", "-f", new), deadline)
    _rename(root, f"{new}.pub", f"{path}.pub")
    _rename(root, new, path)


def _remove_begun(root: Root, path: str) -> None:
    for begun in (path + _NEW, f"{path}{_NEW}.pub"):
        _remove(root, begun)


class InContainer:
    """Of one that has just begun. `process`: as what, but for the command."""

    def __init__(self, container: Executes, process: Process, exits: Exits) -> None:
        self._container = container
        self._process = process
        self._exits = exits

    def run(self, words: Sequence[str], deadline: float) -> None:
        """Blocks."""
        spawned = self._container.exec(msgspec.structs.replace(self._process, args=tuple(words)), Stdio())
        try:
            is_late = not fds.readable([spawned.pid_fd], max(0.0, deadline - time.monotonic()))
            if is_late:
                with contextlib.suppress(ProcessLookupError):  # it has ended at the last moment
                    signal.pidfd_send_signal(spawned.pid_fd, signal.SIGKILL)
            status = self._exits.status(spawned, _RECORD_S)
            self._exits.acknowledge(spawned)
        finally:
            spawned.close()
        if is_late or status != waiter.ExitStatus(0):
            why = "it has not ended in time" if is_late else f"exit code {status.exit_code()}"
            raise errors.HostError(f"{' '.join(words)}: {why}")


def _exists(root: Root, path: str) -> bool:
    try:
        with root.opened(path, os.O_PATH):
            return True
    except OSError:
        return False  # or a link that leads nowhere: there is nothing to be used


def _is_file(root: Root, path: str) -> bool:
    """Itself, not by a link."""
    try:
        with root.parent(path) as (dir_fd, name):
            return stat.S_ISREG(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove(root: Root, path: str) -> None:
    if _is_file(root, path):
        with root.parent(path) as (dir_fd, name):
            os.unlink(name, dir_fd=dir_fd)


def _rename(root: Root, source: str, target: str) -> None:
    """Within one directory."""
    with root.parent(source) as (dir_fd, name):
        os.replace(name, os.path.basename(target), src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
