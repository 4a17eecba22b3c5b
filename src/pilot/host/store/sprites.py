"""Sprites as rows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec

from ... import errors
from ...ids import MachineId, SpriteName, VolumeId
from ...wire.schema import Privileges
from . import events, holds, machines
from .database import Database, Row, Taken, Transaction
from .journal import now_us

OF_MACHINE = "SELECT * FROM sprites WHERE machine = ? AND phase NOT LIKE 'pool%'"


class UrlSettings(msgspec.Struct, frozen=True):
    """Who may use a sprite's URL."""

    auth: Literal["sprite", "public"] = "sprite"
    private_access: str | None = None

    def merged(self, changes: UrlSettings) -> UrlSettings:
        """With the changes; what they do not say stays."""
        return UrlSettings(changes.auth, changes.private_access or self.private_access)


_Source = Annotated[str, msgspec.Meta(pattern=r"^(image|self|[^:]+:[^:]+)\Z", max_length=400)]
_Mebibytes = Annotated[int, msgspec.Meta(ge=128, le=1 << 20)]
_Processors = Annotated[int, msgspec.Meta(ge=1, le=256)]
_Gigabytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
_Processes = Annotated[int, msgspec.Meta(ge=128, le=1 << 22)]


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """The size of a sprite's machine; None is the host's. `region` is accepted and means nothing on one host.

    `storage_gb`: what its disk may take of the host's, in real bytes; nothing that it shares with others counts.
    `pids`: how many processes and threads there may be in it at a time.
    """

    ram_mb: _Mebibytes | None = None
    cpus: _Processors | None = None
    region: str | None = None
    storage_gb: _Gigabytes | None = None
    pids: _Processes | None = None

    def merged(self, changes: ConfigChanges) -> Config:
        """With the changes; what they do not say stays."""
        said = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not msgspec.UNSET}
        return msgspec.structs.replace(self, **said)


class ConfigChanges(msgspec.Struct, frozen=True):
    """Of a `Config`: what is left out stays as it is, null is the host's again."""

    ram_mb: _Mebibytes | msgspec.UnsetType | None = msgspec.UNSET
    cpus: _Processors | msgspec.UnsetType | None = msgspec.UNSET
    region: str | msgspec.UnsetType | None = msgspec.UNSET
    storage_gb: _Gigabytes | msgspec.UnsetType | None = msgspec.UNSET
    pids: _Processes | msgspec.UnsetType | None = msgspec.UNSET


class Spawn(msgspec.Struct, frozen=True):
    """Sprites that a sprite may make by itself: how many there may be at a time, from what (`image`, `self`, or a
    template `SPRITE:CHECKPOINT`), and for how long each of them is; None: as long as nobody destroys it."""

    children: Annotated[int, msgspec.Meta(ge=1, le=50)]
    sources: Annotated[tuple[_Source, ...], msgspec.Meta(min_length=1, max_length=32)] = msgspec.field(
        default=("image",), name="from"
    )
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86400)] | None = None


