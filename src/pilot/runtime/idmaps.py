"""uid_map and gid_map of a process in a new user namespace: by ourselves where we may, else by newuidmap and newgidmap.

Those two are setuid programs that let a user give away the ids that /etc/subuid and /etc/subgid say are his.
"""

from __future__ import annotations

import os

from .. import errors
from ..kernel import idmap
from ..plan.plan import IdMaps
from . import openings

_COMMANDS = ("newuidmap", "newgidmap")


def write(pid: int, maps: IdMaps) -> None:
    """Write both maps. HostError with the map that was refused."""
    uids, gids = openings.rows(maps.uids), openings.rows(maps.gids)
    if os.geteuid() == 0 or (_is_own(uids, os.geteuid()) and _is_own(gids, os.getegid())):
        idmap.write_maps(pid, uids, gids)
        return
    for command, rows in zip(_COMMANDS, (uids, gids), strict=True):
        _run([command, str(pid), *(str(number) for row in rows for number in row)])


def _is_own(rows: list[idmap.Row], id: int) -> bool:
    """What anybody may map: one's own id, alone."""
    return len(rows) == 1 and rows[0][1:] == (id, 1)


def _run(command: list[str]) -> None:
    import subprocess  # only for users other than root

    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        hint = "install it (uidmap), or map only your own id"
        raise errors.HostError(f"run {command[0]}: {(error.strerror or '').lower()}", hint=hint) from error
    if done.returncode != 0:
        raise errors.HostError(f"{' '.join(command)}: {done.stderr.strip()}")
