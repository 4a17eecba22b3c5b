"""`pilot planner [--socket PATH] [--idle SECONDS]`: plan for the command lines that ask, until SIGTERM.

`pilot planner start` puts one into a session and cgroups of its own, as the first cold command line does; `pilot
planner undo` is what command lines are told to execute when their planner is lost.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

from .. import errors
from ..cli import options
from ..cli.options import Kind, Option
from . import place

_OPTIONS = (
    Option(("socket",), Kind.TEXT, "where to listen (default: /run/pilot-planner/socket)"),
    Option(("idle",), Kind.NUMBER, "end after so many seconds without a request (default: 0, never)"),
    Option(("lock-fd",), Kind.NUMBER, "the lock, held already, is this descriptor"),
    Option(("own-cgroup",), Kind.FLAG, "remove the cgroup that it is in when it ends"),
)
_USAGE = """\
NAME:
   pilot planner - plan for the command lines that ask

USAGE:
   pilot planner [options]                 serve until SIGTERM
   pilot planner start [--socket value]    start one apart from the caller, and return

OPTIONS:
"""
# A request makes some ten thousand objects, few of them in circles: look for those every few requests.
_GARBAGE = (50_000, 20, 100)
_ACTIVATED_FD = 3  # sd_listen_fds(3)


def main(words: Sequence[str]) -> int:
    """Serve, or one of the two words; the exit status."""
    if words[:1] in (["--help"], ["-h"]):
        sys.stdout.write(_USAGE + options.describe_options(_OPTIONS))
        return 0
    if words[:1] == ["undo"]:
        from . import undo  # of a command line, which is to be quick

        return undo.main(words[1:])
    if words[:1] == ["start"]:
        from . import starting

        starting.start(_socket(_options(words[1:], _OPTIONS[:1])))
        return 0
    return _serve(_options(words, _OPTIONS))


def _options(words: Sequence[str], known: Sequence[Option]) -> options.Arguments:
    """UsageError for a word that is no option: a planner that serves for ever is not what it asked for."""
    given = options.parse_arguments(words, known)
    if given.positional:
        raise options.UsageError(f"unknown word {given.positional[0]!r}", hint="pilot planner --help")
    return given


def _socket(given: options.Arguments) -> str:
    return os.path.abspath(given.text("socket") or place.default_socket(os.environ))


def _serve(given: options.Arguments) -> int:
    if place.is_forbidden():
        raise errors.HostError(f"{place.FORBIDDING} forbids a planner")
    path = _socket(given)
    with _listener(path, given.number("lock-fd", -1)) as listener, _stop_signal() as stop_fd:
        # What belongs to whoever started us is not for hooks of others.
        for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"):
            os.environ.pop(name, None)
        from . import joining, preload, service  # once it is known that there is work

        preload.load()
        gc.collect()
        gc.freeze()
        with contextlib.closing(joining.Forker()) as forker:
            served = service.Service(listener, given.number("idle"), forker)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_GARBAGE)
            print(f"pilot planner: listening on {path}, build {served.digest}", flush=True)
            served.run(stop_fd)
    if given.flag("own-cgroup"):
        from . import starting

        starting.leave_cgroup()
    sys.stdout.flush()
    os._exit(0)  # threads that attend to a process in the foreground: its own pilot goes on without us


@contextlib.contextmanager
def _listener(path: str, lock_fd: int) -> Iterator[socket.socket]:
    """The socket that a service manager gave us, or one at `path`, for root alone, with the lock held."""
    if os.environ.get("LISTEN_FDS") == "1" and os.environ.get("LISTEN_PID") == str(os.getpid()):
        with socket.socket(fileno=_ACTIVATED_FD) as listener:
            os.set_inheritable(_ACTIVATED_FD, False)
            yield listener
        return
    place.make_directory(os.path.dirname(path))
    with contextlib.nullcontext() if lock_fd >= 0 else place.locked(path), _bound(path) as listener:
        yield listener


@contextlib.contextmanager
def _bound(path: str) -> Iterator[socket.socket]:
    """A socket at `path`: who holds the lock may take away what a dead planner has left there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        except OSError as error:
            raise errors.HostError(f"listen on {path}: {(error.strerror or '').lower()}") from error
        finally:
            os.umask(before)
        listener.listen(256)
        try:
            yield listener
        finally:
            os.unlink(path)


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
