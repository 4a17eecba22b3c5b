"""What a disk takes of its host goes back once nothing names it, whenever it was written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts

CHUNK, SIZE = layout.CHUNK_BYTES, 128 << 20
COUNT = 20


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Of a disk that begins with so many chunks."""
    directory = tmp_path / "disks" / "0123456789abcdef"
    directory.mkdir(parents=True)
    disks.create(str(directory), Facts(format=layout.FORMAT, size_bytes=SIZE))
    with _opened(str(directory)) as disk:
        disk.write(0, memoryview(b"x" * (COUNT * CHUNK)))
    return str(directory)


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[disks.Disk]:
    with contextlib.closing(disks.Disk(directory, [])) as disk:
        yield disk


def _taken(disk: disks.Disk) -> int:
    """In whole chunks: the slab's header is less than one."""
    disk.commit()
    return disk.usage()["allocated_bytes"] // CHUNK


def test_what_was_there_when_the_disk_was_opened(place: str) -> None:
    with _opened(place) as disk:
        disk.write(0, memoryview(b"y" * (COUNT * CHUNK)))
        assert _taken(disk) == COUNT
    with _opened(place) as disk:
        disk.trim(0, SIZE)
        assert _taken(disk) == 0


def test_what_a_checkpoint_shared_that_is_gone(place: str) -> None:
    saved, half = CheckpointId("saved"), COUNT // 2 * CHUNK
    with _opened(place) as disk:
        disk.roots.cut(saved).publish(created_at=0.0, comment=None, frozen_ms=0.0, clean=True)
        disk.trim(0, half)
        assert _taken(disk) == COUNT, "the checkpoint has them"
        disk.roots.delete_checkpoint(saved)
        assert _taken(disk) == COUNT // 2
        disk.trim(half, SIZE)
        assert _taken(disk) == 0
