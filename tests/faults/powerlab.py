"""Power losses of real disks on a real filesystem, replayed: `python -m tests.support.private -- python -m
tests.faults.powerlab [--seeds N] [--losses N]`.

A seed gives a history: writes, trims, flushes, checkpoints, restores, forks, births and deaths of volumes, one after
the other, all through `volumes.Volumes` and `disk.Disk` on a recorded ext4 (`support.recorder`). Then the power fails
at many points of the log. At each, the filesystem is mounted as the loss left it, and must hold

    every volume that was acknowledged, none that was deleted, and of one that was just coming or going all or nothing
    of each 4 KiB of a volume what its last acknowledged flush had, or something written later
    checkpoints exactly as they were cut; of an interrupted restore the old content or the new one, never a mixture

and go on from there. SQLite's log, the slab, renames and links are part of it. The exit status is 1 when anything was
wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from tests.support import recorder

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.operator import check
from pilot.volume.volumed import volumes as stores

HOST_BYTES = 96 << 20
SIZE_BYTES = 64 << 20
CELL = 4096
PER_CHUNK = layout.CHUNK_BYTES // CELL
# In two pages of the map (of 64 MiB each), so that a commit has more than one.
CHUNKS = (0, 1, 2, 3, 500, 1021, 1022, 1023)

Content = dict[int, int]  # cell → what was written there; 0 or absent: zeros


@dataclasses.dataclass
class Volume:
    """What a volume should hold: `stable` after a power loss, and what was written since, in order."""

    content: Content = dataclasses.field(default_factory=dict)
    stable: Content = dataclasses.field(default_factory=dict)
    since: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    checkpoints: dict[str, Content] = dataclasses.field(default_factory=dict)

    def write(self, cell: int, value: int) -> None:
        self.content[cell] = value
        self.since.append((cell, value))

    def settle(self) -> None:
        self.stable, self.since = dict(self.content), []

    def fits(self, found: Content) -> bool:
        """Whether a power loss may have left this."""
        allowed = {cell: {value} for cell, value in self.stable.items()}
        for cell, value in self.since:
            allowed.setdefault(cell, {0}).add(value)
        return all(found.get(cell, 0) in allowed.get(cell, {0}) for cell in allowed.keys() | found.keys())


World = dict[str, Volume]


@dataclasses.dataclass(frozen=True)
class Step:
    """An operation: what there was before and after it, and where in the log it began and was acknowledged."""

    name: str
    began: int
    ended: int
    before: World
    after: World


class History:
    """Does one random thing after the other and notes what it should have led to."""

    def __init__(self, record: recorder.Recorder, seed: int) -> None:
        self._record = record
        self._chance = random.Random(seed)
        self._store = stores.Volumes(str(record.place / "volumes"), cast(Any, None))
        self._world: World = {}
        self._open: tuple[str, disks.Disk] | None = None
        self._value = 0
        self._numbers = 0
        self.steps: list[Step] = []

    def run(self, count: int) -> None:
        self._do("create", self._create)
        weighted = {self._write: 60, self._trim: 4, self._flush: 30, self._checkpoint: 5, self._delete_checkpoint: 3,
                    self._restore: 3, self._fork: 3, self._create: 1, self._delete: 2, self._reopen: 2}  # fmt: skip
        try:
            for what in self._chance.choices(list(weighted), list(weighted.values()), k=count):
                self._do(what.__name__, what)
        finally:
            self._close()

    def _do(self, name: str, what: Callable[[], None]) -> None:
        before, began = copy.deepcopy(self._world), self._record.position
        what()
        self.steps.append(Step(name, began, self._record.position, before, copy.deepcopy(self._world)))

    # ---- on the volume that is open

    def _disk(self) -> tuple[disks.Disk, Volume]:
        if self._open is None:
            name = self._chance.choice(sorted(self._world))
            self._open = name, open_disk(self._store, name)
        name, disk = self._open
        return disk, self._world[name]

    def _write(self) -> None:
        disk, volume = self._disk()
        self._value += 1
        first = self._chance.choice(CHUNKS) * PER_CHUNK
        cells = self._chance.choice([range(first, first + PER_CHUNK), [first + self._chance.randrange(PER_CHUNK)]])
        disk.write(cells[0] * CELL, memoryview(_cell(self._value) * len(cells)))
        for cell in cells:
            volume.write(cell, self._value)

    def _trim(self) -> None:
        disk, volume = self._disk()
        first, count = self._chance.choice(CHUNKS) * PER_CHUNK, self._chance.choice([1, PER_CHUNK, 3 * PER_CHUNK])
        disk.trim(first * CELL, count * CELL)
        for cell in range(first, first + count):
            volume.write(cell, 0)

    def _flush(self) -> None:
        disk, volume = self._disk()
        disk.flush()
        volume.settle()

    def _checkpoint(self) -> None:
        disk, volume = self._disk()
        self._numbers += 1
        cut = disk.roots.cut(CheckpointId(f"c{self._numbers}"))
        cut.publish(created_at=1.0, comment=None, frozen_ms=0.0, clean=True)
        volume.checkpoints[f"c{self._numbers}"] = dict(volume.content)
        volume.settle()

    def _delete_checkpoint(self) -> None:
        disk, volume = self._disk()
        if volume.checkpoints:
            name = self._chance.choice(sorted(volume.checkpoints))
            disk.roots.delete_checkpoint(CheckpointId(name))
            del volume.checkpoints[name]
            volume.settle()

    def _restore(self) -> None:
        disk, volume = self._disk()
        if volume.checkpoints:
            name = self._chance.choice(sorted(volume.checkpoints))
            disk.flush()  # or it is refused: somebody uses it
            disk.roots.restore(CheckpointId(name))
            volume.content = dict(volume.checkpoints[name])
            volume.settle()

    # ---- on all of them

    def _close(self) -> None:
        if self._open is not None:
            name, disk = self._open
            self._open = None
            disk.close()
            self._world[name].settle()

    def _reopen(self) -> None:
        self._close()

    def _create(self) -> None:
        self._close()
        self._numbers += 1
        self._store.create(VolumeId(f"v{self._numbers}"), SIZE_BYTES)
        self._world[f"v{self._numbers}"] = Volume()

    def _fork(self) -> None:
        self._close()
        source = self._chance.choice(sorted(self._world))
        saved = self._chance.choice([None, *sorted(self._world[source].checkpoints)])
        self._numbers += 1
        self._store.fork(VolumeId(source), VolumeId(f"v{self._numbers}"), CheckpointId(saved) if saved else None)
        content = self._world[source].checkpoints[saved] if saved else self._world[source].content
        self._world[f"v{self._numbers}"] = Volume(dict(content), dict(content))

    def _delete(self) -> None:
        self._close()
        if len(self._world) > 1:
            name = self._chance.choice(sorted(self._world))
            self._store.delete(VolumeId(name))
            del self._world[name]


def open_disk(store: stores.Volumes, name: str) -> disks.Disk:
    """A detached volume's disk; the caller closes it."""
    disk_id = store.shelf.disk_of(VolumeId(name))
    return disks.Disk(store.shelf.path(disk_id), store.shelf.lineage(store.shelf.facts(disk_id)))


