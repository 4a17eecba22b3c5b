"""What a principal may be allowed to do. Each row of each table of calls names one of these."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Permission(enum.Enum):
    """`HOST` is pilotd's own: no token carries it, and no edge passes on a call that wants it."""

    HOST = "host"
    SELF = "self"  # to ask about what it has shown itself
    ORGANISATION_READ = "organisation:read"
    TOKENS = "tokens"
    SPRITES_READ = "sprites:read"
    SPRITES_WRITE = "sprites:write"
    CHECKPOINTS_READ = "checkpoints:read"
    CHECKPOINTS_WRITE = "checkpoints:write"
    EXEC = "exec"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    PORTS = "ports"
    SERVICES_READ = "services:read"
    SERVICES_WRITE = "services:write"
    NETWORK_READ = "network:read"
    NETWORK_WRITE = "network:write"
    CONNECTORS_READ = "connectors:read"
    CONNECTORS_WRITE = "connectors:write"
    MACHINES_READ = "machines:read"
    MACHINES_WRITE = "machines:write"
    METRICS = "metrics:read"
    AUDIT_READ = "audit:read"


GRANTABLE = frozenset(Permission) - {Permission.HOST}


class Role(enum.Enum):
    """What somebody asks a key to be good for."""

    ADMIN = "admin"
    OPERATE = "operate"
    READ = "read"
    EXEC = "exec"


# `operate` is all but the keys of others; `read` changes nothing; `exec` runs commands, and looks at nothing else.
ROLES: Mapping[Role, frozenset[Permission]] = {
    Role.ADMIN: GRANTABLE,
    Role.OPERATE: GRANTABLE - {Permission.TOKENS},
    Role.READ: frozenset(each for each in GRANTABLE if each.value.endswith(":read")) | {Permission.SELF},
    Role.EXEC: frozenset({Permission.EXEC, Permission.SELF}),
}
