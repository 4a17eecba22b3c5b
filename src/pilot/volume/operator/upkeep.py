"""What `pilot volume scrub gc rotate-key export import` do, as rows for people and JSON. The environment names the file
of operator keys (PILOT_VOLUME_KEY_FILE) and, for cloud stores, credentials."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from msgspec import structs

from ... import errors
from ...ids import VolumeId
from .. import layout, names
from ..client import Volume, VolumeClient
from ..disk import meta
from ..remote.log import encryption, head
from ..remote.objects import opening, store
from ..remote.tending import catalogue, compaction, compare, garbage, scrub
from ..volumed import collector
from . import archive, check, exporting, importing
from .rows import Row, Rows

_RETRY_S = 30.0


def scrub_store(url: str, volumes: Sequence[VolumeId] | None, environment: Mapping[str, str]) -> Rows:
    """One row per piece of damage; one with `what` None when there is none."""
    objects, keyring = opening.open_store(url), encryption.read_keys(environment)
    report = store.retry(lambda: scrub.scrub(objects, keyring, volumes), _RETRY_S)
    rows = [
        {**structs.asdict(found), "kind": found.kind.value, "offset": scrub.offset_of(found)}
        for found in report.findings
    ]
    return rows or [{"disks": report.disks, "objects": report.objects, "read_bytes": report.bytes, "what": None}]


def scrub_host(
    client: VolumeClient, state_dir: str, volumes: Sequence[VolumeId], *, content: bool = False, repair: bool = False
) -> Rows:
    """The same for what this host has; with `content` it is compared with what the store has, and with `repair` what is
    damaged here and whole there is put right (`repaired`; if not, why)."""
    wanted = [client.stat(volume) for volume in volumes] if volumes else client.list()
    disks = os.path.join(state_dir, "volumes", "disks")
    rows: list[Row] = []
    for row in wanted:
        found = _check(disks, row.disk, compare.verifier if content or repair else None)
        mended = _mend(client, found) if repair else set()
        for one in found:
            offset = None if one.chunk is None else one.chunk * layout.CHUNK_BYTES
            rows.append({
                "volume": row.volume, "disk": row.disk, "root": one.root, "chunk": one.chunk, "offset": offset,
                "what": one.what, **({"repaired": (one.disk, one.slot) in mended} if repair else {}),
            })  # fmt: skip
    return rows or [{"disks": len(wanted), "what": None}]


def check_host(client: VolumeClient, state_dir: str, volumes: Sequence[VolumeId]) -> Rows:
    """One row per volume and kind of damage, with what to do about it; one with `what` None when there is none."""
    wanted = [client.stat(volume) for volume in volumes] if volumes else client.list()
    disks = os.path.join(state_dir, "volumes", "disks")
    rows: Rows = [
        {"volume": row.volume, "disk": row.disk, "what": one.what, "todo": one.todo or _todo(row)}
        for row in wanted
        for one in (*_check(disks, row.disk, None), *_attached(row))
    ]
    return rows or [{"volumes": len(wanted), "what": None}]


def _attached(row: Volume) -> Iterator[check.Found]:
    """What is wrong with how it is attached, not with what is stored."""
    todo = "detach it (stop what uses it), and attach it again"
    if row.cut_off:
        yield check.Found(None, None, "it is attached in vain: its worker could not be replaced", todo=todo)
    if row.read_only:
        yield check.Found(None, None, "its filesystem met an error, and is read-only since", todo=todo)


def _todo(row: Volume) -> str:
    """About a chunk that is not as it was written."""
    if row.url is None:
        return "it is in no object store: read what can be read, restore a checkpoint, or `import` an export of it"
    return f"`pilot volume scrub {row.volume} --repair` puts right what the store has"


def _mend(client: VolumeClient, found: Sequence[check.Found]) -> set[tuple[str | None, int | None]]:
    """What could be put right from the store; why not, on standard error."""
    mended: set[tuple[str | None, int | None]] = set()
    for disk in {one.disk for one in found if one.disk is not None}:
        slots = sorted({one.slot for one in found if one.disk == disk and one.slot is not None})
        told = client.mend(disk, slots)
        done, failed = told.mended, told.failed
        mended |= {(disk, slot) for slot in done}
        for slot, why in failed.items():
            print(f"not repaired: slot {slot} of disk {disk}: {why}", file=sys.stderr)
    return mended


def _check(disks: str, disk: str, compare: check.Compare | None) -> Sequence[check.Found]:
    directory = os.path.join(disks, disk)
    try:
        with contextlib.closing(meta.Meta(directory, read_only=True)) as stored:
            lineage = [os.path.join(disks, ancestor) for ancestor in stored.facts().lineage]
    except errors.PilotError as error:
        return [check.Found(None, None, str(error), todo=error.hint or meta.DAMAGED)]
    return check.check(directory, lineage, compare)


def collect(
    url: str, grace_s: float, environment: Mapping[str, str], *, dry_run: bool, compact: Sequence[VolumeId],
    take_over: bool,
) -> Rows:  # fmt: skip
    """Compact these volumes, then collect garbage."""
    if grace_s < collector.MIN_GRACE_S:
        raise errors.PilotError(f"grace period of {grace_s:.0f} s: at least {collector.MIN_GRACE_S:.0f}")
    objects, keyring = opening.open_store(url), encryption.read_keys(environment)
    holder = f"compaction on {os.uname().nodename} {os.getpid()}"
    rewritten = 0
    for volume in () if dry_run else compact:
        disk = catalogue.disk_of(objects, volume)
        rewritten += compaction.compact(objects, disk, keyring, holder, time.time, take_over=take_over).live_bytes
    # Each run decides anew, so it may be repeated as a whole.
    plan = store.retry(lambda: garbage.collect(objects, keyring, time.time, grace_s, dry_run=dry_run), _RETRY_S)
    for disk, why in plan.kept.items():
        print(f"kept: disk {disk} and its ancestors: {why}", file=sys.stderr)
    return [{"deleted": 0 if dry_run else len(plan.delete), "deletable": len(plan.delete),
             "deletable_bytes": plan.delete_bytes, "condemned": len(plan.condemned),
             "condemned_bytes": plan.condemned_bytes, "rewritten_bytes": rewritten,
             "unreadable_disks": len(plan.kept)}]  # fmt: skip


def rotate_keys(url: str, volumes: Sequence[VolumeId], environment: Mapping[str, str]) -> Rows:
    """Wrap each data key by the first operator key; live holders go on (their next swap finds HEAD changed, not its
    epoch)."""
    objects, keyring = opening.open_store(url), encryption.read_keys(environment)
    if not keyring:
        raise errors.HostError("rotate keys: there is no operator key", hint="PILOT_VOLUME_KEY_FILE")
    disks = [catalogue.disk_of(objects, volume) for volume in volumes] or catalogue.list_disks(objects)
    return [{"disk": disk, "state": _rewrap(objects, disk, keyring)} for disk in disks]


def _rewrap(objects: store.Store, disk: str, keyring: encryption.Keyring) -> str:
    while True:
        try:
            found = store.retry(lambda: objects.get(names.head(disk)), _RETRY_S)
        except errors.NotFound:
            return "gone"
        described = head.decode(found.data, names.head(disk))
        if keyring.is_current(described):
            return "not encrypted" if described.key is None else "current"
        with contextlib.suppress(errors.Conflict):  # its holder wrote it meanwhile: once more
            objects.swap(names.head(disk), head.encode(keyring.rewrap(described)), found.version)
            return "rotated"


def export_host(
    client: VolumeClient, state_dir: str, volume: VolumeId, path: str, environment: Mapping[str, str]
) -> Rows:
    """A volume of this host → a file."""
    keyring = encryption.read_keys(environment)
    with exporting.new_file(path) as out:
        return _rows(volume, exporting.export_local(client, state_dir, volume, out, keyring))


def export_stored(url: str, volume: VolumeId, path: str, environment: Mapping[str, str]) -> Rows:
    """A volume of a store → a file."""
    objects, keyring = opening.open_store(url), encryption.read_keys(environment)
    with exporting.new_file(path) as out:
        return _rows(volume, exporting.export_stored(objects, volume, out, keyring))


def import_host(client: VolumeClient, state_dir: str, volume: VolumeId, path: str, *, trusted: bool) -> Rows:
    """A file → a volume of this host."""
    try:
        with os.fdopen(os.dup(0), "rb") if path == "-" else open(path, "rb") as file:
            return _rows(volume, importing.import_file(client, state_dir, volume, file, trusted=trusted))
    except OSError as error:
        raise errors.HostError(f"import volume {volume}: {path}: {error.strerror}") from error


def _rows(volume: VolumeId, end: archive.End) -> Rows:
    return [{"volume": volume, "chunks": end.chunks, "checkpoints": len(end.roots) - 1}]
