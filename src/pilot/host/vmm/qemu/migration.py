"""The state of a stopped machine to a file, and from there into a QEMU that waits for it (`-incoming defer`).

Memory that is a shared file may be left out (`ignores_shared`): it is that file. That is of the format, too, so whoever
reads says what whoever wrote has said. QEMU may open nothing itself, so it is handed a descriptor.
"""

from __future__ import annotations

import os

from .... import errors
from . import qmp

# QEMU limits the speed of a migration; this one goes to a file.
_UNLIMITED_BYTES_PER_S = 1 << 40
# The name under which QEMU keeps the descriptor of the file.
_STATE = "state"


def save(control: qmp.Qmp, path: str, what: str, *, ignores_shared: bool) -> None:
    """Of a machine that is stopped. `HostError`, with `what`, when QEMU fails."""
    _prepare(control, ignores_shared)
    control.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED_BYTES_PER_S})
    _give(control, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    control.execute("migrate", {"uri": f"fd:{_STATE}"})
    _migrated(control, what)


def load(control: qmp.Qmp, path: str, what: str, *, ignores_shared: bool) -> None:
    """The machine has that state then, and does not run yet."""
    _prepare(control, ignores_shared)
    _give(control, path, os.O_RDONLY)
    control.execute("migrate-incoming", {"uri": f"fd:{_STATE}"})
    _migrated(control, what)


def _prepare(control: qmp.Qmp, ignores_shared: bool) -> None:
    """Both are said: a clone has what it was loaded with."""
    wanted = {"x-ignore-shared": ignores_shared, "events": True}
    told = [{"capability": name, "state": state} for name, state in wanted.items()]
    control.execute("migrate-set-capabilities", {"capabilities": told})


def _give(control: qmp.Qmp, path: str, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        control.execute("getfd", {"fdname": _STATE}, fd=fd)
    finally:
        os.close(fd)


def _migrated(control: qmp.Qmp, what: str) -> None:
    ended = control.wait_event("MIGRATION", lambda data: data.get("status") in {"completed", "failed"})
    if ended["status"] != "completed":
        raise errors.HostError(f"{what}: QEMU's migration failed")
