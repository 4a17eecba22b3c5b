"""Scrub finds and names every damage; what it calls fine reads as it was written."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from pilot import errors
from pilot.volume import layout, names
from pilot.volume.names import Stamp
from pilot.volume.remote.log import encryption, segment
from pilot.volume.remote.log.codec import Damaged
from pilot.volume.remote.tending import catalogue, garbage, scrub
from pilot.volume.remote.tending.scrub import Finding, Kind
from tests.support.logwriter import KEYS, Content, Writer, stored_content
from tests.support.objects import MemoryStore

A, B = "a" * 16, "b" * 16
SECRET = encryption.Keyring([bytes(range(32))])


def _web(keyring: encryption.Keyring = KEYS) -> tuple[MemoryStore, dict[str, Content]]:
    """A volume with a checkpoint, a snapshot, a log after it and garbage before; and a fork of it."""
    objects = MemoryStore()
    web = Writer(objects, A, "web", (), keyring)
    web.birth()
    web.give_name()
    web.write(0, 1)
    web.write(3, 2)
    web.roots["checkpoint/v1"] = dict(web.roots["head"])
    web.batch(snap=False)
    web.write(0, 3)
    web.batch(snap=True)
    web.roots[f"fork/{B}"] = dict(web.roots["head"])
    web.write(1, 4)
    web.batch(snap=False)
    fork = Writer(objects, B, "copy", (A,), keyring)
    fork.birth()
    fork.give_name()
    fork.roots["head"] = dict(web.roots[f"fork/{B}"])
    fork.write(2, 5)
    fork.batch(snap=False)
    web.close()
    fork.close()
    return objects, {A: web.content({A: web}), B: fork.content({A: web, B: fork})}


def _scrub(objects: MemoryStore, keyring: encryption.Keyring = KEYS) -> list[Finding]:
    return list(scrub.scrub(objects, keyring).findings)


@pytest.mark.parametrize("keyring", [KEYS, SECRET], ids=["plain", "encrypted"])
def test_a_healthy_store_is_read_to_the_last_byte(keyring: encryption.Keyring) -> None:
    objects, content = _web(keyring)
    report = scrub.scrub(objects, keyring)
    assert report.findings == []
    assert report.disks == 2
    assert report.bytes == sum(
        len(data) for key, (data, _) in objects.objects.items() if "/seg/" in key or "/map/" in key
    )
    assert {disk: stored_content(objects, disk, keyring) for disk in content} == content


def _find(objects: MemoryStore, disk: str, seq: int) -> str:
    return names.segment(disk, Stamp(1, seq))


def _flip(objects: MemoryStore, key: str, at: int, bit: int = 0) -> None:
    data = bytearray(objects.objects[key][0])
    data[at] ^= 1 << bit
    objects.put(key, bytes(data))


def test_a_damaged_chunk_is_named_with_all_whom_it_hurts() -> None:
    objects, _ = _web()
    key = _find(objects, A, 1)
    place = next(iter(catalogue.load(objects, catalogue.read_head(objects, A), KEYS).books.places.items()))[1]
    slots = catalogue.load(objects, catalogue.read_head(objects, A), KEYS).books.places
    place = slots[2]  # chunk 3, written once, reached by all roots
    assert names.segment(A, place.stamp) == key
    _flip(objects, key, place.offset + 5)
    findings = _scrub(objects)
    assert [(f.kind, f.key) for f in findings if f.kind is Kind.SEGMENT] == [(Kind.SEGMENT, key)]
    assert f"chunk {place.number}" in findings[0].what
    lost = {(f.volume, f.root, f.chunk) for f in findings if f.kind is Kind.CHUNK}
    assert lost == {("web", "head", 3), ("web", "checkpoint/v1", 3), ("web", f"fork/{B}", 3), ("copy", "head", 3)}
    assert scrub.offset_of(next(f for f in findings if f.chunk is not None)) == 3 * layout.CHUNK_BYTES
    assert len(findings) == 1 + len(lost)


def test_a_segment_that_is_gone_is_named_by_what_it_held() -> None:
    objects, _ = _web()
    objects.delete(_find(objects, A, 1))
    lost = {(f.volume, f.root, f.chunk, f.what) for f in _scrub(objects)}
    assert ("web", "checkpoint/v1", 0, f"{_find(objects, A, 1)} is gone") in lost
    assert ("copy", "head", 3, f"{_find(objects, A, 1)} is gone") in lost


def test_the_end_of_a_log_does_not_vanish_unnoticed() -> None:
    """Recovery must stop at the first gap; HEAD's seq and what lies behind a gap tell that there was more."""
    objects, _ = _web()
    web = Writer(objects, "c" * 16, "log")
    web.birth()
    web.give_name()
    for value in (1, 2, 3):
        web.write(0, value)
        web.batch(snap=False)
    gap = _find(objects, web.disk, 2)
    objects.delete(gap)
    assert [(f.kind, f.key) for f in _scrub(objects)] == [(Kind.LOG, gap)]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (names.head(A), Kind.HEAD),
        (names.snapshot(A, Stamp(1, 2)), Kind.LOG),
        (names.segment(A, Stamp(1, 3)), Kind.SEGMENT),
    ],
)
def test_every_kind_of_object_that_is_nonsense(key: str, kind: Kind) -> None:
    objects, _ = _web()
    assert key in objects.objects
    objects.put(key, b"nonsense" * 20)
    assert kind in {f.kind for f in _scrub(objects)}
    assert "copy" in {f.volume for f in _scrub(objects)}  # the fork is hurt by its ancestor's damage


