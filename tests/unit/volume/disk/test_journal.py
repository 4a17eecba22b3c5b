"""The journal of map changes: what is replayed of whole, torn, damaged and old blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.books import delta, ledger
from pilot.volume.books.delta import Change
from pilot.volume.disk import debt, disk, journal, meta
from pilot.volume.facts import Facts

ERA = 3
PER_BLOCK = 169
FIELDS = [0, 8, 16, 24, 32, 36, 40, 48, 63]  # magic, era, begun, position, count, crc, a record


def _records(*changes: Change) -> bytes:
    fd = delta.create()
    log = delta.DeltaLog(fd)
    os.close(fd)
    for change in changes:
        log.append(change)
    return log.records(0)


def _changes(first: int, count: int) -> list[Change]:
    return [Change(n, 1, layout.place(0, n + 1)) for n in range(first, first + count)]


def _blocks(era: int, first: int, count: int) -> bytes:
    return journal.encode(era, first, _records(*_changes(first, count)))


def test_what_was_written_is_replayed_in_order() -> None:
    blob = _blocks(ERA, 5, 2) + _blocks(ERA, 0, 5)
    assert journal.decode(blob, ERA, 0) == (_changes(0, 7), 7)


def test_many_records_take_many_blocks() -> None:
    blob = _blocks(ERA, 10, 2 * PER_BLOCK + 1)
    assert len(blob) == 3 * 4096
    assert journal.decode(blob, ERA, 10) == (_changes(10, 2 * PER_BLOCK + 1), 10 + 2 * PER_BLOCK + 1)


def test_what_the_map_has_is_void() -> None:
    blob = _blocks(ERA, 0, 5) + _blocks(ERA, 5, 2)
    assert journal.decode(blob, ERA, 5) == (_changes(5, 2), 7)
    assert journal.decode(blob, ERA, 7) == ([], 7)


def test_what_follows_a_gap_of_its_own_flush_never_was() -> None:
    blob = _blocks(ERA, 5, 3 * PER_BLOCK)
    torn = _blocks(ERA, 0, 5) + blob[:4096] + bytes(4096) + blob[2 * 4096 :]
    assert journal.decode(torn, ERA, 0) == (_changes(0, 5 + PER_BLOCK), 5 + PER_BLOCK)
    assert journal.decode(_blocks(ERA, 0, 5) + blob[4096:], ERA, 0) == (_changes(0, 5), 5)


@pytest.mark.parametrize("at", FIELDS)
def test_damage_to_a_flush_that_was_followed_by_another_is_an_error(at: int) -> None:
    blob = bytearray(_blocks(ERA, 0, 1) + _blocks(ERA, 1, 1) + _blocks(ERA, 2, 1))
    blob[4096 + at] ^= 1
    with pytest.raises(errors.HostError, match="record 1 is missing, and later ones are there"):
        journal.decode(bytes(blob), ERA, 0)
    assert journal.decode(bytes(blob), ERA, 2) == (_changes(2, 1), 3)  # the map has it


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    log = journal.Journal(str(tmp_path))
    log.create()
    for position in range(3):
        log.append(ERA, position, _records(Change(position, 1, 0)))
    with open(tmp_path / "journal", "r+b") as file:
        file.write(bytes(4096))
    with pytest.raises(errors.HostError, match=f"open disk: {tmp_path}/journal: record 0 is missing"):
        log.replay(ERA, 0)
    log.close()


@pytest.mark.parametrize("at", FIELDS)
def test_a_damaged_last_block_ends_it(at: int) -> None:
    blob = bytearray(_blocks(ERA, 0, 1) + _blocks(ERA, 1, 1))
    blob[4096 + at] ^= 1
    assert journal.decode(bytes(blob), ERA, 0) == (_changes(0, 1), 1)


def test_a_torn_block_ends_it() -> None:
    blob = _blocks(ERA, 0, 1) + _blocks(ERA, 1, PER_BLOCK)
    torn = blob[: 4096 + 512] + bytes(4096 - 512)
    assert journal.decode(torn, ERA, 0) == (_changes(0, 1), 1)


def test_another_era_and_zeros_are_nothing() -> None:
    assert journal.decode(_blocks(ERA - 1, 0, 5) + bytes(2 * 4096), ERA, 0) == ([], 0)


def test_a_journal_has_room_until_it_is_full(tmp_path: Path) -> None:
    log = journal.Journal(str(tmp_path))
    assert not log.has_room(1)
    log.create()
    position = 0
    while log.has_room(1):
        log.append(ERA, position, _records(Change(position, 1, 0)))
        position += 1
    assert position == journal.BLOCKS
    log.close()
    again = journal.Journal(str(tmp_path))
    assert again.replay(ERA, 0)[1] == position
    assert not again.has_room(1)  # before the map is stored
    again.restart()
    assert again.has_room(16 * PER_BLOCK)
    assert not again.has_room(16 * PER_BLOCK + 1)
    again.close()


def _noted(directory: Path) -> int:
    """Up to which record the stored map has everything."""
    with contextlib.closing(meta.Meta(str(directory), read_only=True)) as books:
        return books.facts().local.noted


def test_flushes_commit_the_map_when_there_is_a_reason(tmp_path: Path) -> None:
    """…and what they do not commit is there when the disk is opened again."""
    disk.create(str(tmp_path), Facts.parse({"size": str(64 << 20), "lineage": "[]"}))
    opened = disk.Disk(str(tmp_path), [])
    commits = []
    for number in range(2 * journal.BLOCKS):
        opened.write(2 * number * layout.CHUNK_BYTES, memoryview(bytes([number + 1]) * 4096))
        opened.flush()
        commits.append(_noted(tmp_path))
    assert len(set(commits)) == 2  # the first, which makes the journal, and the one that empties it
    assert commits[-1] != 2 * journal.BLOCKS
    opened.opened.close()  # as if killed
    again = disk.Disk(str(tmp_path), [])
    found = memoryview(bytearray(4096))
    for number in range(2 * journal.BLOCKS):
        again.read(2 * number * layout.CHUNK_BYTES, found)
        assert found == bytes([number + 1]) * 4096
    again.close()
    assert _noted(tmp_path) == 2 * journal.BLOCKS


def test_without_a_journal_every_flush_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(log: journal.Journal) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal.Journal, "create", no_room)
    disk.create(str(tmp_path), Facts.parse({"size": str(64 << 20), "lineage": "[]"}))
    opened = disk.Disk(str(tmp_path), [])
    for number in range(3):
        opened.write(2 * number * layout.CHUNK_BYTES, memoryview(b"a" * 4096))
        opened.flush()
        assert _noted(tmp_path) == number + 1
    opened.close()


def test_a_restore_voids_the_journal(tmp_path: Path) -> None:
    disk.create(str(tmp_path), Facts.parse({"size": str(64 << 20), "lineage": "[]"}))
    opened = disk.Disk(str(tmp_path), [])
    opened.write(0, memoryview(b"a" * 4096))
    opened.flush()
    cut = opened.roots.cut(CheckpointId("one"))
    cut.publish(created_at=0, comment=None, frozen_ms=0, clean=True)
    opened.write(0, memoryview(b"b" * 4096))
    opened.flush()
    opened.roots.restore(CheckpointId("one"))
    opened.opened.close()
    again = disk.Disk(str(tmp_path), [])
    found = memoryview(bytearray(4096))
    again.read(0, found)
    assert found == b"a" * 4096
    again.close()


@contextlib.contextmanager
def _killed(directory: Path) -> Iterator[disk.Disk]:
    """A disk that is not closed, but killed and everything with it."""
    opened = disk.Disk(str(directory), [])
    try:
        yield opened
    finally:
        opened.opened.close()


def _create(directory: Path) -> None:
    disk.create(str(directory), Facts.parse({"size": str(64 << 20), "lineage": "[]"}))


def _put(opened: disk.Disk, chunk: int, value: bytes) -> None:
    opened.write(chunk * layout.CHUNK_BYTES, memoryview(value * 4096))


def _get(opened: disk.Disk, chunk: int) -> bytes:
    found = memoryview(bytearray(4096))
    opened.read(chunk * layout.CHUNK_BYTES, found)
    (value,) = {bytes([byte]) for byte in found}
    return value


def test_a_flush_after_a_commit_that_failed_and_yet_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An fsync that fails tells nothing about what is on disk."""
    _create(tmp_path)
    with _killed(tmp_path) as opened:
        _put(opened, 0, b"a")
        opened.flush()
        _put(opened, 10, b"b")
        store = meta.Meta.commit

        def fail(books: meta.Meta, commit: ledger.Commit) -> None:
            store(books, commit)
            raise OSError(errno.EIO, "fsync")

        with monkeypatch.context() as patch:
            patch.setattr(meta.Meta, "commit", fail)
            with pytest.raises(OSError, match="fsync"):
                opened.commit()
        _put(opened, 20, b"c")
        opened.flush()
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in (0, 10, 20)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_without_room_for_the_journal_the_map_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A filesystem that copies on write may have no room for what is written again."""

    def full(log: journal.Journal, era: int, position: int, records: bytes) -> None:
        raise OSError(code, os.strerror(code))

    _create(tmp_path)
    with _killed(tmp_path) as opened:
        _put(opened, 0, b"a")
        opened.flush()
        monkeypatch.setattr(journal.Journal, "append", full)
        _put(opened, 10, b"b")
        opened.flush()
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in (0, 10)] == [b"a", b"b"]


def test_an_append_that_failed_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _create(tmp_path)
    with _killed(tmp_path) as opened:
        _put(opened, 0, b"a")
        opened.flush()
        append = journal.Journal.append

        def fail(log: journal.Journal, era: int, position: int, records: bytes) -> None:
            append(log, era, position, records)
            raise OSError(errno.EIO, "the disk")

        for chunk, value in ((10, b"b"), (12, b"c")):
            _put(opened, chunk, value)
            with monkeypatch.context() as patch:
                patch.setattr(journal.Journal, "append", fail)
                with pytest.raises(OSError, match="the disk"):
                    opened.flush()
        opened.flush()
        _put(opened, 14, b"d")
        opened.flush()
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in (0, 10, 12, 14)] == [b"a", b"b", b"c", b"d"]


def test_a_write_beside_a_restore_waits_until_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be noted for neither of the two heads."""
    _create(tmp_path)
    with _killed(tmp_path) as opened:
        opened.roots.cut(CheckpointId("one")).publish(created_at=0, comment=None, frozen_ms=0, clean=True)
        _put(opened, 0, b"a")
        opened.flush()
        writer = threading.Thread(target=_put, args=(opened, 10, b"b"))
        store = meta.Meta.commit

        def meanwhile(books: meta.Meta, commit: ledger.Commit) -> None:
            if "era" in commit.facts:
                writer.start()
                writer.join(0.2)
                assert writer.is_alive()
            store(books, commit)

        monkeypatch.setattr(meta.Meta, "commit", meanwhile)
        opened.roots.restore(CheckpointId("one"))
        writer.join(10)
        opened.flush()
        assert _get(opened, 10) == b"b"
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in (0, 10)] == [b"\0", b"b"]