def _cell(value: int) -> bytes:
    return value.to_bytes(8, "little") * (CELL // 8)


# ---- after the loss


def problems(place: Path, done: Step, coming: Step | None) -> Iterator[str]:
    """What is wrong with the volumes at `place`: `done` was acknowledged, `coming` perhaps begun."""
    store = stores.Volumes(str(place / "volumes"), cast(Any, None))
    worlds = [done.after] if coming is None else [done.after, coming.after]
    names = {str(row.volume) for row in store.list()}
    if names not in [set(world) for world in worlds]:
        yield f"there are {sorted(names)}, not {[sorted(world) for world in worlds]}"
        return
    for name in sorted(names):
        candidates = [world[name] for world in worlds if name in world]
        try:
            yield from (f"{name}: {text}" for text in _volume_problems(store, name, candidates))
        except (errors.PilotError, OSError) as error:
            yield f"{name}: {error!r}"


def _volume_problems(store: stores.Volumes, name: str, candidates: list[Volume]) -> Iterator[str]:
    path = store.shelf.disk_of(VolumeId(name))
    directory, lineage = store.shelf.path(path), store.shelf.lineage(store.shelf.facts(path))
    with contextlib.closing(disks.Disk(directory, lineage)) as disk:
        found = _content(disk.read)
        saved = {str(row.id): _content(disk.reader(row.id)) for row in disk.checkpoints()}
        if not any(volume.fits(found) for volume in candidates):
            yield f"holds {_differences(found, candidates[0])}"
        if not any(saved.keys() == volume.checkpoints.keys() for volume in candidates):
            yield f"has checkpoints {sorted(saved)}, not {[sorted(volume.checkpoints) for volume in candidates]}"
        for checkpoint, content in saved.items():
            expected = [volume.checkpoints[checkpoint] for volume in candidates if checkpoint in volume.checkpoints]
            if not any(content == _without_zeros(one) for one in expected):
                yield f"checkpoint {checkpoint} holds something else"
        disk.write(0, memoryview(_cell(1 << 40)))  # it goes on
        disk.flush()
        if _content(disk.read) != {**found, 0: 1 << 40}:
            yield "does not hold what is written after the loss"
    yield from (str(row) for row in check.check(directory, lineage))


def _content(read: Callable[[int, memoryview], None]) -> Content:
    found: Content = {}
    for first in sorted({*CHUNKS, *(chunk + n for chunk in CHUNKS for n in (1, 2) if chunk + n < 1024)}):
        into = memoryview(bytearray(layout.CHUNK_BYTES))
        read(first * layout.CHUNK_BYTES, into)
        for n in range(PER_CHUNK):
            data = bytes(into[n * CELL : (n + 1) * CELL])
            value = int.from_bytes(data[:8], "little")
            found[first * PER_CHUNK + n] = value if data == _cell(value) else -1
    return _without_zeros(found)


def _without_zeros(content: Content) -> Content:
    return {cell: value for cell, value in content.items() if value}


def _differences(found: Content, volume: Volume) -> str:
    wrong = [
        f"cell {cell}: {found.get(cell, 0)} (stable {volume.stable.get(cell, 0)}, now {volume.content.get(cell, 0)})"
        for cell in sorted(found.keys() | volume.content.keys())
        if found.get(cell, 0) not in {volume.stable.get(cell, 0), volume.content.get(cell, 0)}
    ]
    return f"{len(wrong)} cells: {'; '.join(wrong[:5])}"


def lose_power(directory: Path, seed: int, steps: int, losses: int) -> list[str]:
    """One history and as many losses; what was wrong after them."""
    chance = random.Random(seed)
    with recorder.recorded(directory, HOST_BYTES) as record:
        history = History(record, seed)
        history.run(steps)
        records = record.records()
    first = next(n for n, (position, _) in enumerate(records) if position >= history.steps[0].ended)
    found = []
    for _ in range(losses):
        count = _when(chance, first + 1, records, history.steps)
        position = records[count - 1][0]
        number = max(n for n, step in enumerate(history.steps) if step.ended <= position)
        coming = history.steps[number + 1] if number + 1 < len(history.steps) else None
        image = record.after_power_loss(records, count, chance)
        with recorder.mounted_image(image, directory / "crashed") as place:
            told = [*problems(place, history.steps[number], coming)]
        found += [
            f"seed {seed}, record {count} of {len(records)}, in {coming and coming.name}: {text}" for text in told
        ]
    return found


def _when(chance: random.Random, first: int, records: list[tuple[int, recorder.Record]], steps: list[Step]) -> int:
    """How many records there were: anywhere, or right after something was acknowledged that must last."""
    if chance.random() < 0.5:
        return chance.randrange(first, len(records) + 1)
    ended = chance.choice([step for step in steps if step.name not in ("_write", "_trim")]).ended
    return sum(position <= ended for position, _ in records)


def main() -> None:
    parser = argparse.ArgumentParser(description="power losses, replayed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--losses", type=int, default=40)
    options = parser.parse_args()
    found: list[str] = []
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(prefix="powerlab-") as directory:
            told = lose_power(Path(directory), seed, options.steps, options.losses)
        for text in told:
            print(text, flush=True)
        found += told
    print(f"{options.seeds} histories, {options.seeds * options.losses} losses: {len(found)} problems")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
