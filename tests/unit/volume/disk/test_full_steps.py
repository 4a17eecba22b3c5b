"""No room at any one step of what a disk does: it is done or it is not, and can be done once there is room."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from msgspec import structs

from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.disk import journal as journals
from pilot.volume.disk import meta, slab
from pilot.volume.facts import Facts
from pilot.volume.operator import check

CHUNK = layout.CHUNK_BYTES
SIZE = 128 << 20
SAVED, NEXT = CheckpointId("saved"), CheckpointId("next")
CHUNKS = 12

# What takes room, or may: each call of these is a step that may be refused.
STEPS = [
    (slab.Slab, "sync"), (slab.Slab, "punch"), (meta.Meta, "commit"), (journals.Journal, "append"),
    (journals.Journal, "create"),
]  # fmt: skip


class Full:
    """The filesystem, full at the `at`-th step only (or never)."""

    def __init__(self) -> None:
        self.at = 0
        self.reached = 0

    def step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any) -> Any:
            self.reached += 1
            if self.reached == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments)

        return act


@pytest.fixture
def full() -> Iterator[Full]:
    made = Full()
    with contextlib.ExitStack() as stack:
        for owner, name in STEPS:
            stack.enter_context(mock.patch.object(owner, name, made.step(getattr(owner, name))))
        yield made


def _checkpoint(disk: disks.Disk) -> None:
    disk.roots.cut(NEXT).publish(created_at=1.0, comment=None, frozen_ms=0.0, clean=True)


def _fork(disk: disks.Disk) -> None:
    disk.roots.fork("f" * 16)


OPERATIONS: dict[str, Callable[[disks.Disk], None]] = {
    "flush": disks.Disk.flush,
    "commit": disks.Disk.commit,
    "checkpoint": _checkpoint,
    "delete": lambda disk: disk.roots.delete_checkpoint(SAVED),
    "restore": lambda disk: disk.roots.restore(SAVED),
    "fork": _fork,
    "resize": lambda disk: disk.resize(2 * SIZE),
    "facts": lambda disk: disk.change_facts(lambda known: structs.replace(known, vm=True)),
}


def _data(value: int) -> memoryview:
    return memoryview(bytes([value]) * CHUNK)


def _fill(disk: disks.Disk, value: int) -> None:
    for chunk in range(CHUNKS):
        disk.write(chunk * CHUNK, _data(value))


def _content(read: Callable[[int, memoryview], None]) -> list[int]:
    """The value of each chunk; -1 when it is mixed."""
    into, found = memoryview(bytearray(CHUNK)), []
    for chunk in range(CHUNKS):
        read(chunk * CHUNK, into)
        found.append(into[0] if into == _data(into[0]) else -1)
    return found


def _state(disk: disks.Disk) -> tuple[object, ...]:
    """What can be seen of it."""
    saved = {str(row.id): _content(disk.reader(row.id)) for row in disk.checkpoints()}
    return _content(disk.read), saved, disk.roots.forks(), disk.size_bytes, disk.facts().vm


@contextlib.contextmanager
def _prepared(directory: Path, *, synced: bool) -> Iterator[disks.Disk]:
    """A disk with a checkpoint of 1s, in which 2s, and then 3s, were written."""
    directory.mkdir()
    disks.create(str(directory), Facts.parse({"size": str(SIZE), "lineage": "[]"}))
    with contextlib.closing(disks.Disk(str(directory), [])) as disk:
        _fill(disk, 1)
        disk.roots.cut(SAVED).publish(created_at=1.0, comment=None, frozen_ms=0.0, clean=True)
        _fill(disk, 2)
        disk.flush()
        with disk.opened.lock:
            disk._ledger.cut()  # as for a batch: the 3s take new slots, and retire those of the 2s
        _fill(disk, 3)
        if synced:
            disk.flush()
        yield disk


def _is_done(act: Callable[[disks.Disk], None], disk: disks.Disk) -> bool:
    """Whether there was room for it."""
    try:
        act(disk)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_step_without_room(tmp_path: Path, full: Full, operation: str) -> None:
    synced = operation == "restore"  # else it is refused anyway
    act = OPERATIONS[operation]
    with _prepared(tmp_path / "whole", synced=synced) as disk:
        before = _state(disk)
        full.reached = 0
        act(disk)
        steps, after = full.reached, _state(disk)
    assert steps > 0
    for at in range(1, steps + 1):
        directory = tmp_path / str(at)
        with _prepared(directory, synced=synced) as disk:
            full.at, full.reached = at, 0
            done = _is_done(act, disk)
            full.at = 0
            found = _state(disk)
            assert found in ((after,) if done else (before, after)), f"step {at} of {steps}"
            if found == before != after:
                act(disk)
            assert _state(disk) == after, f"again after step {at} of {steps}"
            _fill(disk, 4)
            disk.flush()
            expected = _state(disk)
            used = disk.usage()["used_bytes"]
        with contextlib.closing(disks.Disk(str(directory), [])) as disk:
            assert _state(disk) == expected
            assert disk.usage()["used_bytes"] <= used
        assert check.check(str(directory), []) == []


def test_what_could_not_be_freed_is_freed_later(tmp_path: Path, full: Full) -> None:
    with _prepared(tmp_path / "disk", synced=False) as disk, mock.patch.object(slab.Slab, "punch") as punch:
        punch.side_effect = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        disk.commit()
        assert disk.usage()["used_bytes"] >= 3 * CHUNKS * CHUNK  # and what was reserved
        punch.side_effect = None
        disk.commit()
        assert disk.usage()["used_bytes"] == 2 * CHUNKS * CHUNK
