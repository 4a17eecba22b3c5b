"""`containerd-shim-pilot-v2`: what containerd runs for the runtime `io.containerd.pilot.v2`.

start    in the bundle: finds or starts the shim of the container's group, and prints where it listens
delete   the shim has died: ends what it has left of one container, and prints how that ended
serve    the shim (ours alone: `start` runs it, with its listening socket and its lock)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from .. import __version__, errors
from ..kernel import mounts
from ..spec import parse
from ..spec.config import Spec
from . import messages, protobuf, wanted
from .group import Group

KILLED = 137
LOCK_S = 60.0
_PAUSE_S = 0.05
_ADDRESS = "address"


def parser() -> argparse.ArgumentParser:
    """containerd's flags have one dash."""
    made = argparse.ArgumentParser(prog="containerd-shim-pilot-v2", description="run by containerd", allow_abbrev=False)
    for name in ("namespace", "address", "id", "bundle", "publish-binary", "group", "inherited"):
        made.add_argument(f"-{name}", default="")
    made.add_argument("-debug", action="store_true")
    made.add_argument("-v", "-version", action="version", version=f"containerd-shim-pilot-v2 {__version__}")
    made.add_argument("action", choices=sorted(_ACTIONS))
    return made


def main() -> int:
    """The exit status."""
    asked = parser().parse_args()
    try:
        _ACTIONS[asked.action](asked)
    except (errors.PilotError, OSError) as error:
        print(f"containerd-shim-pilot-v2: {asked.action} {asked.id}: {error}", file=sys.stderr)
        return 1
    return 0


# ---- start ----------------------------------------------------------------------------------------------------------


def _start(asked: argparse.Namespace) -> None:
    group = _group(asked, os.getcwd())
    if not _answers(group.socket):
        lock_fd = _lock(group)
        try:
            if not _answers(group.socket):
                _launch(asked, group, lock_fd)
        finally:
            os.close(lock_fd)
    address = f"unix://{group.socket}"
    with open(_ADDRESS, "w") as file:  # where a containerd that is started anew finds it
        file.write(address)
    sys.stdout.write(address)


def _group(asked: argparse.Namespace, bundle: str) -> Group:
    spec = parse.read_spec(bundle)
    return Group.of(asked.address, asked.namespace, wanted.group_of(asked.id, spec))


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _lock(group: Group) -> int:
    """Ours, when the shim that has it is no more: it may have to end its machine first."""
    end_s = time.monotonic() + LOCK_S
    while True:
        fd = _try_to_lock(group)
        if fd is not None:
            return fd
        if time.monotonic() > end_s:
            raise errors.HostError(f"the former shim of {group.directory} has not ended within {LOCK_S:g} s")
        time.sleep(_PAUSE_S)


def _try_to_lock(group: Group) -> int | None:
    """None also when a shim that ends takes the directory, or the one of all groups, away meanwhile."""
    try:
        os.makedirs(group.directory, mode=0o700, exist_ok=True)
        fd = os.open(group.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(group.lock)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _launch(asked: argparse.Namespace, group: Group, lock_fd: int) -> None:
    """The shim, in a session of its own. Its output is what containerd reads of `log`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(group.socket)
    with socket.socket(socket.AF_UNIX) as listening, open(_log_of(os.getcwd()), "r+b", 0, opener=_at_once) as log:
        listening.bind(group.socket)
        listening.listen()
        given = (listening.fileno(), lock_fd)
        words = ["-namespace", asked.namespace, "-group", group.directory, "-inherited", ",".join(map(str, given))]
        program = [sys.executable, "-P", "-m", __spec__.name if __spec__ else __name__, *words, "serve"]
        subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, pass_fds=given
        )


def _log_of(bundle: str) -> str:
    path = os.path.join(bundle, "log")
    return path if os.path.exists(path) else os.devnull


def _at_once(path: str, flags: int) -> int:
    """A FIFO whose reader may come later, or go."""
    return os.open(path, flags | os.O_NONBLOCK)


# ---- delete ---------------------------------------------------------------------------------------------------------


def _delete(asked: argparse.Namespace) -> None:
    from . import machine  # see above

    bundle = asked.bundle or os.getcwd()
    group = _group(asked, bundle)
    spec = parse.read_spec(bundle)
    rootfs = os.path.join(bundle, spec.root.path if spec.root is not None else "rootfs")
    if _answers(group.socket):  # of others of the group
        machine.Machine(group).take_out(_planned(asked.id, spec, rootfs))
    elif os.path.exists(group.directory):
        lock_fd = _lock(group)  # one that ends in good order ends its machine first
        try:
            # All of its containers are dead to containerd, and the machine may answer nothing. It is not asked: what
            # takes longer than containerd's patience (5 s) is cut off in the middle, and nobody comes again.
            machine.Machine(group).kill()
            group.remove()
        finally:
            os.close(lock_fd)
    if _is_below(bundle, rootfs) and mounts.is_mount_point(rootfs):
        mounts.umount(rootfs, mounts.Unmount.DETACH)
    told = messages.DeleteResponse(pid=os.getpid(), exit_status=KILLED, exited_at=messages.timestamp())
    sys.stdout.buffer.write(protobuf.encode(told))


def _is_below(bundle: str, rootfs: str) -> bool:
    """Whether it is the bundle's own, where a snapshot is mounted: any other root is the caller's, with its mounts."""
    return os.path.normpath(rootfs).startswith(os.path.normpath(bundle) + os.sep)


def _planned(id: str, spec: Spec, rootfs: str) -> wanted.Wanted | None:
    """None for what was refused: nothing of it is in the machine."""
    try:
        return wanted.plan(id, spec, rootfs)
    except errors.SpecError:
        return None


# ---- the shim -------------------------------------------------------------------------------------------------------


def _serve(asked: argparse.Namespace) -> None:
    from . import serving

    listen_fd, _lock_fd = map(int, asked.inherited.split(","))
    serving.run(Group(asked.group), socket.socket(fileno=listen_fd), asked.namespace)


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {"start": _start, "delete": _delete, "serve": _serve}

if __name__ == "__main__":
    sys.exit(main())
