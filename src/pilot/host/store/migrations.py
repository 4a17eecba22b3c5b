"""The schema as the list of changes that made it. Never edit one that was released: add the next.

Times are microseconds since the epoch (`*_us`), documents are JSON text.
"""

from __future__ import annotations

_FIRST = (
    "CREATE TABLE organisations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, created_us BIGINT NOT NULL)",
    """CREATE TABLE tokens (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id),
        digest TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, revoked_us BIGINT)""",
    """CREATE TABLE machines (
        id TEXT PRIMARY KEY, isolation TEXT NOT NULL, uid_base BIGINT NOT NULL UNIQUE, created_us BIGINT NOT NULL)""",
    """CREATE TABLE sprites (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL,
        suffix TEXT NOT NULL, machine TEXT REFERENCES machines (id), volume TEXT NOT NULL, phase TEXT NOT NULL,
        labels TEXT NOT NULL, url_settings TEXT NOT NULL, environment TEXT NOT NULL, config TEXT NOT NULL,
        next_checkpoint BIGINT NOT NULL, current_source TEXT,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, last_running_us BIGINT, last_warming_us BIGINT,
        UNIQUE (organisation, name))""",
    """CREATE TABLE checkpoints (
        sprite TEXT NOT NULL REFERENCES sprites (id), id TEXT NOT NULL, number BIGINT NOT NULL, source TEXT,
        comment TEXT NOT NULL, is_auto INTEGER NOT NULL, clean INTEGER NOT NULL, frozen_ms DOUBLE PRECISION NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (sprite, id))""",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, resource TEXT NOT NULL, request TEXT NOT NULL,
        names TEXT NOT NULL, outcome TEXT, started_us BIGINT NOT NULL, finished_us BIGINT)""",
    "CREATE UNIQUE INDEX one_active_run ON runs (kind, action, resource) WHERE finished_us IS NULL",
    """CREATE TABLE transitions (
        run TEXT NOT NULL REFERENCES runs (id), name TEXT NOT NULL, completed INTEGER NOT NULL,
        attempts BIGINT NOT NULL, error TEXT, result TEXT, at_us BIGINT NOT NULL, PRIMARY KEY (run, name))""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL)""",
    "CREATE TABLE bases (variant TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL)",
)

# The formats of requests and results (`fsm.documents`).
_VERSIONS = (
    "ALTER TABLE runs ADD COLUMN version BIGINT NOT NULL DEFAULT 1",
    "ALTER TABLE transitions ADD COLUMN version BIGINT NOT NULL DEFAULT 1",
)

# The size of a machine: it was in the configuration of its sprite, and is written again at the next start of that.
_SIZES = (
    f"ALTER TABLE machines ADD COLUMN memory_bytes BIGINT NOT NULL DEFAULT {2 << 30}",
    "ALTER TABLE machines ADD COLUMN cpus BIGINT NOT NULL DEFAULT 2",
)

# So that numbers of events are never used again, also when all of them have been forgotten: followers go by them.
_EVENTS = (
    """CREATE TABLE events_numbered (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at_us BIGINT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL)""",
    "INSERT INTO events_numbered SELECT seq, at_us, kind, subject, detail FROM events ORDER BY seq",
    "DROP TABLE events",
    "ALTER TABLE events_numbered RENAME TO events",
)

_NETWORKS = (
    """CREATE TABLE networks (
        machine TEXT PRIMARY KEY REFERENCES machines (id), number BIGINT NOT NULL UNIQUE, policy TEXT NOT NULL,
        serial BIGINT NOT NULL)""",
)

_PARENTS = (
    "ALTER TABLE runs ADD COLUMN parent TEXT",
    "CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL",
)

_LIFECYCLE = (
    "ALTER TABLE sprites ADD COLUMN lifecycle TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sprites ADD COLUMN rested TEXT NOT NULL DEFAULT 'null'",
    "ALTER TABLE events ADD COLUMN organisation TEXT",
    "ALTER TABLE events ADD COLUMN sprite TEXT",
    """CREATE TABLE holds (
        sprite TEXT NOT NULL REFERENCES sprites (id), name TEXT NOT NULL, since_us BIGINT NOT NULL, expires_us BIGINT,
        PRIMARY KEY (sprite, name))""",
)

# What the Machines API has: a Machine's id is also its machine's, and its name is free when it was destroyed.
_FLY = (
    """CREATE TABLE apps (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), name TEXT NOT NULL UNIQUE,
        network TEXT NOT NULL, created_us BIGINT NOT NULL)""",
    """CREATE TABLE fly_machines (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, version TEXT NOT NULL, config TEXT NOT NULL, metadata TEXT NOT NULL, images TEXT NOT NULL,
        cordoned INTEGER NOT NULL, lease TEXT, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)""",
    "CREATE UNIQUE INDEX fly_machine_names ON fly_machines (app, name) WHERE state != 'destroyed'",
    """CREATE TABLE fly_versions (
        machine TEXT NOT NULL REFERENCES fly_machines (id), version TEXT NOT NULL, config TEXT NOT NULL,
        created_us BIGINT NOT NULL, PRIMARY KEY (machine, version))""",
    """CREATE TABLE fly_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, machine TEXT NOT NULL REFERENCES fly_machines (id), type TEXT NOT NULL,
        status TEXT NOT NULL, source TEXT NOT NULL, at_us BIGINT NOT NULL, request TEXT NOT NULL)""",
    "CREATE INDEX fly_events_of_a_machine ON fly_events (machine, seq)",
    "CREATE TABLE image_bases (digest TEXT PRIMARY KEY, volume TEXT NOT NULL, created_us BIGINT NOT NULL)",
)

# The private network that a machine is in: a name, among those of its organisation.
_PRIVATE_NETWORKS = ("ALTER TABLE networks ADD COLUMN private TEXT",)

# Keys that people ask for. Those of before are of the whole organisation, and may everything.
_KEYS = (
    "ALTER TABLE tokens ADD COLUMN name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin'",
    "ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT 'organisation'",
    "ALTER TABLE tokens ADD COLUMN scope_id TEXT",
    "ALTER TABLE tokens ADD COLUMN scope_name TEXT",
    "ALTER TABLE tokens ADD COLUMN expires_us BIGINT",
    "ALTER TABLE tokens ADD COLUMN used_us BIGINT",
    "CREATE UNIQUE INDEX token_names ON tokens (organisation, name) WHERE revoked_us IS NULL AND name != ''",
)

# Volumes of the Machines API, which are volumed's under the same names, and secrets of its apps, sealed.
_FLY_VOLUMES = (
    """CREATE TABLE fly_volumes (
        id TEXT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, region TEXT NOT NULL,
        state TEXT NOT NULL, size_gb BIGINT NOT NULL, machine TEXT REFERENCES fly_machines (id),
        snapshot_retention BIGINT NOT NULL, created_us BIGINT NOT NULL)""",
    """CREATE TABLE fly_secrets (
        app TEXT NOT NULL REFERENCES apps (id), name TEXT NOT NULL, sealed TEXT NOT NULL, digest TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (app, name))""",
    "ALTER TABLE apps ADD COLUMN secrets_version BIGINT NOT NULL DEFAULT 0",
)

# Whose machine it is, which every machine may ask at any time.
_SPRITES_BY_MACHINE = ("CREATE INDEX sprites_by_machine ON sprites (machine)",)

# Addresses that apps have of their own.
_APP_ADDRESSES = (
    "CREATE TABLE app_addresses (app TEXT PRIMARY KEY REFERENCES apps (id), number BIGINT NOT NULL UNIQUE)",
)

# How many processes a machine may have, which was the same for all.
_PIDS = ("ALTER TABLE machines ADD COLUMN pids BIGINT NOT NULL DEFAULT 4096",)

# Where organisations want to be told what happens, and how far that has come.
_WEBHOOKS = (
    """CREATE TABLE webhooks (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), url TEXT NOT NULL,
        sealed TEXT NOT NULL, sprite TEXT, kinds TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL,
        seq BIGINT NOT NULL, attempts BIGINT NOT NULL, failing_us BIGINT, next_us BIGINT NOT NULL, error TEXT,
        delivered_us BIGINT, disabled TEXT)""",
)

# What people call checkpoints, of which each name is at one of a sprite.
_CHECKPOINT_NAMES = (
    "ALTER TABLE checkpoints ADD COLUMN name TEXT",
    "CREATE UNIQUE INDEX checkpoint_names ON checkpoints (sprite, name) WHERE name IS NOT NULL",
)

# Credentials that machines use and never have: each host is of one connector of a machine.
_CONNECTORS = (
    """CREATE TABLE connectors (
        machine TEXT NOT NULL, name TEXT NOT NULL, attach TEXT NOT NULL, sealed TEXT NOT NULL,
        created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (machine, name))""",
    """CREATE TABLE connector_hosts (
        machine TEXT NOT NULL, host TEXT NOT NULL, connector TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (machine, host))""",
    "ALTER TABLE networks ADD COLUMN authority TEXT",
)

# What root of a sprite may do.
_PRIVILEGES = ("ALTER TABLE sprites ADD COLUMN privileges TEXT NOT NULL DEFAULT '{}'",)

# What sprites have used, by day; it outlives them.
_USAGE = (
    """CREATE TABLE usage_days (
        day TEXT NOT NULL, sprite TEXT NOT NULL, organisation TEXT NOT NULL, name TEXT NOT NULL,
        awake_us BIGINT NOT NULL, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL,
        disk_bytes BIGINT NOT NULL, PRIMARY KEY (day, sprite))""",
    "CREATE INDEX usage_days_by_sprite ON usage_days (sprite, day)",
    "CREATE INDEX usage_days_by_organisation ON usage_days (organisation, day)",
    """CREATE TABLE usage_counters (
        sprite TEXT PRIMARY KEY, cpu_us BIGINT NOT NULL, sent_bytes BIGINT NOT NULL, received_bytes BIGINT NOT NULL)""",
)

# Secret keys of apps, sealed, a row for each version.
_SECRET_KEYS = (
    """CREATE TABLE fly_keys (
        app TEXT NOT NULL REFERENCES apps (id), label TEXT NOT NULL, version BIGINT NOT NULL, kind TEXT NOT NULL,
        sealed TEXT NOT NULL, public TEXT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (app, label, version))""",
)

# Machines that run before anybody wants them; and what time it is believed to be, for what deletes things by their age.
_MEMBERS_AND_CLOCKS = (
    "CREATE TABLE fly_members (machine TEXT PRIMARY KEY, digests TEXT NOT NULL, created_us BIGINT NOT NULL)",
    "CREATE TABLE clocks (name TEXT PRIMARY KEY, at_us BIGINT NOT NULL)",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST, _VERSIONS, _SIZES, _EVENTS, _NETWORKS, _PARENTS, _LIFECYCLE, _FLY, _PRIVATE_NETWORKS, _KEYS,
    _FLY_VOLUMES, _SPRITES_BY_MACHINE, _APP_ADDRESSES, _PIDS, _WEBHOOKS,
    _CHECKPOINT_NAMES, _CONNECTORS, _PRIVILEGES, _USAGE, _SECRET_KEYS, _MEMBERS_AND_CLOCKS,
)  # fmt: skip