def test_a_restore_that_cannot_be_stored_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(books: meta.Meta, commit: ledger.Commit) -> None:
        raise OSError(errno.ENOSPC, "full")

    _create(tmp_path)
    with _killed(tmp_path) as opened:
        _put(opened, 0, b"a")
        opened.roots.cut(CheckpointId("one")).publish(created_at=0, comment=None, frozen_ms=0, clean=True)
        for chunk in range(4):
            _put(opened, chunk, b"b")
        opened.flush()
        with monkeypatch.context() as patch:
            patch.setattr(meta.Meta, "commit", fail)
            with pytest.raises(OSError, match="full"):
                opened.roots.restore(CheckpointId("one"))
        assert [_get(opened, chunk) for chunk in range(3)] == [b"b"] * 3
        _put(opened, 2, b"c")
        opened.flush()
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in range(3)] == [b"b", b"b", b"c"]
        again.roots.restore(CheckpointId("one"))
        assert [_get(again, chunk) for chunk in range(3)] == [b"a", b"\0", b"\0"]


def test_a_full_log_does_not_keep_a_commit_from_emptying_it(tmp_path: Path) -> None:
    _create(tmp_path)
    with _killed(tmp_path) as opened:
        for chunk in range(8):  # the next are reserved
            _put(opened, chunk, b"a")
        with opened.opened.lock:
            while opened.opened.delta.position - opened.opened.delta.first < delta.CAPACITY:
                opened.opened.delta.append(Change(0, 1, opened._ledger.places(0, 1)[0]))
        opened.flush()
        _put(opened, 20, b"b")
        assert _get(opened, 20) == b"b"


