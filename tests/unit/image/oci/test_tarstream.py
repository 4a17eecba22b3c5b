"""The tar reader, against what `tarfile` and GNU tar write, and against damage."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import layers
from tests.support.layers import Item

from pilot import errors
from pilot.image.oci import inflate, tarstream
from pilot.image.oci.tarstream import Entry, Kind, Reader

_KINDS = {
    tarfile.REGTYPE: Kind.FILE, tarfile.DIRTYPE: Kind.DIRECTORY, tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.LINK, tarfile.FIFOTYPE: Kind.FIFO, tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
}  # fmt: skip


def _read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = Reader(io.BytesIO(data))
    found = []
    while (entry := reader.next()) is not None:
        content = bytearray(entry.size)
        for offset, part in reader.data():
            content[offset : offset + len(part)] = part
        found.append((entry, bytes(content)))
    return found


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150)
_ITEMS = st.builds(
    Item,
    name=st.lists(_NAMES, min_size=1, max_size=4).map("/".join),
    data=st.binary(max_size=2000),
    mode=st.integers(0, 0o7777),
    owner=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    mtime=st.integers(-(2**33), 10**12 - 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_ITEMS, max_size=5), st.sampled_from((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)))
def test_reads_what_tarfile_writes(items: list[Item], style: int) -> None:
    found = _read(layers.tar(*items, format=style))
    assert [(e.name.decode(), e.mode, (e.uid, e.gid), e.mtime_ns, data) for e, data in found] == [
        (i.name, i.mode, i.owner, int(i.mtime) * 10**9, i.data) for i in items
    ]


@pytest.mark.parametrize("records", [b"6 a=b\n9aaaaaaaaaaaaaaaaaaaaaa", b"0 a=b\n", b"3 a=b\n", b"6 a=b\n0 a=b\n"])
def test_records_without_a_length_end(records: bytes) -> None:
    """The first was read again and again, until there was no memory."""
    with pytest.raises(errors.SpecError, match="damaged extended header"):
        list(tarstream._records(records))


@pytest.mark.parametrize("kind", list(_KINDS))
@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_kinds(kind: bytes, style: int) -> None:
    target = "a/b" * 30 if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    ((entry, _),) = _read(layers.tar(Item("n", kind, target=target, device=(8, 17)), format=style))
    assert (entry.kind, entry.target.decode()) == (_KINDS[kind], target)
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        assert entry.device == (8, 17)


def test_fractions_and_attributes_of_pax() -> None:
    item = Item("n", mtime=-1.25, pax={"SCHILY.xattr.user.a": "b=c\nd"})
    ((entry, _),) = _read(layers.tar(item))
    assert entry.mtime_ns == -1_250_000_000
    assert entry.xattrs == {b"user.a": b"b=c\nd"}


@pytest.mark.parametrize(
    "style", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
@pytest.mark.parametrize("holes", [1, 100])
def test_sparse_files_of_gnu_tar(style: str, holes: int, tmp_path: Path) -> None:
    """Few segments fit into the header, many do not."""
    size = 0
    with open(tmp_path / "sparse", "wb") as file:
        for number in range(holes):
            file.seek((number + 1) << 17)
            file.write(b"data %d" % number)
        size = ((holes + 2) << 17) + 5
        file.truncate(size)
    words = ["--format=pax", style] if "version" in style else [style]
    made = subprocess.run(
        ["tar", "-C", tmp_path, "--sparse", "--hole-detection=raw", *words, "-c", "sparse"],
        check=True,
        capture_output=True,
    )
    ((entry, data),) = _read(made.stdout)
    assert (entry.name, entry.size) == (b"sparse", size)
    assert data == (tmp_path / "sparse").read_bytes()
    assert len(entry.segments) >= holes
    assert sum(length for _, length in entry.segments) < size / 2


def _patched(at: int, value: bytes) -> bytes:
    """A header with other bytes at a place, and the checksum that belongs to them."""
    data = bytearray(layers.tar(Item("n", data=b"x" * 600)))
    data[at : at + len(value)] = value
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (layers.tar(Item("n", data=b"x" * 600))[:700], "cut off"),
        (layers.tar(Item("n"))[:300], "cut off"),
        (b"x" * 512, "checksum"),
        (_patched(124, b"\xff" * 12), "size"),
        (_patched(124, b"\x80" + b"\xff" * 11), "size"),
        (_patched(124, b"99999999999\0"), "no number"),
        (_patched(108, b"\xff" * 8), "owners"),
        (_patched(156, b"V"), "type"),
        (_patched(156, b"x"), "extended header"),
        (_patched(156, b"L")[:1536], "between an extended header"),
        (layers.tar(Item("n"))[:512] + bytes(512) + b"x" * 512, "follows its end"),
        (layers.tar(Item("n", pax={"SCHILY.xattr.user.a": "x" * (2 << 20)})), "extended header of"),
        (layers.tar(Item("n", pax={"path": "a\0b"})), "NUL"),
        (layers.tar(Item("n", pax={"size": "-5"})), "no"),
        (layers.tar(Item("n", pax={"GNU.sparse.map": "0,5,3,9", "GNU.sparse.realsize": "20"})), "do not fit"),
        (layers.tar(Item("n", pax={"GNU.sparse.map": "0,99", "GNU.sparse.realsize": "20"})), "do not fit"),
        (layers.tar(Item("n", pax={"GNU.sparse.map": "0,9", "GNU.sparse.realsize": "20"})), "more or less"),
        (layers.tar(Item("n", pax={"GNU.sparse.map": "0", "GNU.sparse.realsize": "20"})), "half"),
        (layers.tar(Item("n", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})), "number"),
    ],
)
def test_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        _read(data)


def test_damage_in_the_middle_is_not_the_end() -> None:
    """`tarfile` gives what comes before and says nothing."""
    whole = bytearray(layers.tar(Item("a"), Item("b"), format=tarfile.USTAR_FORMAT))
    whole[512] ^= 1
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as other:
        assert other.getnames() == ["a"]
    with pytest.raises(errors.SpecError, match="checksum"):
        _read(bytes(whole))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_damaged_it_is_read_or_refused(data: st.DataObject) -> None:
    items = (Item("a" * 120, data=b"x" * 700, pax={"SCHILY.xattr.user.a": "b"}), layers.symlink("l", "t" * 200))
    style = data.draw(st.sampled_from((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)))
    whole = bytearray(layers.tar(*items, format=style))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 4000))] = data.draw(st.integers(0, 255))
    block = data.draw(st.integers(0, 6)) * 512
    whole[block + 148 : block + 156] = b" " * 8
    whole[block + 148 : block + 156] = b"%06o\0 " % sum(whole[block : block + 512])
    try:
        for entry, content in _read(bytes(whole)):
            assert len(content) == entry.size
    except (errors.SpecError, MemoryError):
        return  # MemoryError: of this test, which puts a file of that size together


def _inflated(data: bytes) -> bytes:
    stream = inflate.tar_of(io.BytesIO(data))
    parts = []
    while part := stream.read(1000):
        assert len(part) <= 1000
        parts.append(part)
    return b"".join(parts)


_PLAIN = layers.tar(Item("n", data=os.urandom(5000) + b"x" * 90000))
_SKIPPABLE = b"\x5e\x2a\x4d\x18\x05\x00\x00\x00hello"


@pytest.mark.parametrize(
    "compressed",
    [
        _PLAIN,
        gzip.compress(_PLAIN),
        gzip.compress(_PLAIN[:7000]) + gzip.compress(b"") + gzip.compress(_PLAIN[7000:]),
        layers.zstd(_PLAIN),
        layers.zstd(_PLAIN[:7000]) + _SKIPPABLE + layers.zstd(_PLAIN[7000:]) + _SKIPPABLE,
        _SKIPPABLE + layers.zstd(_PLAIN),
    ],
    ids=["none", "gzip", "members", "zstd", "frames", "skippable first"],
)
def test_is_uncompressed(compressed: bytes) -> None:
    assert _inflated(compressed) == _PLAIN


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress(_PLAIN)[:-9],
        gzip.compress(_PLAIN) + b"something else",
        gzip.compress(_PLAIN)[:3000] + b"x" * 100 + gzip.compress(_PLAIN)[3100:],
        layers.zstd(_PLAIN) + b"something else",
        layers.zstd(_PLAIN)[:8] + b"\xff" * 90,
    ],
)
def test_damaged_compression_is_refused(damaged: bytes) -> None:
    with pytest.raises(errors.SpecError):
        _inflated(damaged)


def test_a_window_of_gigabytes_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(b"x" * 100_000) + compressor.flush()
    with pytest.raises(errors.SpecError, match="zstd"):
        _inflated(data)