def test_strays_and_lost_names_are_told() -> None:
    objects, _ = _web()
    objects.put(f"vol/{A}/seg/readme", b"hello")
    objects.put("vol/elsewhere/x", b"hello")
    objects.put(names.volume("ghost"), b'{"disk": "%s"}' % (b"9" * 16))
    assert {(f.kind, f.key) for f in _scrub(objects)} == {
        (Kind.STRAY, f"vol/{A}/seg/readme"), (Kind.STRAY, "vol/elsewhere/x"), (Kind.NAME, names.volume("ghost")),
    }  # fmt: skip


def test_one_volume_is_read_with_its_ancestors() -> None:
    objects, _ = _web()
    assert scrub.scrub(objects, KEYS, ["copy"]).disks == 2
    assert scrub.scrub(objects, KEYS, ["web"]).disks == 1
    with pytest.raises(errors.NotFound, match="nobody"):
        scrub.scrub(objects, KEYS, ["nobody"])


def test_without_the_key_it_says_so_and_still_checks_hashes() -> None:
    objects, _ = _web(SECRET)
    findings = _scrub(objects)
    assert any("needs operator key" in f.what for f in findings)
    before = len(findings)
    key = _find(objects, A, 1)
    _flip(objects, key, len(objects.objects[key][0]) - 3)
    assert len(_scrub(objects)) == before + 1


def test_a_put_that_its_writer_did_not_survive_is_no_damage() -> None:
    objects, _ = _web()
    whole = objects.objects[_find(objects, A, 3)][0]
    objects.put(_find(objects, A, 4), whole[: len(whole) // 2])
    assert _scrub(objects) == []


KINDS = st.sampled_from(["flip", "truncate", "delete", "duplicate", "exchange", "append"])


@pytest.mark.parametrize("keyring", [KEYS, SECRET], ids=["plain", "encrypted"])
@hypothesis.given(data=st.data(), what=KINDS)
@hypothesis.settings(deadline=None, max_examples=200, suppress_health_check=list(hypothesis.HealthCheck))
def test_what_is_called_fine_reads_as_it_was_written(
    keyring: encryption.Keyring, data: st.DataObject, what: str
) -> None:
    objects, content = _web(keyring)
    keys = sorted(objects.objects)
    key, other = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(keys))
    stored = objects.objects[key][0]
    if what == "flip":
        _flip(objects, key, data.draw(st.integers(0, len(stored) - 1)), data.draw(st.integers(0, 7)))
    elif what == "truncate":
        objects.put(key, stored[: data.draw(st.integers(0, len(stored) - 1))])
    elif what == "append":
        objects.put(key, stored + data.draw(st.binary(min_size=1, max_size=9)))
    elif what == "delete":
        objects.delete(key)
    elif what == "duplicate":
        objects.put(other, stored)
    else:
        objects.put(key, objects.objects[other][0])
        objects.put(other, stored)
    try:
        findings = _scrub(objects, keyring)
    except Damaged:
        return  # a name that cannot be read
    if not findings:
        named = catalogue.read_names(objects)
        for volume, disk in (("web", A), ("copy", B)):
            assert named.get(volume, disk) == disk
            assert stored_content(objects, disk, keyring) == content[disk]


def test_garbage_collection_leaves_nothing_to_find() -> None:
    objects, content = _web()
    clock = [0.0]
    for _ in range(2):
        clock[0] += garbage.DEFAULT_GRACE_S
        garbage.collect(objects, KEYS, lambda: clock[0], garbage.DEFAULT_GRACE_S)
    assert _scrub(objects) == []
    assert stored_content(objects, A) == content[A]


def test_what_a_killed_writer_leaves_is_no_damage() -> None:
    """Segments of a batch are stored in any order, the one with COMMIT last: without that there is no batch."""
    objects, _ = _web()
    web = Writer(objects, "c" * 16, "log")
    web.birth()
    web.give_name()
    web.write(0, 1)
    web.batch(snap=False)
    missing = Stamp(web.head.epoch, web.seq)

    def store(behind: int, delta: segment.Delta | None) -> None:
        made = segment.encode(missing._replace(seq=missing.seq + behind), 0, [], delta, web.packer)
        objects.put(names.segment(web.disk, made.stamp), made.data)

    store(1, None)
    assert _scrub(objects) == []
    store(2, segment.Delta({}, {}, {}))
    assert _find(objects, web.disk, missing.seq + 1)
    found = [finding.key for finding in _scrub(objects) if finding.kind is Kind.LOG]
    assert found == [names.segment(web.disk, missing)]
