"""The durable formats: what is written is read again, and what was damaged is never read as something else."""

from __future__ import annotations

import os
import re
import struct

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from pilot import errors
from pilot.volume import layout, names
from pilot.volume.names import Stamp
from pilot.volume.remote.log import codec, head, recovery, segment, snapshot
from tests.support.faulty_store import FaultyStore

PACKER = codec.Codec()
STAMP = Stamp(3, 17)
DELTA = segment.Delta(
    {4: bytes(8192)}, {"head": b"\1" * 8, "checkpoint/a": None}, {"size": "7", "gone": None}, full=True
)


def _chunk(number: int) -> bytes:
    return bytes([number % 256]) * 100 + os.urandom(50) + bytes(layout.CHUNK_BYTES - 150)


CHUNKS = {1: _chunk(1), 9: _chunk(2), 7: os.urandom(layout.CHUNK_BYTES)}


def _segment() -> segment.Encoded:
    stored = [(slot, PACKER.pack(data, STAMP, n)) for n, (slot, data) in enumerate(CHUNKS.items())]
    return segment.encode(STAMP, 5, stored, DELTA, PACKER)


def test_a_segment_gives_back_its_chunks_and_delta() -> None:
    encoded = _segment()
    found = segment.decode_head(encoded.data[: segment.head_bytes(encoded.data)], STAMP, len(encoded.data))
    assert (found.generation, found.is_commit, found.places) == (5, True, encoded.places)
    assert found.delta(PACKER) == DELTA
    for slot, at in found.places.items():
        assert segment.decode_chunk(encoded.data[at.offset : at.offset + at.length], at, PACKER) == CHUNKS[slot]


def test_a_batch_is_split_and_only_its_last_segment_commits() -> None:
    made = list(segment.build(Stamp(1, 5), 2, range(1, 400), lambda slot: os.urandom(65536), DELTA, PACKER))
    heads = [segment.decode_head(one.data, one.stamp, len(one.data)) for one in made]
    assert [one.stamp for one in heads] == [Stamp(1, 5 + n) for n in range(len(heads))]
    assert [one.is_commit for one in heads] == [False] * (len(heads) - 1) + [True]
    assert [slot for one in heads for slot in one.places] == list(range(1, 400))
    assert max(len(one.data) for one in made) < segment.TARGET_BYTES + 2 * layout.CHUNK_BYTES


def _read_all(data: bytes) -> None:
    for place in segment.decode_head(data, STAMP, len(data)).places.values():
        segment.decode_chunk(data[place.offset : place.offset + place.length], place, PACKER)


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=200)
def test_any_flipped_bit_of_a_segment_is_found(data: st.DataObject) -> None:
    encoded = _segment()
    at = data.draw(st.integers(0, len(encoded.data) - 1))
    bad = bytearray(encoded.data)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(codec.Damaged):
        _read_all(bytes(bad))


@hypothesis.given(st.integers(0, 1 << 30))
@hypothesis.settings(deadline=None, max_examples=50)
def test_any_shorter_segment_is_truncated(length: int) -> None:
    encoded = _segment()
    short = encoded.data[: length % len(encoded.data)]
    with pytest.raises(segment.Truncated):
        segment.decode_head(short, STAMP, len(short))


@hypothesis.given(st.binary(max_size=300))
def test_random_bytes_are_no_segment(data: bytes) -> None:
    with pytest.raises(codec.Damaged):
        segment.decode_head(segment.MAGIC + data, STAMP, len(data) + 8)


def test_a_segment_is_not_taken_for_another() -> None:
    encoded = _segment()
    with pytest.raises(codec.Damaged, match="is 00000003-000000000011"):
        segment.decode_head(encoded.data, Stamp(3, 18), len(encoded.data))


def test_what_would_unpack_to_more_than_it_may_is_refused() -> None:
    packed = PACKER.pack(bytes(1 << 20), STAMP, 0)
    with pytest.raises(codec.Damaged, match="more than"):
        PACKER.unpack(packed, STAMP, 0, layout.CHUNK_BYTES)


def test_a_snapshot_gives_back_its_image() -> None:
    places = {slot: names.Place(Stamp(1, slot), 56, slot, slot % 3, os.urandom(16)) for slot in range(1, 3000)}
    image = snapshot.Image({1: b"p" * 8192}, {"head": b"r"}, {"size": "1"}, snapshot.table(places.items()))
    data = snapshot.encode(STAMP, image, PACKER)
    found = snapshot.decode(data, STAMP, codec.digest(data), PACKER)
    assert (found.pages, found.roots, found.facts, dict(found.places)) == (
        image.pages,
        image.roots,
        image.facts,
        places,
    )
    with pytest.raises(codec.Damaged):
        snapshot.decode(data[:-1], STAMP, codec.digest(data), PACKER)
    with pytest.raises(codec.Damaged):
        snapshot.decode(data, Stamp(3, 18), codec.digest(data), PACKER)


class XorCipher:
    """Shows where the cipher's place is; not a cipher."""

    def encrypt(self, nonce: bytes, plain: bytes) -> bytes:
        return nonce + bytes(byte ^ 0x55 for byte in plain)

    def decrypt(self, nonce: bytes, stored: bytes) -> bytes:
        if stored[:12] != nonce:
            raise codec.Damaged("decrypt: another nonce")
        return bytes(byte ^ 0x55 for byte in stored[12:])


