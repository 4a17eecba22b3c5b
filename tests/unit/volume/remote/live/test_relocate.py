"""A fork on another host reads of an ancestor whose chunks have moved in the store since it came there."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.volume import layout
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts
from pilot.volume.remote.live import adopt, link
from pilot.volume.remote.log import hold
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.objects import opening
from pilot.volume.remote.tending import compaction
from tests.support.faulty_store import FaultyStore
from tests.support.logwriter import KEYS

BASE, FORK = "0123456789abcdef", "fedcba9876543210"
SIZE = 1 << 30
CHUNKS = range(1, 40)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    made = FaultyStore()
    monkeypatch.setattr(opening, "open_store", lambda url: made)
    hold.first_head(made, Head(disk=BASE, volume="base", size_bytes=SIZE))
    hold.first_head(made, Head(disk=FORK, volume="fork", size_bytes=SIZE, lineage=(BASE,)))
    return made


def _content(chunk: int) -> bytes:
    return chunk.to_bytes(4, "little") * (layout.CHUNK_BYTES // 4)


def _facts(holder: str, lineage: list[str]) -> dict[str, str]:
    facts = {"local/store": "memory://store", "local/holder": holder, "lineage": json.dumps(lineage)}
    return facts | {"local/cache_bytes": str(SIZE)}  # nothing is fetched in the background


@contextlib.contextmanager
def _linked(directory: Path, lineage: list[str]) -> Iterator[disks.Disk]:
    with contextlib.closing(disks.Disk(str(directory), lineage)) as disk:
        tied = link.Link(disk, lineage)
        tied.start(hydrate=False)
        try:
            yield disk
        finally:
            assert tied.close(30)


@pytest.fixture
def base(tmp_path: Path, objects: FaultyStore) -> Path:
    """On its host, with a pin for the fork; all of it is in the store."""
    path = tmp_path / "one" / BASE
    path.mkdir(parents=True)
    disks.create(str(path), Facts.parse({"size": str(SIZE), **_facts("one", [])}))
    with _linked(path, []) as disk:
        for chunk in CHUNKS:
            disk.write(chunk * layout.CHUNK_BYTES, memoryview(_content(chunk)))
        root = disk.roots.fork(FORK)
    (tmp_path / "root").write_bytes(root)
    return path


@pytest.fixture
def fork(tmp_path: Path, base: Path, objects: FaultyStore) -> tuple[Path, list[str]]:
    """On another host, which has nothing of the base but the map."""
    ancestor, path = tmp_path / "two" / BASE, tmp_path / "two" / FORK
    ancestor.mkdir(parents=True)
    path.mkdir()
    adopt.import_ancestor(objects, BASE, str(ancestor))
    disks.create(str(path), Facts.parse({"size": str(SIZE), **_facts("two", [BASE])}), (tmp_path / "root").read_bytes())
    return path, [str(ancestor)]


def _segments(objects: FaultyStore) -> set[str]:
    return {key for key in objects.objects if key.startswith(f"vol/{BASE}/seg/")}


def _compact(objects: FaultyStore) -> None:
    """Everything is written again, and garbage collection takes what it was."""
    before = _segments(objects)
    compaction.compact(objects, BASE, KEYS, "tool", time.time, take_over=True, share=2.0)
    assert _segments(objects) - before
    for key in before:
        objects.delete(key)


def _read(disk: disks.Disk, chunk: int) -> bytes:
    into = memoryview(bytearray(layout.CHUNK_BYTES))
    disk.read(chunk * layout.CHUNK_BYTES, into)
    return bytes(into)


def test_chunks_that_have_moved_are_found(fork: tuple[Path, list[str]], objects: FaultyStore) -> None:
    with _linked(*fork) as disk:
        assert _read(disk, 1) == _content(1)
        _compact(objects)
        asked = objects.requests
        assert [_read(disk, chunk) for chunk in CHUNKS] == [_content(chunk) for chunk in CHUNKS]
        assert objects.requests > asked
    with _linked(*fork) as disk:
        assert [_read(disk, chunk) for chunk in CHUNKS] == [_content(chunk) for chunk in CHUNKS]


def test_head_is_asked_once_and_then_the_chunk_is_lost(fork: tuple[Path, list[str]], objects: FaultyStore) -> None:
    for key in _segments(objects):
        objects.delete(key)
    heads: list[str] = []
    objects.fault = lambda operation, key: heads.append(key) if BASE in key and "HEAD" in key else None
    with _linked(*fork) as disk, pytest.raises(OSError, match=rf"chunk \d+ of vol/{BASE}/seg/\S+: .*not found"):
        _read(disk, 1)
    assert len(heads) == 1


def test_what_was_given_up_is_not_read_as_something_else(
    fork: tuple[Path, list[str]], base: Path, objects: FaultyStore
) -> None:
    """Without its pin a slot may be given out again: other bytes under the same number."""
    with contextlib.closing(disks.Disk(str(base), [])) as disk:
        tied = link.Link(disk, [])
        tied.start(hydrate=False)
        disk.roots.unfork(FORK)
        for chunk in CHUNKS:
            disk.write(chunk * layout.CHUNK_BYTES, memoryview(_content(1000 + chunk)))
        assert tied.close(30)
    _compact(objects)
    with _linked(*fork) as disk, pytest.raises(OSError, match="forked from was given up"):
        _read(disk, 2)
