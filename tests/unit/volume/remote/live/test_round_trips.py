"""How many round trips lie between a volume and the host that wants it, and that none of those saved was needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from pilot.volume import layout, names
from pilot.volume.books import map as maps
from pilot.volume.books.batch import Batch
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts
from pilot.volume.remote.live import adopt, link
from pilot.volume.remote.log import codec, hold, recovery, sending
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.objects import opening
from tests.support.faulty_store import FaultyStore
from tests.support.rounds import Rounds
from tests.support.store import wait_for

DISK = "0123456789abcdef"
SIZE = 1 << 30
PACKER = codec.Codec()
PROBES, TAIL = ["get seg"] * 8, ["get seg"] * 2


class Content:
    """What batches read."""

    def read_slot(self, slot: int) -> memoryview:
        return memoryview(bytes([slot]) * layout.CHUNK_BYTES)


def _batch(slot: int, *, whole: bool = False) -> Batch:
    facts = Facts.parse({"size": str(SIZE), "number": str(slot), "format": str(layout.FORMAT)})
    empty: dict[int, bytes] | None = {} if whole else None
    return Batch((slot,), {}, {"head": maps.empty_root(SIZE)}, facts, 0, 0.0, empty, {} if whole else None)


@pytest.fixture
def sender() -> sending.Sender:
    objects = Rounds(FaultyStore())
    hold.first_head(objects, Head(disk=DISK, volume="a", size_bytes=SIZE))
    return sending.Sender(hold.Hold.resume(objects, DISK, "one", 0), PACKER)


def _objects(sender: sending.Sender) -> Rounds:
    assert isinstance(sender.hold.objects, Rounds)
    return sender.hold.objects


@pytest.mark.parametrize(
    ("pages", "root", "told"),
    [({1: bytes(8184)}, maps.empty_root(SIZE), "page 1"), ({0: bytes(8192)}, maps.empty_root(SIZE), "page 0"),
     ({}, bytes(9), "root head"), ({}, maps.empty_root(SIZE) + bytes(8), "root head")],
)  # fmt: skip
def test_a_map_that_is_not_whole_is_not_adopted(
    sender: sending.Sender, tmp_path: Path, pages: dict[int, bytes], root: bytes, told: str
) -> None:
    batch = structs.replace(_batch(1), pages=pages, roots={"head": root})
    sender.send(batch, Content())
    with pytest.raises(codec.Damaged, match=told):
        adopt.take_over(_objects(sender), DISK, str(tmp_path), "two")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1 << 62, 0, -4096])
def test_a_disk_of_no_size_is_not_adopted(tmp_path: Path, size: int) -> None:
    objects = Rounds(FaultyStore())
    hold.first_head(objects, Head(disk=DISK, volume="a", size_bytes=size))
    with pytest.raises(codec.Damaged, match="not a disk's"):
        adopt.take_over(objects, DISK, str(tmp_path), "two")


def test_a_volume_is_adopted_in_four_round_trips(sender: sending.Sender, tmp_path: Path) -> None:
    objects = _objects(sender)
    sender.send(_batch(1, whole=True), Content())
    with objects.run(lambda: adopt.take_over(objects, DISK, str(tmp_path), "two")) as done:
        objects.trip("get HEAD")
        objects.trip("swap HEAD", "get map", *PROBES)
        objects.trip(*TAIL)
        objects.trip("swap HEAD")
        assert done.result().epoch == sender.hold.head.epoch + 1


def test_what_is_confirmed_while_a_claimant_looks_is_in_what_it_finds(sender: sending.Sender) -> None:
    """The log's end that was seen before the claim is no end: the holder was still allowed to store."""
    objects = _objects(sender)
    sender.send(_batch(1), Content())
    head, version = hold.read_head(objects, DISK)
    books = recovery.Books()
    with recovery.Ahead(objects, head, PACKER) as ahead:
        for question in ahead.log:
            question.result()
        sender.send(_batch(2), Content())  # and told to be durable
        held = hold.Hold.take(objects, DISK, "two", (head, version))
        end = recovery.recover(objects, held.head, PACKER, books, ahead)
    assert (end.seq, set(books.places), books.rows["number"]) == (2, {1, 2}, "2")
    with pytest.raises(hold.Fenced):
        sender.send(_batch(3), Content())


def test_what_was_asked_of_an_older_head_is_not_used(sender: sending.Sender) -> None:
    """The holder stores a snapshot, and HEAD names it, between the claimant's look and its claim."""
    objects = _objects(sender)
    sender.send(_batch(1), Content())
    found = hold.read_head(objects, DISK)
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], PACKER) as ahead:
        sender.send(_batch(2, whole=True), Content())
        objects.inner.delete(names.segment(DISK, names.Stamp(sender.hold.head.epoch, 1)))  # no longer needed
        held = hold.Hold.take(objects, DISK, "two", found)
        end = recovery.recover(objects, held.head, PACKER, books, ahead)
    assert (end.seq, books.rows["number"]) == (2, "2")


def test_a_long_log_is_read_to_its_end(sender: sending.Sender) -> None:
    objects = _objects(sender)
    for slot in range(1, 31):
        sender.send(_batch(slot), Content())
    found = hold.read_head(objects, DISK)
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], PACKER) as ahead:
        held = hold.Hold.take(objects, DISK, "two", found)
        assert recovery.recover(objects, held.head, PACKER, books, ahead).seq == 30
    assert set(books.places) == set(range(1, 31))