def test_every_piece_has_a_nonce_of_its_own() -> None:
    packer = codec.Codec(XorCipher())
    (made,) = segment.build(STAMP, 1, CHUNKS, CHUNKS.__getitem__, DELTA, packer)
    found = segment.decode_head(made.data, STAMP, len(made.data))
    assert segment.Flag.ENCRYPTED in found.flags
    nonces = {made.data[at.offset : at.offset + 12] for at in found.places.values()} | {found.stored_delta[:12]}
    assert nonces == {struct.pack("<III", 3, 17, n) for n in (0, 1, 2, codec.DELTA)}
    assert found.delta(packer) == DELTA
    with pytest.raises(codec.Damaged):
        found.delta(PACKER)


def _head(**changes: object) -> head.Head:
    base = head.Head(disk="0" * 16, volume="a", size_bytes=1 << 30)
    return base if not changes else msgspec.structs.replace(base, **changes)


def test_the_history_says_whose_each_segment_is() -> None:
    first = head.begin(head.claim(_head(), "one", 1.0), 1, 1.0)
    second = head.begin(head.claim(first, "two", 2.0), 8, 2.0)
    silent = head.begin(head.claim(second, "three", 3.0), 8, 3.0)  # two never wrote
    assert second.history == ((1, 1), (2, 8))
    assert silent.history == ((1, 1), (3, 8))
    assert [silent.stamp_of(seq) for seq in (0, 1, 7, 8, 99)] == [None, (1, 1), (1, 7), (3, 8), (3, 99)]
    shorter = head.with_snapshot(silent, head.SnapshotRef(3, 9, "", 0), 4.0)
    assert shorter.history == ((3, 8),)
    assert shorter.replay_from == 10


def test_a_head_survives_its_encoding_and_nonsense_does_not() -> None:
    whole = head.begin(head.claim(_head(lineage=("1" * 16,)), "one", 1.5), 1, 1.5)
    assert head.decode(head.encode(whole), "x") == whole
    with pytest.raises(codec.Damaged):
        head.decode(b"{}", "x")
    with pytest.raises(codec.Damaged):
        head.decode(head.encode(_head(disk="../../etc")), "x")
    with pytest.raises(errors.HostError):
        head.decode(head.encode(_head(format=9)), "x")


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=300)
def test_a_flipped_bit_of_a_head_is_found_or_changes_nothing(data: st.DataObject) -> None:
    ref = head.SnapshotRef(1, 9, "ab" * 16, 12345)
    whole = head.with_snapshot(head.begin(head.claim(_head(lineage=("1" * 16,)), "one", 1.5), 8, 1.5), ref, 2.5)
    bad = bytearray(head.encode(whole))
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert head.decode(bytes(bad), "x") == whole
    except errors.PilotError:
        pass  # found


def test_a_head_without_a_sum_is_read_too() -> None:
    whole = _head(lineage=("1" * 16,))
    old = re.sub(rb',\n "sum": "[0-9a-f]+"', b"", head.encode(whole))
    assert b"sum" not in old
    assert head.decode(old, "x") == whole
    with pytest.raises(codec.Damaged, match="x: does not fit its checksum"):
        head.decode(head.encode(whole).replace(b'"size_bytes": ', b'"size_bytes": 1'), "x")


def test_a_log_that_ends_before_what_head_knows_is_damaged() -> None:
    objects = FaultyStore()
    first, second = (segment.encode(Stamp(1, seq), 1, [], DELTA, PACKER) for seq in (1, 2))
    known = head.with_seq(head.begin(head.claim(_head(), "one", 1.0), 1, 1.0), 2, 1.0)
    for made in (first, second):
        objects.put(names.segment(known.disk, made.stamp), made.data)
    assert recovery.recover(objects, known, PACKER, recovery.Books()).seq == 2
    objects.delete(names.segment(known.disk, second.stamp))
    with pytest.raises(codec.Damaged, match="the log ends at 1, but HEAD knows of 2"):
        recovery.recover(objects, known, PACKER, recovery.Books())


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=200)
def test_any_flipped_bit_of_a_snapshot_is_found(data: st.DataObject) -> None:
    places = {slot: names.Place(Stamp(1, slot), 56, slot, slot % 3, bytes(16)) for slot in range(1, 300)}
    image = snapshot.Image({1: b"p" * 8192}, {"head": b"r"}, {"size": "1"}, snapshot.table(places.items()))
    stored = snapshot.encode(STAMP, image, PACKER)
    bad = bytearray(stored)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(codec.Damaged):
        snapshot.decode(bytes(bad), STAMP, codec.digest(stored), PACKER)


def test_names_sort_as_the_log_does() -> None:
    stamps = [Stamp(1, 2), Stamp(1, 300), Stamp(2, 1), Stamp(17, 0)]
    texts = [names.segment("d", stamp) for stamp in stamps]
    assert sorted(texts) == texts
    assert [names.parse(text) for text in texts] == stamps
    assert names.parse("vol/d/seg/x") is None
