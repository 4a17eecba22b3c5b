"""What of all that is asked is written down (`host/audit`): rows of tables of calls are of one of these kinds."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .permissions import Permission


class Kind(enum.Enum):
    """`NOTHING`: of a row that a permission would have written down, and that is not worth it."""

    EXEC = "exec"
    FILE = "file"
    PORT = "port"
    TOKEN = "token"
    POLICY = "policy"
    SECRET = "secret"
    CHANGE = "change"
    EGRESS = "egress"
    LOG = "log"  # of the log itself
    NOTHING = "nothing"


# What a row is, when it says nothing else. Permissions that are missing here only look.
KINDS: Mapping[Permission, Kind] = {
    Permission.EXEC: Kind.EXEC,
    Permission.SERVICES_WRITE: Kind.EXEC,
    Permission.FILES_READ: Kind.FILE,
    Permission.FILES_WRITE: Kind.FILE,
    Permission.PORTS: Kind.PORT,
    Permission.TOKENS: Kind.TOKEN,
    Permission.NETWORK_WRITE: Kind.POLICY,
    Permission.CONNECTORS_WRITE: Kind.SECRET,
    Permission.SPRITES_WRITE: Kind.CHANGE,
    Permission.CHECKPOINTS_WRITE: Kind.CHANGE,
    Permission.MACHINES_WRITE: Kind.CHANGE,
}
# Of these, reading is something that is done, too.
_ALSO_BY_GET = frozenset({Kind.EXEC, Kind.FILE, Kind.PORT})


def kind_of(said: Kind | None, method: str, permission: Permission | None) -> Kind | None:
    """Of a row: as it says, else by its permission. None: it is not written down."""
    found = said or (KINDS.get(permission) if permission is not None else None)
    if found is None or found is Kind.NOTHING:
        return None
    return found if said or method not in ("GET", "HEAD") or found in _ALSO_BY_GET else None
