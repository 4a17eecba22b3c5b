"""How many round trips lie between a volume and the host that wants it, and that none of those saved was needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.volume import layout
from pilot.volume import map as maps
from pilot.volume.remote import adopt, batch, codec, hold, names, recovery
from pilot.volume.remote.head import Head
from tests.support.faulty_store import FaultyStore
from tests.support.rounds import Rounds

DISK = "0123456789abcdef"
SIZE = 1 << 30
PACKER = codec.Codec()
PROBES, TAIL = ["get seg"] * 8, ["get seg"] * 2


class Content:
    """What batches read."""

    def read_slot(self, slot: int) -> memoryview:
        return memoryview(bytes([slot]) * layout.CHUNK_BYTES)


def _batch(slot: int, *, whole: bool = False) -> batch.Batch:
    facts = {"size": str(SIZE), "number": str(slot), "format": str(layout.FORMAT)}
    empty: dict[int, bytes] | None = {} if whole else None
    return batch.Batch((slot,), {}, {"head": maps.empty_root(SIZE)}, facts, 0, 0.0, empty, {} if whole else None)


@pytest.fixture
def sender() -> batch.Sender:
    objects = Rounds(FaultyStore())
    hold.first_head(objects, Head(disk=DISK, volume="a", size_bytes=SIZE))
    return batch.Sender(hold.Hold.resume(objects, DISK, "one", 0), PACKER)


def _objects(sender: batch.Sender) -> Rounds:
    assert isinstance(sender.hold.objects, Rounds)
    return sender.hold.objects


def test_a_volume_is_adopted_in_four_round_trips(sender: batch.Sender, tmp_path: Path) -> None:
    objects = _objects(sender)
    sender.send(_batch(1, whole=True), Content())
    with objects.run(lambda: adopt.take_over(objects, DISK, str(tmp_path), "two")) as done:
        objects.trip("get HEAD")
        objects.trip("swap HEAD", "get map", *PROBES)
        objects.trip(*TAIL)
        objects.trip("swap HEAD")
        assert done.result().epoch == sender.hold.head.epoch + 1


def test_what_is_confirmed_while_a_claimant_looks_is_in_what_it_finds(sender: batch.Sender) -> None:
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
    assert (end.seq, set(books.places), books.facts["number"]) == (2, {1, 2}, "2")
    with pytest.raises(hold.Fenced):
        sender.send(_batch(3), Content())


def test_what_was_asked_of_an_older_head_is_not_used(sender: batch.Sender) -> None:
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
    assert (end.seq, books.facts["number"]) == (2, "2")


def test_a_long_log_is_read_to_its_end(sender: batch.Sender) -> None:
    objects = _objects(sender)
    for slot in range(1, 31):
        sender.send(_batch(slot), Content())
    found = hold.read_head(objects, DISK)
    books = recovery.Books()
    with recovery.Ahead(objects, found[0], PACKER) as ahead:
        held = hold.Hold.take(objects, DISK, "two", found)
        assert recovery.recover(objects, held.head, PACKER, books, ahead).seq == 30
    assert set(books.places) == set(range(1, 31))


def test_an_early_question_that_fails_is_asked_again(sender: batch.Sender) -> None:
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
