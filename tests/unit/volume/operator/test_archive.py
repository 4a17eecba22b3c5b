"""The format of exported volumes: it gives back what went in, and nothing damaged or cut off is taken."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping

import hypothesis
import hypothesis.strategies as st
import pytest

from pilot import errors
from pilot.volume import layout, names
from pilot.volume.operator import archive, exporting
from pilot.volume.remote.log import codec, encryption
from pilot.volume.remote.tending import catalogue
from tests.support.logwriter import Writer, chunk_of
from tests.support.objects import MemoryStore

SIZE_BYTES = 200 << 20  # four pages
A, B = "a" * 16, "b" * 16


def _page(entries: Mapping[int, int]) -> bytes:
    return array("Q", (entries.get(n, 0) for n in range(layout.PAGE_ENTRIES))).tobytes()


class FakeSource:
    """A fork (depth 1) whose head and checkpoint share a page and a chunk."""

    roots: Mapping[str, bytes] = {
        "head": array("Q", [layout.place(0, 3), 0, layout.place(1, 1), 0]).tobytes(),
        "checkpoint/v1": array("Q", [layout.place(0, 3), 0, layout.place(1, 2), 0]).tobytes(),
    }
    facts: Mapping[str, str] = {"formatted": "1", "checkpoint/v1": "{}"}
    pages: Mapping[int, bytes] = {
        layout.place(0, 3): _page({0: layout.place(0, 7), 1023: layout.place(0, 9)}),
        layout.place(1, 1): _page({5: layout.place(1, 7), 6: layout.place(0, 9)}),
        layout.place(1, 2): _page({5: layout.place(1, 8)}),
    }

    def page(self, at: int) -> bytes:
        return self.pages[at]

    def chunk(self, at: int) -> bytes:
        return chunk_of(at)


class Kept:
    """An `archive.Sink` in memory."""

    def __init__(self) -> None:
        self.chunks: dict[int, bytes] = {}
        self.pages: dict[int, bytes] = {}
        self.ended: archive.End | None = None

    def begin(self, header: archive.Header) -> None: ...

    def chunk(self, slot: int, content: bytes) -> None:
        self.chunks[slot] = content

    def page(self, number: int, entries: bytes) -> None:
        self.pages[number] = entries

    def end(self, end: archive.End) -> None:
        self.ended = end

    def content(self) -> dict[str, dict[int, bytes]]:
        assert self.ended is not None
        return {name: {index * layout.PAGE_ENTRIES + n: self.chunks[slot]
                       for index, page in enumerate(array("Q", root)) if page
                       for n, slot in enumerate(array("Q", self.pages[page])) if slot}
                for name, root in self.ended.roots.items()}  # fmt: skip


def _written() -> bytes:
    out = io.BytesIO()
    archive.write(FakeSource(), archive.Header(volume="web", size_bytes=SIZE_BYTES, created_at=1.5), out.write)
    return out.getvalue()


def test_it_gives_back_what_went_in_and_holds_what_is_shared_once() -> None:
    kept = Kept()
    header, end = archive.read(io.BytesIO(_written()).read, kept)
    assert (header.volume, header.size_bytes) == ("web", SIZE_BYTES)
    assert (end.chunks, end.pages, end.facts) == (4, 3, FakeSource.facts)
    shared = {0: chunk_of(layout.place(0, 7)), 1023: chunk_of(layout.place(0, 9))}
    assert kept.content() == {
        "head": {**shared, 2053: chunk_of(layout.place(1, 7)), 2054: chunk_of(layout.place(0, 9))},
        "checkpoint/v1": {**shared, 2053: chunk_of(layout.place(1, 8))},
    }


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None, max_examples=300)
def test_nothing_damaged_is_taken(data: st.DataObject) -> None:
    whole = _written()
    what = data.draw(st.sampled_from(["flip", "cut", "append", "repeat"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    if what == "flip":
        bad = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    elif what == "cut":
        bad = whole[:at]
    elif what == "append":
        bad = whole + data.draw(st.binary(min_size=1, max_size=40))
    else:
        length = data.draw(st.integers(1, len(whole) - at))
        bad = whole[: at + length] + whole[at : at + length] + whole[at + length :]
    kept = Kept()
    with pytest.raises(archive.DamagedArchive):
        archive.read(io.BytesIO(bad).read, kept)
    assert kept.ended is None


def test_frames_cannot_be_left_out_or_exchanged() -> None:
    """Even whole frames with checks of their own."""
    whole, frames, at = _written(), list[bytes](), 8
    while at < len(whole):
        length = 8 + int.from_bytes(whole[at + 4 : at + 8], "little") + 16
        frames.append(whole[at : at + length])
        at += length
    for n in range(len(frames)):
        with pytest.raises(archive.DamagedArchive):
            archive.read(io.BytesIO(whole[:8] + b"".join(frames[:n] + frames[n + 1 :])).read, Kept())
    frames[1], frames[2] = frames[2], frames[1]
    with pytest.raises(archive.DamagedArchive):
        archive.read(io.BytesIO(whole[:8] + b"".join(frames)).read, Kept())


class LyingSource(FakeSource):
    """What a file made by hand could say; all checks fit."""

    def __init__(self, roots: Mapping[str, bytes]) -> None:
        self.roots = roots


@pytest.mark.parametrize("name", ["../etc", "checkpoint/../x", "checkpoint/", "fork/x"])
def test_roots_with_other_names_are_refused(name: str) -> None:
    out = io.BytesIO()
    source = LyingSource({**FakeSource.roots, name: FakeSource.roots["head"]})
    archive.write(source, archive.Header(volume="web", size_bytes=SIZE_BYTES, created_at=0.0), out.write)
    with pytest.raises(errors.PilotError):
        archive.read(io.BytesIO(out.getvalue()).read, Kept())


def test_a_later_format_is_told_as_such() -> None:
    out = io.BytesIO()
    header = archive.Header(volume="web", size_bytes=SIZE_BYTES, created_at=0.0, format=2)
    archive.write(FakeSource(), header, out.write)
    with pytest.raises(errors.HostError, match="format 2"):
        archive.read(io.BytesIO(out.getvalue()).read, Kept())


@pytest.mark.parametrize("keyring", [encryption.Keyring(), encryption.Keyring([bytes(32)])], ids=["plain", "encrypted"])
def test_a_fork_in_a_store_is_exported_with_what_it_shares(keyring: encryption.Keyring) -> None:
    objects = MemoryStore()
    source = Writer(objects, A, "web", (), keyring)
    source.birth()
    source.give_name()
    source.write(0, 1)
    source.write(1, 2)
    source.batch(snap=True)
    fork = Writer(objects, B, "copy", (A,), keyring)
    fork.birth()
    fork.give_name()
    fork.roots["head"] = dict(source.roots["head"])
    fork.write(1, 3)
    fork.batch(snap=False)
    out, kept = io.BytesIO(), Kept()
    exporting.export_stored(objects, "copy", out.write, keyring)
    archive.read(io.BytesIO(out.getvalue()).read, kept)
    assert kept.content() == {"head": {0: chunk_of(1), 1: chunk_of(3)}}
    with pytest.raises(errors.NotFound):
        exporting.export_stored(objects, "nobody", out.write, keyring)
    place = catalogue.load(objects, catalogue.read_head(objects, A), keyring).books.places[1]
    key = names.segment(A, place.stamp)
    bad = bytearray(objects.objects[key][0])
    bad[place.offset] ^= 1
    objects.put(key, bytes(bad))
    with pytest.raises(codec.Damaged, match=r"chunk 0.*damaged"):
        exporting.export_stored(objects, "copy", out.write, keyring)
