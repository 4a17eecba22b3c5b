"""Apps, their Machines, what happened to these, and the bases of images: rows of the Machines API.

A Machine's `id` is also its machine's (`machines`). A state changes with an event in one transaction; a Machine that
was destroyed keeps its row, and its name is free.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec

from ... import errors
from ...ids import MachineId, VolumeId
from ..fly.containers import ImageOf
from . import connectors, events, fly_addresses, fly_keys, fly_secrets
from .database import Reader, Row, Taken, Transaction
from .journal import now_us

DESTROYED = "destroyed"
MOST_EVENTS = 100
MOST_FORGOTTEN = 1000
_EVENT = "INSERT INTO fly_events (machine, type, status, source, at_us, request) VALUES (?, ?, ?, ?, ?, ?)"


@dataclasses.dataclass(frozen=True)
class App:
    id: str
    organisation: str
    name: str
    network: str
    created_us: int


@dataclasses.dataclass(frozen=True)
class Lease:
    """Who may change a Machine until `expires_us`."""

    nonce: str
    owner: str
    description: str
    expires_us: int


@dataclasses.dataclass(frozen=True)
class Machine:
    """`config` is the client's document, as it was written."""

    id: MachineId
    app: str
    name: str
    region: str
    state: str
    version: str
    config: Mapping[str, object]
    metadata: Mapping[str, str]
    images: tuple[ImageOf, ...]
    cordoned: bool
    lease: Lease | None
    created_us: int
    updated_us: int


@dataclasses.dataclass(frozen=True)
class Event:
    """`source`: user, or flyd."""

    seq: int
    type: str
    status: str
    source: str
    at_us: int
    request: Mapping[str, object]


# Apps


def add_app(tx: Transaction, app: App) -> None:
    """`Conflict` when the name is taken."""
    try:
        tx.execute(
            "INSERT INTO apps (id, organisation, name, network, created_us) VALUES (?, ?, ?, ?, ?)",
            dataclasses.astuple(app),
        )
    except Taken as error:
        raise errors.Conflict("Name has already been taken") from error


def app(reader: Reader, organisation: str, name: str) -> App:
    rows = reader.query("SELECT * FROM apps WHERE organisation = ? AND name = ?", (organisation, name))
    if not rows:
        raise errors.NotFound(f"app not found: {name}")
    return _app(rows[0])


def apps(reader: Reader, organisation: str) -> list[App]:
    """By name."""
    return [
        _app(row) for row in reader.query("SELECT * FROM apps WHERE organisation = ? ORDER BY name", (organisation,))
    ]


def app_by_name(reader: Reader, name: str) -> App | None:
    """Of whatever organisation."""
    rows = reader.query("SELECT * FROM apps WHERE name = ?", (name,))
    return _app(rows[0]) if rows else None


def app_names(reader: Reader | Transaction, ending: str) -> list[str]:
    """Of all apps whose names end so, of whatever organisation."""
    rows = reader.query("SELECT name FROM apps WHERE substr(name, -length(?)) = ? ORDER BY name", (ending, ending))
    return [row["name"] for row in rows]


