"""What is known of a disk beside its map, as one value. It is stored as rows of text, and travels so.

    row in meta.db           field                  row in meta.db         field of `local`
    format                   format                 local/store            store: URL of the object store it is in
    size                     size_bytes             local/holder           holder: this copy's name in HEAD
    lineage (JSON)           lineage                local/key              key: HEAD's wrapped data key
    sealed, abandoned        flags: "1", or no row  local/seq              seq: the last batch that the store has
    formatted, vm            flags                  local/cache_bytes      cache_bytes: what the slab may take here
    generation               generation             local/foreign          foreign: another host writes it
    era                      era                    local/noted            noted: position of the log of changes
    durability               durability             local/durable/at       durable_at: the store has what was then
    dirty_cap_bytes          dirty_cap_bytes        local/durable/sealed   durable_sealed: and nothing will follow
    boot ("0 17 5")          boot                   local/durable/<root>   durable_roots
    checkpoint/<id> (JSON)   checkpoints            local/quota            quota_bytes: what the slab may take here

What begins with local/ is about this host's copy and goes nowhere. Rows that this program does not know are kept as
they are: another build wrote them, and may read them again.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import structs

from .. import errors
from ..ids import CheckpointId
from . import layout
from .checkpoint import Checkpoint

K = TypeVar("K", bound=str)
V = TypeVar("V")
Rows = Mapping[str, str]
Changes = Mapping[str, str | None]  # None: the row goes

CHECKPOINT, FORK = "checkpoint/", "fork/"  # also what roots are called
_LOCAL, _DURABLE = "local/", "local/durable/"
MAX_BOOT_CHUNKS = 64


class Durability(enum.StrEnum):
    """What a flush waits for."""

    LOCAL = "local"
    REMOTE = "remote"


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of this host's copy alone; see the module."""

    store: str | None = None
    holder: str | None = None
    key: str | None = None
    seq: int = 0
    cache_bytes: int | None = None
    quota_bytes: int | None = None
    foreign: bool = False
    noted: int = 0
    durable_at: float | None = None
    durable_sealed: bool = False
    durable_roots: Mapping[str, float] = msgspec.field(default_factory=dict)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. Immutable: `structs.replace` makes the next."""

    size_bytes: int = 0
    lineage: tuple[str, ...] = ()
    format: int = layout.FORMAT
    sealed: bool = False
    abandoned: bool = False
    formatted: bool = False
    vm: bool = False
    generation: int = 0
    era: int = 0
    durability: Durability = Durability.LOCAL
    dirty_cap_bytes: int | None = None
    boot: tuple[int, ...] = ()
    checkpoints: Mapping[CheckpointId, Checkpoint] = msgspec.field(default_factory=dict)
    others: Rows = msgspec.field(default_factory=dict)
    local: Local = msgspec.field(default_factory=Local)

    @staticmethod
    def parse(rows: Rows) -> Facts:
        """From stored rows; HostError names the one that is not what it should be."""
        return Facts().with_rows(rows)

    def with_rows(self, rows: Changes) -> Facts:
        """These facts with some rows changed."""
        fields: dict[str, Any] = {}
        local: dict[str, Any] = {}
        checkpoints, durable = dict(self.checkpoints), dict(self.local.durable_roots)
        others = dict(self.others)
        for key, text in rows.items():
            try:
                if key in _FIELDS:
                    fields[_FIELDS[key].name] = _FIELDS[key].parse(text)
                elif key in _LOCAL_FIELDS:
                    local[_LOCAL_FIELDS[key].name] = _LOCAL_FIELDS[key].parse(text)
                elif key.startswith(CHECKPOINT):
                    _put(checkpoints, CheckpointId(key.removeprefix(CHECKPOINT)), text, Checkpoint.parse)
                elif key.startswith(_DURABLE):
                    _put(durable, key.removeprefix(_DURABLE), text, float)
                else:
                    _put(others, key, text, str)
            except (ValueError, TypeError) as error:
                raise errors.HostError(f"fact {key!r} is {text!r}: {error}") from error
        return structs.replace(
            self, **fields, checkpoints=checkpoints, others=others,
            local=structs.replace(self.local, **local, durable_roots=durable),
        )  # fmt: skip

    def rows(self) -> dict[str, str]:
        """As they are stored."""
        found = {key: text for key, text in changes(Facts(format=0), self).items() if text is not None}
        return {"lineage": _FIELDS["lineage"].text(self.lineage) or "", **found}

    def replace_local(self, **fields: Any) -> Facts:
        """With other facts about this host's copy."""
        return structs.replace(self, local=structs.replace(self.local, **fields))

    def travelling(self) -> Facts:
        """What is true wherever the disk is."""
        others = {key: text for key, text in self.others.items() if not key.startswith(_LOCAL)}
        return structs.replace(self, others=others, local=Local())

    def for_fork(self, ancestors: Sequence[str]) -> Facts:
        """What a fork of this disk begins with."""
        return structs.replace(
            self, lineage=tuple(ancestors), format=layout.FORMAT, sealed=False, abandoned=False, generation=0,
            checkpoints={}, others={key: text for key, text in self.others.items() if "/" not in key}, local=Local(),
        )  # fmt: skip

    def tied(self, tie: Tie) -> Facts:
        """As a disk that is in this store from now on."""
        known = structs.replace(self, durability=tie.durability)
        return known.replace_local(store=tie.store, holder=tie.holder, key=tie.key, cache_bytes=tie.cache_bytes)

    def with_checkpoint(self, checkpoint: Checkpoint) -> Facts:
        """One more, or another under the same id."""
        return structs.replace(self, checkpoints={**self.checkpoints, checkpoint.id: checkpoint})

    def without_root(self, root: str) -> Facts:
        """Nothing about a root that goes."""
        name = CheckpointId(root.removeprefix(CHECKPOINT)) if root.startswith(CHECKPOINT) else None
        durable = {key: at for key, at in self.local.durable_roots.items() if key != root}
        kept = {key: one for key, one in self.checkpoints.items() if key != name}
        return structs.replace(self, checkpoints=kept).replace_local(durable_roots=durable)

    def list_checkpoints(self) -> Sequence[Checkpoint]:
        """The oldest first, with since when the store has them."""
        durable = self.local.durable_roots
        found = [structs.replace(one, durable_at=durable.get(CHECKPOINT + one.id))
                 for one in self.checkpoints.values()]  # fmt: skip
        return sorted(found, key=lambda checkpoint: checkpoint.generation)

    def is_fork_durable(self, child: str) -> bool:
        """Whether the store has what this disk has pinned for the disk `child`."""
        return self.local.durable_sealed or self.local.foreign or FORK + child in self.local.durable_roots


