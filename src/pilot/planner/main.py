"""`pilot planner [--socket PATH]`: plan for the command lines that ask, until SIGTERM.

One thread per request; each has a working directory and a umask of its own (unshare(CLONE_FS)), which are the
caller's. A request that is under way when the planner ends is what a killed command leaves behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence

from .. import errors
from ..cli import options
from ..cli.options import Kind, Option
from ..kernel import syscalls
from . import build, verbs
from .caller import Caller, Identity

SOCKET = "/run/pilot/planner.sock"
_OPTIONS = (Option(("socket",), Kind.TEXT, f"where to listen (default: {SOCKET})"),)
_CLONE_FS = 0x200


def main(words: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    path = options.parse_arguments(words, _OPTIONS).text("socket", SOCKET)
    digest, own = build.digest(), Identity("self")
    with _listening(path) as listener, _stop_signal() as stop_fd:
        print(f"pilot planner: listening on {path}, build {digest}", flush=True)
        threading.Thread(target=_accept, args=(listener, digest, own), name="pilot-planner", daemon=True).start()
        os.read(stop_fd, 1)
    return 0


def _accept(listener: socket.socket, digest: str, own: Identity) -> None:
    while True:
        connection, _ = listener.accept()
        arguments = (connection, digest, own)
        threading.Thread(target=_serve, args=arguments, name="pilot-plan", daemon=True).start()


def _serve(connection: socket.socket, digest: str, own: Identity) -> None:
    with contextlib.closing(Caller(connection)) as caller:
        try:
            _answer(caller, digest, own)
        except (errors.PeerError, OSError) as error:
            # Nobody is left to tell: the caller reports what it misses, and its process has seen its channel end.
            print(f"pilot planner: {error}", file=sys.stderr)


def _answer(caller: Caller, digest: str, own: Identity) -> None:
    theirs, words = caller.receive_request()
    identity = _identify(caller)
    if theirs != digest or identity is None or identity != own:
        caller.refuse()
        return
    _become(caller, identity)
    with open(os.dup(caller.stdio_fds[2]), "w", errors="backslashreplace") as stderr:
        try:
            status = verbs.carry_out(words, caller, stderr)
        except verbs.Cold:
            caller.refuse()
            return
    caller.finish(status)


def _identify(caller: Caller) -> Identity | None:
    """None for who is not to be seen from here: a process of another pid namespace."""
    try:
        return Identity(caller.pid)
    except OSError:
        return None


def _become(caller: Caller, identity: Identity) -> None:
    """This thread's working directory and umask are the caller's from here on."""
    syscalls.checked(syscalls.libc.unshare(_CLONE_FS), "unshare the working directory")
    os.fchdir(caller.cwd_fd)
    os.umask(identity.umask)


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    """A socket at `path` for root alone; Conflict when somebody serves there."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o711, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _remove_stale(path)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(128)
    try:
        yield listener
    finally:
        os.unlink(path)
        listener.close()


def _remove_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise errors.HostError(f"listen on {path}: {(error.strerror or '').lower()}") from error
            os.unlink(path)
            return
    raise errors.Conflict(f"another planner listens on {path}")


@contextlib.contextmanager
def _stop_signal() -> Iterator[int]:
    """A descriptor that can be read when SIGTERM or SIGINT has come."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(read_fd, True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write_fd)
    try:
        yield read_fd
    finally:
        signal.set_wakeup_fd(-1)
        os.close(read_fd)
        os.close(write_fd)