def test_an_early_question_that_fails_is_asked_again(sender: sending.Sender) -> None:
    objects = _objects(sender)
    for slot in range(1, 4):
        sender.send(_batch(slot), Content())
    store = objects.inner
    assert isinstance(store, FaultyStore)
    found = hold.read_head(objects, DISK)
    store.fault = lambda operation, key: "lost" if "/seg/" in key else None
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], PACKER) as ahead:
        for question in ahead.log:
            question.result()
        store.fault = lambda operation, key: None
        held = hold.Hold.take(objects, DISK, "two", found)
        assert recovery.recover(objects, held.head, PACKER, books, ahead).seq == 3


# ---- what an attach reads


@contextlib.contextmanager
def _attached(directory: Path) -> Iterator[disks.Disk]:
    with contextlib.closing(disks.Disk(str(directory), [])) as disk:
        tied = link.Link(disk, [])
        tied.start(hydrate=True)
        try:
            yield disk
        finally:
            assert tied.close(30)


def _content(chunk: int) -> memoryview:
    return memoryview(chunk.to_bytes(4, "little") * (layout.CHUNK_BYTES // 4))


def _read(disk: disks.Disk, chunk: int) -> bytes:
    into = memoryview(bytearray(4096))
    disk.read(chunk * layout.CHUNK_BYTES, into)
    return bytes(into)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    made = Rounds(FaultyStore())
    monkeypatch.setattr(opening, "open_store", lambda url: made)
    hold.first_head(made, Head(disk=DISK, volume="a", size_bytes=SIZE))
    return made


@pytest.fixture
def here(tmp_path: Path, objects: Rounds) -> Path:
    """A volume whose first reads were those of the chunks 5, 150 and 90."""
    path = tmp_path / "here" / DISK
    path.mkdir(parents=True)
    facts = {"local/store": objects.url, "local/holder": "one", "lineage": "[]", "local/cache_bytes": str(SIZE)}
    disks.create(str(path), Facts.parse({"size": str(SIZE), **facts}))
    with _attached(path) as disk:
        for chunk in range(1, 201):  # chunk 0 would be zeros: a hole
            disk.write(chunk * layout.CHUNK_BYTES, _content(chunk))
    with _attached(path) as disk:
        for chunk in (5, 150, 90, 5):
            assert _read(disk, chunk) == _content(chunk)[:4096]
    with contextlib.closing(disks.Disk(str(path), [])) as disk:
        assert disk.facts().boot == (5, 150, 90)
    return path


def _adopt(objects: Rounds, there: Path, chunks: int) -> Path:
    """On another host, where no more than these many chunks are fetched before somebody asks."""
    there.mkdir(parents=True)
    adopt.take_over(objects, DISK, str(there), "two")
    with contextlib.closing(disks.Disk(str(there), [])) as disk:
        disk.change_facts(lambda known: known.replace_local(cache_bytes=chunks * layout.CHUNK_BYTES))
    return there


@pytest.mark.usefixtures("here")
def test_what_an_attach_reads_comes_in_one_round_trip(tmp_path: Path, objects: Rounds) -> None:
    there = _adopt(objects, tmp_path / "there" / DISK, 3)
    with contextlib.closing(disks.Disk(str(there), [])) as disk:
        tied = link.Link(disk, [])
        try:
            with objects.run(lambda: tied.start(hydrate=True)):
                objects.trip("get HEAD", "get seg", "get seg", "get seg")
                wait_for(lambda: disk.usage()["cold_bytes"] == 197 * layout.CHUNK_BYTES)
        finally:
            tied.close(30)
        assert [_read(disk, chunk) for chunk in (5, 150, 90)] == [_content(n)[:4096] for n in (5, 150, 90)]
        assert disk.usage()["cold_bytes"] == 197 * layout.CHUNK_BYTES


@pytest.mark.usefixtures("here")
def test_a_list_that_is_wrong_costs_nothing_but_requests(tmp_path: Path, objects: Rounds) -> None:
    there = _adopt(objects, tmp_path / "there" / DISK, 2)
    with contextlib.closing(disks.Disk(str(there), [])) as disk:
        disk.change_facts(lambda known: known.with_rows({"boot": "7 99999999999999 -3 x 0x5 199"}))
    with _attached(there) as disk:
        wait_for(lambda: disk.usage()["cold_bytes"] == 198 * layout.CHUNK_BYTES)
        assert _read(disk, 8) == _content(8)[:4096]


@pytest.mark.usefixtures("here")
def test_a_list_whose_chunks_are_not_to_be_had_fails_nothing(tmp_path: Path, objects: Rounds) -> None:
    there = _adopt(objects, tmp_path / "there" / DISK, 3)
    store = objects.inner
    assert isinstance(store, FaultyStore)
    kept = dict(store.objects)
    for key in kept:
        if "/seg/" in key:
            del store.objects[key]
    with _attached(there) as disk:
        with pytest.raises(OSError, match=r"chunk \d+ of vol/0123456789abcdef/seg/"):
            _read(disk, 5)
        store.objects.update({key: data for key, data in kept.items() if key not in store.objects})
        assert _read(disk, 5) == _content(5)[:4096]