class Tie(msgspec.Struct, frozen=True):
    """What ties a disk to a store: where it is, under which name this copy writes, and how."""

    store: str
    holder: str
    key: str | None = None
    durability: Durability = Durability.LOCAL
    cache_bytes: int | None = None


def changes(before: Facts, after: Facts) -> dict[str, str | None]:
    """The rows that differ, as they are afterwards."""
    if before is after:
        return {}
    found = _differing(_FIELDS, before, after) | _differing(_LOCAL_FIELDS, before.local, after.local)
    found |= _differing_entries(CHECKPOINT, before.checkpoints, after.checkpoints, Checkpoint.text)
    found |= _differing_entries(_DURABLE, before.local.durable_roots, after.local.durable_roots, repr)
    return found | _differing_entries("", before.others, after.others, str)


def encode(**fields: object) -> dict[str, str | None]:
    """Fields as the rows that would set them, for a message to whoever has the disk open."""
    known = {**_FIELDS, **_LOCAL_FIELDS}
    return {key: field.text(fields[field.name]) for key, field in known.items() if field.name in fields}


def _differing(table: Mapping[str, _Field], before: object, after: object) -> dict[str, str | None]:
    return {
        key: field.text(value)
        for key, field in table.items()
        if (value := getattr(after, field.name)) != getattr(before, field.name)
    }


def _differing_entries(
    prefix: str, before: Mapping[K, V], after: Mapping[K, V], text: Callable[[V], str]
) -> dict[str, str | None]:
    gone: dict[str, str | None] = {prefix + key: None for key in before.keys() - after.keys()}
    return gone | {prefix + key: text(value) for key, value in after.items() if before.get(key) != value}


def _put(into: dict[K, V], key: K, text: str | None, parse: Callable[[str], V]) -> None:
    if text is None:
        into.pop(key, None)
    else:
        into[key] = parse(text)


class _Field(NamedTuple):
    """How a field is written; None is no row, which parses as the field's default."""

    name: str
    parse: Callable[[str | None], object]
    text: Callable[[Any], str | None]


def _number(name: str) -> _Field:
    return _Field(name, lambda text: int(text or 0), lambda value: str(value) if value else None)


def _optional(name: str, parse: Callable[[str], V], text: Callable[[V], str] = str) -> _Field:
    return _Field(
        name,
        lambda found: None if found is None else parse(found),
        lambda value: None if value is None else text(value),
    )


def _flag(name: str) -> _Field:
    return _Field(name, lambda text: text is not None, lambda value: "1" if value else None)


def _lineage(text: str | None) -> tuple[str, ...]:
    found = json.loads(text or "[]")
    if not isinstance(found, list) or not all(isinstance(disk, str) for disk in found):
        raise ValueError("not a list of disks")
    return tuple(found)


def _boot(text: str | None) -> tuple[int, ...]:
    """A guess (`remote.live.boot`), so what is no number is left out."""
    return tuple(int(word) for word in (text or "").split()[:MAX_BOOT_CHUNKS] if word.isdecimal())


def _durability(text: str | None) -> Durability:
    return Durability.REMOTE if text == Durability.REMOTE else Durability.LOCAL


_FIELDS: Mapping[str, _Field] = {
    "format": _number("format"),
    "size": _number("size_bytes"),
    "lineage": _Field("lineage", _lineage, json.dumps),
    "sealed": _flag("sealed"),
    "abandoned": _flag("abandoned"),
    "formatted": _flag("formatted"),
    "vm": _flag("vm"),
    "generation": _number("generation"),
    "era": _number("era"),
    "durability": _Field("durability", _durability, str),
    "dirty_cap_bytes": _optional("dirty_cap_bytes", int),
    "boot": _Field("boot", _boot, lambda value: " ".join(map(str, value)) or None),
}
_LOCAL_FIELDS: Mapping[str, _Field] = {
    _LOCAL + "store": _optional("store", str),
    _LOCAL + "holder": _optional("holder", str),
    _LOCAL + "key": _optional("key", str),
    _LOCAL + "seq": _number("seq"),
    _LOCAL + "cache_bytes": _optional("cache_bytes", int),
    _LOCAL + "quota": _optional("quota_bytes", int),
    _LOCAL + "foreign": _flag("foreign"),
    _LOCAL + "noted": _number("noted"),
    _DURABLE + "at": _optional("durable_at", float, repr),
    _DURABLE + "sealed": _flag("durable_sealed"),
}