class Lifecycle(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a sprite rests, and when it ends. Times of None are the host's, 0 is never.

    `warm_after_s`: unused for so long it is frozen; `cold_after_s`: frozen for so long its machine is stopped;
    `terminal_idle_s`: without input or output for so long, whoever is at a terminal is detached.
    `expires_us`: then `on_expiry` is done to it; what was stopped or suspended stays so until this is another.
    `protected`: it is not destroyed, by nobody. `spawn`: what it may make by itself; `parent`: who has made it so.
    """

    warm_after_s: float | None = None
    cold_after_s: float | None = None
    terminal_idle_s: float | None = None
    expires_us: int | None = None
    on_expiry: Literal["delete", "stop", "suspend"] = "delete"
    protected: bool = False
    spawn: Spawn | None = None
    parent: str | None = None

    def is_over(self, now_us: int) -> bool:
        """Its deadline has passed, which it outlives at rest."""
        return self.expires_us is not None and now_us >= self.expires_us and self.on_expiry != "delete"


class Rested(msgspec.Struct, frozen=True):
    """When it last went to rest, and why."""

    status: Literal["warm", "cold"]
    at_us: int
    why: str


@dataclasses.dataclass(frozen=True)
class Sprite:
    """`phase`: creating, live or destroying; pooling or pooled before it is anybody's.

    `current_source`: the checkpoint that the live disk goes back to. `privileges`: of its next world.
    """

    id: str
    organisation: str
    name: SpriteName
    suffix: str
    machine: MachineId | None
    volume: VolumeId
    phase: str
    labels: tuple[str, ...]
    url_settings: UrlSettings
    environment: Mapping[str, str]
    config: Config
    current_source: str | None
    created_us: int
    updated_us: int
    last_running_us: int | None
    last_warming_us: int | None
    lifecycle: Lifecycle = dataclasses.field(default_factory=Lifecycle)
    rested: Rested | None = None
    privileges: Privileges = dataclasses.field(default_factory=Privileges)


def insert(tx: Transaction, sprite: Sprite) -> None:
    """Idempotent by id. `Conflict` when another sprite has the name."""
    row = _columns(sprite) | {"next_checkpoint": 1}
    names, places = ", ".join(row), ", ".join("?" * len(row))
    with _one_of_the_name():
        inserted = tx.execute(
            f"INSERT INTO sprites ({names}) VALUES ({places}) ON CONFLICT (id) DO NOTHING", tuple(row.values())
        )
    if inserted:
        events.add(tx, "sprite.recorded", f"sprite/{sprite.id}", {"name": sprite.name})


def take_over(tx: Transaction, sprite: Sprite) -> None:
    """The row of a pool member becomes this sprite's, but for its machine. Idempotent; `Conflict` as in `insert`."""
    row = {key: value for key, value in _columns(sprite).items() if key not in ("id", "machine")}
    settings = ", ".join(f"{column} = ?" for column in row)
    own = (sprite.id, sprite.organisation, sprite.name)
    with _one_of_the_name():
        changed = tx.execute(
            f"UPDATE sprites SET {settings} WHERE id = ? AND NOT (organisation = ? AND name = ?)", (*row.values(), *own)
        )
    if changed:
        events.add(tx, "sprite.recorded", f"sprite/{sprite.id}", {"name": sprite.name})


@contextlib.contextmanager
def _one_of_the_name() -> Iterator[None]:
    try:
        yield
    except Taken as error:
        raise errors.Conflict("sprite already exists") from error


def update(tx: Transaction, sprite: str, **changes: object) -> None:
    """Set columns; documents are given as values. `updated_us` follows."""
    columns = {"updated_us": now_us()} | {key: _stored(key, value) for key, value in changes.items()}
    settings = ", ".join(f"{column} = ?" for column in columns)
    tx.execute(f"UPDATE sprites SET {settings} WHERE id = ?", (*columns.values(), sprite))


def locked(tx: Transaction, sprite: str) -> Sprite:
    """The row, which nobody else changes before this transaction has ended: written to first, so that it is ours.

    `NotFound`."""
    rows = tx.query("UPDATE sprites SET updated_us = ? WHERE id = ? RETURNING *", (now_us(), sprite))
    if not rows:
        raise errors.NotFound("sprite not found")
    return _sprite(rows[0])


def delete(tx: Transaction, sprite: str) -> None:
    """The row, its checkpoints' rows and its machine's. Idempotent."""
    tx.execute("DELETE FROM checkpoints WHERE sprite = ?", (sprite,))
    holds.release_all(tx, sprite)
    rows = tx.query("SELECT name, machine FROM sprites WHERE id = ?", (sprite,))
    if not rows:
        return
    events.add(tx, "sprite.destroyed", f"sprite/{sprite}", {"name": rows[0]["name"]})
    tx.execute("DELETE FROM sprites WHERE id = ?", (sprite,))
    machines.delete(tx, rows[0]["machine"])


def by_name(database: Database, organisation: str, name: str) -> Sprite:
    rows = database.query("SELECT * FROM sprites WHERE organisation = ? AND name = ?", (organisation, name))
    if not rows:
        raise errors.NotFound("sprite not found")
    return _sprite(rows[0])


def by_id(database: Database, sprite: str) -> Sprite:
    rows = database.query("SELECT * FROM sprites WHERE id = ?", (sprite,))
    if not rows:
        raise errors.NotFound("sprite not found")
    return _sprite(rows[0])


def at_address(database: Database, name: str, suffix: str) -> list[Sprite]:
    """Those of all organisations whose address on the web has that name and suffix; not those of the pool."""
    rows = database.query(
        "SELECT * FROM sprites WHERE name = ? AND suffix = ? AND phase NOT LIKE 'pool%'", (name, suffix)
    )
    return [_sprite(row) for row in rows]


def is_taken(database: Database, organisation: str, name: str) -> bool:
    """Whether one of the organisation is called so."""
    return bool(database.query("SELECT 1 FROM sprites WHERE organisation = ? AND name = ?", (organisation, name)))


def of_machine(database: Database, machine: MachineId) -> Sprite | None:
    """Whose machine that is; None of one that is in the pool, or somebody else's."""
    rows = database.query(OF_MACHINE, (machine,))
    return _sprite(rows[0]) if rows else None


def every(database: Database, organisation: str | None = None) -> list[Sprite]:
    """All sprites (of one organisation), by name; not those of the pool."""
    if organisation is None:
        rows = database.query("SELECT * FROM sprites WHERE phase NOT LIKE 'pool%' ORDER BY name, id")
    else:
        rows = database.query("SELECT * FROM sprites WHERE organisation = ? ORDER BY name", (organisation,))
    return [_sprite(row) for row in rows]


def members(database: Database) -> list[Sprite]:
    """Those of the pool."""
    return [_sprite(row) for row in database.query("SELECT * FROM sprites WHERE phase LIKE 'pool%' ORDER BY id")]


# Columns that are JSON, and what they are as values.
_DOCUMENTS: Mapping[str, object] = {
    "labels": tuple[str, ...], "url_settings": UrlSettings, "environment": dict[str, str], "config": Config,
    "lifecycle": Lifecycle, "rested": Rested | None, "privileges": Privileges,
}  # fmt: skip
_COLUMNS = tuple(field.name for field in dataclasses.fields(Sprite))


def _stored(column: str, value: object) -> object:
    return msgspec.json.encode(value).decode() if column in _DOCUMENTS else value


def _columns(sprite: Sprite) -> dict[str, object]:
    return {column: _stored(column, getattr(sprite, column)) for column in _COLUMNS}


def _sprite(row: Row) -> Sprite:
    documents = {column: msgspec.json.decode(row[column], type=kind) for column, kind in _DOCUMENTS.items()}
    return Sprite(**{column: documents.get(column, row[column]) for column in _COLUMNS})