def test_a_log_of_before_what_the_journal_has_is_void(tmp_path: Path) -> None:
    """Somebody opened the disk without it, meanwhile."""
    _create(tmp_path)
    log = delta.create()
    first = disk.Disk(str(tmp_path), [], log)
    _put(first, 0, b"a")
    first.opened.close()
    with _killed(tmp_path) as offline:
        for value in (b"b", b"c"):
            offline.trim(0, layout.CHUNK_BYTES)
            _put(offline, 0, value)
            offline.flush()
    again = disk.Disk(str(tmp_path), [], log)
    assert _get(again, 0) == b"c"
    again.close()
    os.close(log)


def test_what_is_noted_while_a_flush_begins_has_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last block is full, and one more comes."""
    _create(tmp_path)
    chunks = [2 * n for n in range(journal.BLOCKS + PER_BLOCK)]  # no stream
    with _killed(tmp_path) as opened:
        for chunk in chunks[: journal.BLOCKS]:
            _put(opened, chunk, b"a")
            opened.flush()
        for chunk in chunks[journal.BLOCKS :]:
            _put(opened, chunk, b"b")
        check = debt.Debt.check_fence

        def meanwhile(checked: debt.Debt) -> None:
            monkeypatch.setattr(debt.Debt, "check_fence", check)
            _put(opened, 999, b"c")

        monkeypatch.setattr(debt.Debt, "check_fence", meanwhile)
        opened.flush()
    with _killed(tmp_path) as again:
        assert [_get(again, chunk) for chunk in (*chunks, 999)] == [b"a"] * journal.BLOCKS + [b"b"] * PER_BLOCK + [b"c"]
