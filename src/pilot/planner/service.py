"""Listening and answering: one thread per request, whose working directory and umask are the caller's.

A request is answered when its caller is as we are (`identity`), of our build, and nothing forbids it; else COLD. Of one
that has other mounts only, the thread waits for the child that answers (`joining`). Asked by another build we look at
our own sources: when they have changed we are the old one, and end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time

from .. import errors
from ..kernel import syscalls
from . import build, context, place, verbs
from .activity import Activity
from .caller import Caller
from .identity import Identity
from .joining import Forker

_CLONE_FS = 0x200
_MOST_AT_ONCE = 256  # more are the command line's: each is a thread
_TICK_S = 1.0
_DRAIN_S = 30.0


class Service:
    """Answers on `listener` until it is stopped, has had nothing to do for `idle_s` (0: never), or is outdated."""

    def __init__(self, listener: socket.socket, idle_s: float, forker: Forker) -> None:
        self.digest = build.digest()
        self._listener = listener
        self._forker = forker
        self._idle_s = idle_s
        self._own = Identity("self")
        context.facts()  # now, and not when somebody waits
        self._activity = Activity()
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._outdated = threading.Event()

    def run(self, stop_fd: int) -> None:
        """Until one of the three; requests that are under way are answered, for a while."""
        threading.Thread(target=self._accept, name="pilot-planner", daemon=True).start()
        while not (self._outdated.is_set() or place.is_forbidden() or self._is_idle()):
            if select.select([stop_fd], [], [], _TICK_S)[0]:
                break
        # Who is in the queue reads the end of it, and is the command line.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._activity.wait_until_none(_DRAIN_S)

    def _is_idle(self) -> bool:
        return 0 < self._idle_s <= self._activity.idle_s()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._listener.fileno() < 0 or error.errno == errno.EINVAL:
                    return
                print(f"pilot planner: accept: {error}", file=sys.stderr)
                time.sleep(0.1)  # out of descriptors, most likely
                continue
            threading.Thread(target=self._serve, args=(connection,), name="pilot-plan", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._activity.going_on(), contextlib.closing(Caller(connection)) as caller:
            try:
                self._answer(caller)
            except (errors.PeerError, OSError) as error:
                # Nobody is left to tell: the caller reports what it misses, and its process has seen its channel end.
                print(f"pilot planner: {error}", file=sys.stderr)

    def _answer(self, caller: Caller) -> None:
        request = caller.receive_request()
        identity = self._identify(caller)
        if identity is None or place.is_forbidden():
            caller.refuse()
            return
        if request.digest != self.digest:
            caller.refuse()
            self._look_at_sources()
            return
        if not self._places.acquire(blocking=False):
            caller.refuse()
            return
        try:
            if identity == self._own:
                _become(caller, identity)
                verbs.answer(request, caller)
            else:
                self._forker.answer(request, caller, identity.umask)
        finally:
            self._places.release()

    def _identify(self, caller: Caller) -> Identity | None:
        """None for who differs from us in more than mounts, or is not to be seen from here: a process of another pid
        namespace."""
        try:
            identity = Identity(caller.pid)
        except OSError:
            return None
        if identity.is_filtered or not identity.differs_in_mounts_at_most(self._own) or not caller.is_there():
            return None
        return identity

    def _look_at_sources(self) -> None:
        if build.digest() != self.digest:
            self._outdated.set()


def _become(caller: Caller, identity: Identity) -> None:
    """This thread's working directory and umask are the caller's from here on."""
    syscalls.checked(syscalls.libc.unshare(_CLONE_FS), "unshare the working directory")
    os.fchdir(caller.cwd_fd)
    os.umask(identity.umask)
