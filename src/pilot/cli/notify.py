"""sd_notify(3) through a runtime, as runc does it: the service manager hears that the *container* is ready.

    <root>/~notify/<id>/notify.sock ◄── READY=1 ── the container, at NOTIFY_SOCKET=/run/notify/notify.sock
            │
            └── MAINPID=<pid of the container>, READY=1 ──► our own NOTIFY_SOCKET

create and run put the directory into the Spec; start and run listen there until the container is ready, or has ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from .. import errors, ids
from ..spec.config import Mount, Spec
from ..spec.process import Process

if TYPE_CHECKING:
    import socket

_INSIDE = "/run/notify"
_SOCKET = "notify.sock"
_LARGEST = 4096
_JOIN_S = 5.0


def is_wanted() -> bool:
    """Whether a service manager waits for word from us."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


@contextlib.contextmanager
def prepared(spec: Spec, root: str, id: str) -> Iterator[Spec]:
    """The Spec with the socket's directory, which is made, and its name in the environment, to create from."""
    if not is_wanted() or spec.process is None:
        yield spec
        return
    try:
        yield _with_socket(spec, spec.process, root, id)
    except errors.Conflict:
        raise  # it is another container's
    except BaseException:
        remove(root, id)
        raise


def _with_socket(spec: Spec, process: Process, root: str, id: str) -> Spec:
    directory = _directory(root, id)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    mount = Mount(_INSIDE, "bind", directory, ("bind", "nosuid", "noexec", "nodev", "ro"))
    process = msgspec.structs.replace(process, env=(*process.env, f"NOTIFY_SOCKET={_INSIDE}/{_SOCKET}"))
    return msgspec.structs.replace(spec, process=process, mounts=(*spec.mounts, mount))


@contextlib.contextmanager
def listening(root: str, id: str) -> Iterator[socket.socket | None]:
    """The socket that the container may send to from its first instruction on; None when nobody wants to hear."""
    path = os.path.join(_directory(root, id), _SOCKET)
    if not is_wanted() or not os.path.isdir(os.path.dirname(path)):
        yield None
        return
    import socket  # only where there is a service manager

    from ..runtime import addresses

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as listener:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a start that failed
        with addresses.short(path) as address:
            listener.bind(address)
        os.chmod(path, 0o777)  # any user of the container's may be the one
        yield listener


def pass_on(listener: socket.socket | None, pid: int) -> None:
    """Wait until the process says that it is ready, and say so of it; returns at once when it has ended."""
    if listener is None:
        return
    import select

    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        while listener.fileno() in select.select([listener.fileno(), pid_fd], [], [])[0]:
            if any(line.startswith(b"READY=") for line in listener.recv(_LARGEST).splitlines()):
                _send(f"MAINPID={pid}\nREADY=1".encode())
                return
    finally:
        os.close(pid_fd)


@contextlib.contextmanager
def passing_on(listener: socket.socket | None, pid: int) -> Iterator[None]:
    """The same beside what we do; for those who stay until the process ends."""
    if listener is None:
        yield
        return
    import threading

    thread = threading.Thread(target=pass_on, args=(listener, pid), name="notify", daemon=True)
    thread.start()
    yield
    thread.join(_JOIN_S)  # it ends with the process


def remove(root: str, id: str) -> None:
    """What `prepared` and `listening` made."""
    directory = _directory(root, id)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, _SOCKET))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(directory)
    with contextlib.suppress(OSError):  # others are there, or it never was
        os.rmdir(os.path.dirname(directory))


def _directory(root: str, id: str) -> str:
    return os.path.join(root, "~notify", ids.parse_container_id(id))


def _send(message: bytes) -> None:
    import socket

    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        manager.send(message)
