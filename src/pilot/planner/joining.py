"""Callers in another mount namespace, or below another root directory: a child joins theirs and answers.

    thread of the service                      forker                         child
      request, connection, cwd, 0, 1, 2,  ──►   fork   ──────────────────►     joins the namespace, the root, cwd, umask
      mount namespace, root, end of a pipe                                     is it all there? nothing known of before
      waits for the end of the pipe   ◄────────────────────────────────────    answers, ends

Everything that is asked of the host by path is asked after the child has joined: the forker is forked before anything
has been asked at all, so that no fact of another mount namespace can be left in it. What is not loaded by then is
loaded never: the code would be the caller's choice. Child and caller have the same capabilities in the same user
namespace, so that nothing is done that the caller could not do, and no child serves a second one.

They end with the planner: the forker when the other end of its socket is closed, its children by its death.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.machinery
import os
import pwd
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from .. import errors
from ..kernel import fds, mountns, seccomp, syscalls
from . import messages, place, verbs
from .caller import Caller
from .messages import Request

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_UMASK_BYTES = 2


class Forker:
    """In the planner's own process: the way to one that forks. To be made before there are threads."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _be_forker(theirs)
            except BaseException:  # noqa: BLE001 - it is told here, and nowhere above
                traceback.print_exc()
            finally:
                os._exit(1)  # whatever happens: what is above here is the planner's, its socket's path for one
        theirs.close()

    def answer(self, request: Request, caller: Caller, umask: int) -> None:
        """Have a child answer the caller, whose connection is no more ours, and wait for its end.

        What it does not answer any more, the caller sees by the end of its connection. OSError: there is no forker.
        """
        ended_fd, end_fd = os.pipe2(os.O_CLOEXEC)
        with open(ended_fd, "rb") as ended:
            with open(end_fd, "wb") as end, mountns.opened(caller.pid) as mounts:
                if not caller.is_there():
                    raise errors.PeerError("pilot has gone")
                packet = umask.to_bytes(_UMASK_BYTES, "little") + messages.format_request(request)
                socket.send_fds(self._channel, [packet], [*caller.descriptors(), *mounts, end.fileno()])
            caller.close()
            ended.read()

    def close(self) -> None:
        """End it, and its children; returns when it has ended."""
        self._channel.close()
        os.waitpid(self._pid, 0)


# ---- the forker's process -------------------------------------------------------------------------------------------


def _be_forker(channel: socket.socket) -> NoReturn:
    from ..kernel import _launch

    _name("pilot-forker")
    fds.close_others({0, 1, 2, channel.fileno(), _launch.stage()})
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's: it means the planner, whose end is ours
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    _load_what_is_left()
    gc.freeze()
    own_pid = os.getpid()
    while True:
        packet, received, _, _ = socket.recv_fds(
            channel, _UMASK_BYTES + messages.MAX_REQUEST, messages.MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not packet:
            os._exit(0)
        try:
            pid = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError):  # nobody reads it any more, or a disk is full
                print(f"pilot planner: fork: {error}", file=sys.stderr)
        else:
            if pid == 0:
                try:
                    channel.close()
                    _be_child(own_pid, packet, received)
                finally:
                    os._exit(0)  # also when there is nobody to tell of an error
        fds.close_all(received)


def _load_what_is_left() -> None:
    """Libraries and tables that are looked for by path when they are first used; and then no module any more."""
    import array  # noqa: F401 - what socket.recv_fds imports when it is called

    with contextlib.suppress(errors.HostError):
        seccomp.load()
    with contextlib.suppress(KeyError):
        pwd.getpwuid(os.geteuid())  # glibc never looks for a name service anew below another root
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is importlib.machinery.BuiltinImporter]


# ---- a child --------------------------------------------------------------------------------------------------------


def _be_child(forker_pid: int, packet: bytes, received: Sequence[int]) -> None:
    """Answer one request. Whatever happens, the caller sees the end of its connection, and does what is left to do."""
    syscalls.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != forker_pid:
        os._exit(0)  # it has died before that
    _name("pilot-joined")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        connection_fd, *given, namespace_fd, root_fd, _ = received
        caller = Caller(socket.socket(fileno=connection_fd), given)
        mountns.join(namespace_fd, root_fd)
        os.fchdir(caller.cwd_fd)
        os.umask(int.from_bytes(packet[:_UMASK_BYTES], "little"))
        if place.is_forbidden() or not _sees(caller.pid, namespace_fd):
            caller.refuse()
        else:
            verbs.answer(messages.parse_request(messages.parse_report(packet[_UMASK_BYTES:])), caller)
    except (errors.PeerError, OSError) as error:
        print(f"pilot planner: {error}", file=sys.stderr)
    except BaseException:  # noqa: BLE001 - it is told here, and nowhere above
        traceback.print_exc()


def _sees(pid: int, namespace_fd: int) -> bool:
    """Whether /proc, as it is there, is of our pid namespace: by what it says of us and of the caller."""
    wanted = os.fstat(namespace_fd)
    try:
        found = [os.stat(f"/proc/{each}/ns/mnt") for each in ("self", pid)]
        is_named = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False  # nothing is mounted there, or of processes that are others'
    return is_named and all((each.st_dev, each.st_ino) == (wanted.st_dev, wanted.st_ino) for each in found)


def _name(name: str) -> None:
    syscalls.libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0)
