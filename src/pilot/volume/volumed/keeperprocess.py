"""The keeper's process: found at its socket, started, succeeded by one of another build, killed.

start      we bind and listen ─ connect ─ start it with the listening socket, its "door", in its store
           (we are connected before it runs: a keeper that keeps nothing and has no visitor ends)
connect    the peer of the door is the keeper, since it listens on it again: its pid is known
succeed    the new one stops the old, copies its store and thus the door, kills it; when it cannot, the old goes on
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence

from ... import errors
from ...kernel import fds as descriptors
from ...kernel import initlink
from .. import messages

DOOR = "door"
_OPTIONS = ("--keeper", "--name", "volume-keeper", "--listen", DOOR)
# When it greets us it may be the only one that has what it keeps: killed for being slow, it would take that along.
_GREETING_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 5.0
_Child = subprocess.Popen[bytes]


class Process:
    """One keeper that has greeted us. Owns its link and pidfd until `close`."""

    def __init__(self, sock: socket.socket, pid: int, child: _Child | None = None) -> None:
        """Takes over `sock`; reaps `child`, if it is that one. PeerError when it does not greet: it is killed then."""
        self.pid = pid
        self._child = child if child is not None and child.pid == pid else None
        self.pid_fd = os.pidfd_open(pid)
        try:
            self.link = initlink.InitLink(sock.detach(), timeout_s=_GREETING_TIMEOUT_S)
        except errors.PilotError:
            self.kill()
            os.close(self.pid_fd)
            raise
        self.handed_over = frozenset(self.link.inherited) - {DOOR}

    def put(self, name: str, fd: int) -> None:
        self.link.put(name, fd, timeout_s=_ANSWER_TIMEOUT_S)

    def drop(self, name: str) -> None:
        """It has closed its copy when this returns."""
        self.link.drop(name, wait=True, timeout_s=_ANSWER_TIMEOUT_S)

    def runs(self, binary: str) -> bool:
        """Whether it is of this build: the very file, not one that had its name."""
        try:
            return os.path.samefile(f"/proc/{self.pid}/exe", binary)
        except FileNotFoundError:
            return True  # it has just ended, or nothing could succeed it

    def wait(self, timeout_s: float) -> bool:
        """Whether it ends in time."""
        ended = bool(descriptors.readable([self.pid_fd], timeout_s))
        if ended:
            self.reap()
        return ended

    def reap(self) -> None:
        """It has ended: no zombie of it stays with us."""
        if self._child is not None:
            self._child.wait()

    def kill(self) -> None:
        """kill -9: it has closed what it kept when this returns, unless the kernel is stuck."""
        try:
            signal.pidfd_send_signal(self.pid_fd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # that is what we want
        self.wait(_END_TIMEOUT_S)

    def close(self, wait_s: float = 0) -> None:
        """Leave it; if it keeps nothing it ends by that, for which this waits a while."""
        self.link.close()
        self.wait(wait_s)
        os.close(self.pid_fd)


def connect(path: str, child: _Child | None = None) -> Process | None:
    """The keeper that listens at `path`; `child` when it may be that one. PeerError: one that was silent is killed."""
    for _ in range(2):
        sock = _visit(path)
        if sock is None:
            return None
        with sock:
            try:
                found = Process(sock, messages.peer_of(sock), child)
            except ProcessLookupError:
                initlink.InitLink(sock.detach(), timeout_s=_GREETING_TIMEOUT_S).close()
                continue
        if not found.wait(0):
            return found
        # The last to listen on that socket is dead, and who greeted us was just coming up: now it listens itself.
        found.close()
    return None


def _visit(path: str) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(_ANSWER_TIMEOUT_S)
        with descriptors.short_path(path) as short:
            sock.connect(short)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return sock


def start(path: str, binary: str) -> Process:
    """A new one, which keeps nothing yet. OSError, PeerError."""
    with (
        messages.listen(path, socket.SOCK_SEQPACKET) as door,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock,
    ):
        with descriptors.short_path(path) as short:
            sock.connect(short)
        child = _run(binary, [], {"PILOT_FDS": f"{DOOR}:{door.fileno()}"}, [door.fileno()])
        return Process(sock, child.pid, child)


def succeed(old: Process, path: str, binary: str) -> Process | None:
    """The keeper after an attempt to put one of our build in the place of `old`, which is closed."""
    child = _run(binary, ["--take-from", str(old.pid)], {}, [])
    new_fd = os.pidfd_open(child.pid)
    try:
        descriptors.readable([new_fd, old.pid_fd], _GREETING_TIMEOUT_S)  # whichever ends: it was refused, or is done
    finally:
        os.close(new_fd)
    old.close()
    child.poll()
    return connect(path, child)


def _run(binary: str, options: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]) -> _Child:
    return subprocess.Popen(
        [binary, *_OPTIONS, *options], env=environment, pass_fds=fds, cwd="/", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
