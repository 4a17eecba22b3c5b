"""A mounted filesystem held still, for as short as possible, and never for longer than a deadline.

A guard, a process that the zygote forks, does it all, because whoever freezes may wait in the kernel (`errand`) and
may be killed:

    volumed                                     guard
                    ◄── calm ────────────────   syncfs until it takes little time
                    ◄── frozen, or why not ──   FIFREEZE
    cuts the map
                    ── thaw, or its end ─────►  FITHAW; at its own deadline without being asked
                    ◄── whether it was held ─

When it is not frozen at the deadline, volumed goes on without it: what is cut then is what a power loss would leave.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from ... import errors
from ...kernel import fds as descriptors
from .. import crashpoint
from ..requests import to_errand, to_zygote
from ..requests.base import Answer

if TYPE_CHECKING:
    from ..serving import zygote

_log = logging.getLogger(__name__)
_FREEZE_DEADLINE_S = 0.08
_GUARD_TIMEOUT_S = 2.0
_CALM_SYNC_S = 0.02
_SYNC_ROUNDS = 8


class Frozen:
    """volumed's side: in the block the filesystem is held still, or was not to be had in time (not `clean` then)."""

    def __init__(self, what: str, mount_fd: int, spawner: zygote.Zygote) -> None:
        """`what` this is for, in errors."""
        self._what = what
        self._mount_fd = mount_fd
        self._zygote = spawner
        self._is_answered = False
        self._refusal: str | None = None
        self.clean = False
        self.frozen_ms = 0.0

    def __enter__(self) -> Frozen:
        self._guard = self._zygote.guard(self._mount_fd, _GUARD_TIMEOUT_S)
        try:
            if refusal := self._step():
                raise errors.HostError(f"{self._what}: sync before the freeze: {refusal}")
            self._started = time.monotonic()
            if descriptors.readable([self._guard.socket.fileno()], _FREEZE_DEADLINE_S):
                self._await_frozen()
            self.clean = self._is_answered and not self._refusal
        except BaseException:
            self._guard.close()
            raise
        return self

    def _await_frozen(self) -> None:
        self._refusal = self._step()
        self._is_answered = True
        if self._refusal:
            _log.warning("freeze: %s; taking a crash-consistent cut", self._refusal)
        crashpoint.reach("checkpoint: frozen")

    def _step(self) -> str | None:
        """Why the guard's next step failed. One that was killed has left the filesystem to us."""
        try:
            received = self._guard.receive_answer(Answer)
        except errors.PeerError:
            received = None
        except errors.PilotError as error:
            return str(error)
        if received is None:
            self._zygote.errand(to_errand.Thaw(), [self._mount_fd])
            return "its guard has ended"
        return None

    def __exit__(self, *_: object) -> None:
        try:
            if not self._is_answered:
                self._await_frozen()
            if not self._refusal:
                with contextlib.suppress(errors.PeerError):  # it has ended, as the next step finds
                    self._guard.send(to_zygote.Thaw())
                # Not thawed by that means that its deadline was earlier: the cut may have caught a running filesystem.
                self.clean = not self._step() and self.clean
        except errors.PeerError as error:
            _log.warning("thaw: %s", error)
            self.clean = False
        finally:
            self.frozen_ms = (time.monotonic() - self._started) * 1000
            self._guard.close()
