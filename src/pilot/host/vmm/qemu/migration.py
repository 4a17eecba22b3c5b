"""The state of a stopped machine to a file, and from there into a QEMU that waits for it (`-incoming defer`).

Memory that is a shared file may be left out (`ignores_shared`): it is that file. That is of the format, too, so whoever
reads says what whoever wrote has said. QEMU may open nothing itself, so it is handed a descriptor, and where that
stands in the file is how far QEMU has come: it may take as long as it moves.

One that is under way stops the machine when it ends, whatever runs by then: who wants that to run on cancels first.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from .... import errors
from . import qmp

# QEMU limits the speed of a migration; this one goes to a file.
_UNLIMITED_BYTES_PER_S = 1 << 40
# The name under which QEMU keeps the descriptor of the file.
_STATE = "state"
SILENCE_S = 120.0  # a host's disk that is busy may take so long for the next piece
LOOK_S = 1.0
_PAUSE_S = 0.02
_ENDED = frozenset({"none", "completed", "failed", "cancelled"})


class Failed(errors.HostError):
    """QEMU has tried, and says so."""


class Motion:
    """Whether something still moves, by where it is each time that it is looked at."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._at = -1
        self._since_s = 0.0

    def stands(self, at: int, now_s: float) -> bool:
        """For longer than that."""
        if at != self._at:
            self._at, self._since_s = at, now_s
        return now_s - self._since_s > self._silence_s


def save(control: qmp.Qmp, path: str, what: str, *, ignores_shared: bool) -> None:
    """Of a machine that is stopped. `Failed`, with `what`, when QEMU fails; `PeerError` when it stands still, or has
    gone: then it may still be under way (`cancel`)."""
    _prepare(control, ignores_shared)
    control.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED_BYTES_PER_S})
    with _given(control, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        control.execute("migrate", {"uri": f"fd:{_STATE}"})
        _await_end(control, fd, what)


def load(control: qmp.Qmp, path: str, what: str, *, ignores_shared: bool) -> None:
    """The machine has that state then, and does not run yet. Errors: as of `save`."""
    _prepare(control, ignores_shared)
    with _given(control, path, os.O_RDONLY) as fd:
        control.execute("migrate-incoming", {"uri": f"fd:{_STATE}"})
        _await_end(control, fd, what)


def cancel(control: qmp.Qmp, timeout_s: float) -> None:
    """None is under way when this returns, and the machine can be told to go on, also when all was written before.
    `PeerError` when that takes too long."""
    control.execute("migrate_cancel")
    end_s = time.monotonic() + timeout_s
    while _is_under_way(control):
        if time.monotonic() > end_s:
            raise errors.PeerError(f"cancel a migration: QEMU has not ended it within {timeout_s:g} s")
        time.sleep(_PAUSE_S)


def _is_under_way(control: qmp.Qmp) -> bool:
    if control.execute("query-migrate").get("status", "none") not in _ENDED:
        return True
    return bool(control.execute("query-status")["status"] == "finish-migrate")  # which is refused to go on


def _prepare(control: qmp.Qmp, ignores_shared: bool) -> None:
    """Both are said: a clone has what it was loaded with."""
    wanted = {"x-ignore-shared": ignores_shared, "events": True}
    told = [{"capability": name, "state": state} for name, state in wanted.items()]
    control.execute("migrate-set-capabilities", {"capabilities": told})


@contextlib.contextmanager
def _given(control: qmp.Qmp, path: str, flags: int) -> Iterator[int]:
    """QEMU has the file; the descriptor is of the same opening of it, and so where QEMU is."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        control.execute("getfd", {"fdname": _STATE}, fd=fd)
        yield fd
    finally:
        os.close(fd)


def _await_end(control: qmp.Qmp, fd: int, what: str) -> None:
    motion = Motion(SILENCE_S)
    while (ended := control.wait_event("MIGRATION", lambda data: data.get("status") in _ENDED, LOOK_S)) is None:
        if motion.stands(os.lseek(fd, 0, os.SEEK_CUR), time.monotonic()):
            raise errors.PeerError(f"{what}: QEMU has stood still for {SILENCE_S:g} s")
    if ended["status"] != "completed":
        raise Failed(f"{what}: QEMU's migration {ended['status']}")