def app_by_id(reader: Reader, id: str) -> App:
    rows = reader.query("SELECT * FROM apps WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound("app not found")
    return _app(rows[0])


def every_app(reader: Reader) -> list[App]:
    """The oldest first."""
    return [_app(row) for row in reader.query("SELECT * FROM apps ORDER BY created_us, id")]


def app_of(reader: Reader, machine: Machine) -> App:
    """`NotFound` when it was deleted."""
    return app_by_id(reader, machine.app)


def delete_app(tx: Transaction, id: str) -> None:
    """With all that is kept of Machines that were destroyed. Idempotent; `StateError` while it has others."""
    if tx.query("SELECT id FROM fly_machines WHERE app = ? AND state != ?", (id, DESTROYED)):
        raise errors.StateError("the app has machines that are not destroyed yet")
    if tx.query("SELECT id FROM fly_volumes WHERE app = ?", (id,)):
        raise errors.StateError("the app has volumes that are not destroyed yet")
    fly_secrets.forget(tx, id)
    fly_keys.forget(tx, id)
    connectors.forget(tx, connectors.of_app(id))
    fly_addresses.forget(tx, id)
    of_app = "(SELECT id FROM fly_machines WHERE app = ?)"
    for table in ("fly_events", "fly_versions"):
        tx.execute(f"DELETE FROM {table} WHERE machine IN {of_app}", (id,))
    tx.execute("DELETE FROM fly_machines WHERE app = ?", (id,))
    tx.execute("DELETE FROM apps WHERE id = ?", (id,))
    tx.announce()


def _app(row: Row) -> App:
    return App(row["id"], row["organisation"], row["name"], row["network"], row["created_us"])


# Machines


def add(tx: Transaction, machine: Machine) -> None:
    """Idempotent by id. `Conflict` when another one of the app has the name, `NotFound` when there is no such app."""
    if not tx.query("SELECT id FROM apps WHERE id = ?", (machine.app,)):
        raise errors.NotFound("app not found")
    if tx.query("SELECT id FROM fly_machines WHERE id = ?", (machine.id,)):
        return
    lease = machine.lease
    row = {
        "id": machine.id, "app": machine.app, "name": machine.name, "region": machine.region, "state": machine.state,
        "version": machine.version, "config": _text(machine.config), "metadata": _text(machine.metadata),
        "images": _text(machine.images), "cordoned": int(machine.cordoned), "created_us": machine.created_us,
        "updated_us": machine.updated_us, "lease": None if lease is None else _text(lease),
    }  # fmt: skip
    try:
        tx.execute(
            f"INSERT INTO fly_machines ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )
    except Taken as error:
        raise _taken(machine.name) from error
    _add_version(tx, machine.id, machine.version, machine.config)
    note(tx, machine.id, "launch", machine.state, "user")


def check_name(reader: Reader, app: str, name: str) -> None:
    """`Conflict` when a Machine of the app has it now."""
    if reader.query("SELECT id FROM fly_machines WHERE app = ? AND name = ? AND state != 'destroyed'", (app, name)):
        raise _taken(name)


def _taken(name: str) -> errors.Conflict:
    return errors.Conflict(f"unique machine name violation, machine already exists with name {name}")


def find(reader: Reader, app: str, id: str) -> Machine:
    rows = reader.query("SELECT * FROM fly_machines WHERE app = ? AND id = ?", (app, id))
    if not rows:
        raise errors.NotFound("machine not found")
    return _machine(rows[0])


def by_id(reader: Reader, id: str) -> Machine:
    rows = reader.query("SELECT * FROM fly_machines WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound("machine not found")
    return _machine(rows[0])


def every(reader: Reader, app: str | None = None) -> list[Machine]:
    """Also those that were destroyed; the oldest first."""
    if app is None:
        rows = reader.query("SELECT * FROM fly_machines WHERE state != ? ORDER BY created_us, id", (DESTROYED,))
    else:
        rows = reader.query("SELECT * FROM fly_machines WHERE app = ? ORDER BY created_us, id", (app,))
    return [_machine(row) for row in rows]


def undestroyed(reader: Reader, app: str) -> list[Machine]:
    """As `every`, but for those that were destroyed, of which an app may have many thousands."""
    # The state is said as the index says it (`fly_machine_names`), which has no others.
    rows = reader.query(
        "SELECT * FROM fly_machines WHERE app = ? AND state != 'destroyed' ORDER BY created_us, id", (app,)
    )
    return [_machine(row) for row in rows]


def forget_destroyed(tx: Transaction, before_us: int) -> None:
    """What is kept of Machines that were destroyed before that; MOST_FORGOTTEN of them, the oldest first."""
    rows = tx.query(
        """SELECT id FROM fly_machines WHERE state = ? AND updated_us < ?
           AND id NOT IN (SELECT machine FROM fly_volumes WHERE machine IS NOT NULL) ORDER BY updated_us LIMIT ?""",
        (DESTROYED, before_us, MOST_FORGOTTEN),
    )
    for row in rows:
        for table in ("fly_events", "fly_versions"):
            tx.execute(f"DELETE FROM {table} WHERE machine = ?", (row["id"],))
        tx.execute("DELETE FROM fly_machines WHERE id = ?", (row["id"],))


def in_state(reader: Reader, state: str) -> list[tuple[MachineId, str]]:
    """The Machines that are in it, each with its version."""
    rows = reader.query("SELECT id, version FROM fly_machines WHERE state = ? ORDER BY created_us, id", (state,))
    return [(MachineId(row["id"]), row["version"]) for row in rows]


def scheduled(reader: Reader) -> list[tuple[Machine, int]]:
    """Those that stand still and have a schedule, each with when it began last, or was to, or was made: one that could
    not be started once is due again like any other."""
    rows = reader.query(
        """SELECT m.*, coalesce((SELECT max(at_us) FROM fly_events WHERE machine = m.id AND type = 'start'),
                                m.created_us) AS began_us
           FROM fly_machines m WHERE m.state IN ('stopped', 'failed') AND m.config LIKE '%"schedule"%'
           ORDER BY m.created_us, m.id""",
        (),
    )
    found = ((_machine(row), int(row["began_us"])) for row in rows)
    return [(machine, began_us) for machine, began_us in found if machine.config.get("schedule")]


def started_by_app(reader: Reader) -> dict[str, frozenset[MachineId]]:
    """Of each app that has one."""
    found: dict[str, set[MachineId]] = {}
    for row in reader.query("SELECT app, id FROM fly_machines WHERE state = ?", ("started",)):
        found.setdefault(row["app"], set()).add(MachineId(row["id"]))
    return {app: frozenset(ids) for app, ids in found.items()}


def change(tx: Transaction, id: str, **columns: object) -> None:
    """Set columns; documents are given as values. Whoever reads Machines is told."""
    stored = {"updated_us": now_us()} | {name: _stored(name, value) for name, value in columns.items()}
    settings = ", ".join(f"{name} = ?" for name in stored)
    tx.execute(f"UPDATE fly_machines SET {settings} WHERE id = ?", (*stored.values(), id))
    tx.announce()


def enter(
    tx: Transaction, id: str, state: str, type: str, source: str, request: Mapping[str, object] | None = None
) -> None:
    """It is in that state from here on, and its events say why. Once: one that is in it already stays as it is."""
    rows = tx.query("SELECT state FROM fly_machines WHERE id = ?", (id,))
    if not rows or rows[0]["state"] == state:
        return
    change(tx, id, state=state)
    note(tx, id, type, state, source, request)


def note(
    tx: Transaction, id: str, type: str, status: str, source: str, request: Mapping[str, object] | None = None
) -> None:
    """One more event of a Machine; whoever waits for it is told."""
    tx.execute(_EVENT, (id, type, status, source, now_us(), _text(request or {})))
    events.add(tx, f"machine.{status}", f"machine/{id}", {"type": type})


def renew(tx: Transaction, id: str, version: str, config: Mapping[str, object], images: Sequence[ImageOf]) -> None:
    """Another version of it. Idempotent."""
    change(tx, id, version=version, config=config, images=tuple(images))
    _add_version(tx, id, version, config)


def _add_version(tx: Transaction, id: str, version: str, config: Mapping[str, object]) -> None:
    tx.execute(
        "INSERT INTO fly_versions (machine, version, config, created_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (id, version, _text(config), now_us()),
    )


def versions(reader: Reader, id: str) -> list[tuple[str, Mapping[str, object]]]:
    """The newest first."""
    rows = reader.query("SELECT * FROM fly_versions WHERE machine = ? ORDER BY created_us DESC, version DESC", (id,))
    return [(row["version"], msgspec.json.decode(row["config"])) for row in rows]


def happened(reader: Reader, id: str, most: int = MOST_EVENTS) -> list[Event]:
    """The newest first."""
    rows = reader.query("SELECT * FROM fly_events WHERE machine = ? ORDER BY seq DESC LIMIT ?", (id, most))
    return list(map(_event, rows))


def happened_of_all(
    reader: Reader, app: str, most: int = MOST_EVENTS, *, also_destroyed: bool = False
) -> dict[str, list[Event]]:
    """As `happened`, of each Machine of an app, in one go; of those that were destroyed only where that is said."""
    those = "" if also_destroyed else "AND m.state != 'destroyed'"  # as `undestroyed`
    # Of each the newest are found by the index alone, from its end.
    rows = reader.query(
        f"""SELECT e.* FROM fly_machines m JOIN fly_events e ON e.machine = m.id AND e.seq >= coalesce(
               (SELECT seq FROM fly_events WHERE machine = m.id ORDER BY seq DESC LIMIT 1 OFFSET ?), 0)
            WHERE m.app = ? {those} ORDER BY e.machine, e.seq DESC""",
        (most - 1, app),
    )
    found: dict[str, list[Event]] = {}
    for row in rows:
        found.setdefault(row["machine"], []).append(_event(row))
    return found


def _event(row: Row) -> Event:
    text = row["request"]
    request = _document.decode(text) if text != "{}" else {}
    return Event(row["seq"], row["type"], row["status"], row["source"], row["at_us"], request)


# Bases of images


def base(reader: Reader, digest: str) -> VolumeId | None:
    """The sealed volume of an image's digest."""
    rows = reader.query("SELECT volume FROM image_bases WHERE digest = ?", (digest,))
    return VolumeId(rows[0]["volume"]) if rows else None


def publish_base(tx: Transaction, digest: str, volume: VolumeId) -> None:
    tx.execute(
        "INSERT INTO image_bases (digest, volume, created_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, volume, now_us()),
    )


def bases(reader: Reader) -> dict[str, VolumeId]:
    """By digest."""
    return {row["digest"]: VolumeId(row["volume"]) for row in reader.query("SELECT digest, volume FROM image_bases")}


def forget_base(tx: Transaction, digest: str) -> None:
    tx.execute("DELETE FROM image_bases WHERE digest = ?", (digest,))


def wanted_bases(reader: Reader) -> set[str]:
    """Digests that a Machine is made of."""
    return {image.digest for machine in every(reader) for image in machine.images}


_DOCUMENTS = frozenset({"config", "metadata", "images", "lease"})


def _stored(name: str, value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return _text(value) if name in _DOCUMENTS and value is not None else value


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


# Made once: to make one takes longer than to use it.
_document = msgspec.json.Decoder(dict[str, object])
_labels = msgspec.json.Decoder(dict[str, str])
_images = msgspec.json.Decoder(tuple[ImageOf, ...])
_lease = msgspec.json.Decoder(Lease)


def _machine(row: Row) -> Machine:
    return Machine(
        id=MachineId(row["id"]),
        app=row["app"],
        name=row["name"],
        region=row["region"],
        state=row["state"],
        version=row["version"],
        config=_document.decode(row["config"]),
        metadata=_labels.decode(row["metadata"]),
        images=_images.decode(row["images"]),
        cordoned=bool(row["cordoned"]),
        lease=None if row["lease"] is None else _lease.decode(row["lease"]),
        created_us=row["created_us"],
        updated_us=row["updated_us"],
    )
