"""`pilot volume scrub export import gc rotate-key` against a real volumed, its disks, and a store in a directory."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import store as stores
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import VolumeId
from pilot.volume import layout
from pilot.volume.answers import State
from pilot.volume.operator import archive, cli

pytestmark = pytest.mark.requires("root", "private")
WEB, COPY = VolumeId("web"), VolumeId("copy")


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    daemon = Volumed(tmp_path / "state")
    daemon.directory.mkdir()
    daemon.start()
    yield daemon
    daemon.stop()


def _run(volumed: Volumed, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    capsys.readouterr()
    status = cli.main(["--socket", volumed.socket, "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def _filled(volumed: Volumed, tmp_path: Path) -> tuple[bytes, bytes]:
    """A volume with a checkpoint v1 and something else since; what is in the file at each."""
    volumed.client.create(WEB, 256 << 20)
    first, second = os.urandom(3 << 20), os.urandom(1 << 20)
    with volumed.mounted(WEB, tmp_path / "mnt") as place:
        (place / "file").write_bytes(first)
        volumed.client.checkpoint(WEB, "before")
        (place / "file").write_bytes(second)
    return first, second


def _read(volumed: Volumed, volume: VolumeId, place: Path) -> bytes:
    with volumed.mounted(volume, place) as mounted:
        return (mounted / "file").read_bytes()


def test_an_exported_volume_comes_back_with_its_checkpoints(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = _filled(volumed, tmp_path)
    file = tmp_path / "web.pilot"
    status, rows = _run(volumed, capsys, "export", "web", str(file))
    assert (status, rows[0]["checkpoints"]) == (0, 1)
    assert [row.volume for row in volumed.client.list()] == [WEB]
    _run(volumed, capsys, "import", "copy", str(file), "--trusted")
    assert _read(volumed, COPY, tmp_path / "mnt") == second
    (point,) = volumed.client.checkpoints(COPY)
    assert (point.id, point.comment) == ("v1", "before")
    volumed.client.restore(COPY, point.id)
    assert _read(volumed, COPY, tmp_path / "mnt") == first
    assert volumed.client.checkpoint(COPY).generation > point.generation
    assert _run(volumed, capsys, "scrub")[0] == 0
    assert volumed.client.stat(COPY).size_bytes == 256 << 20


def test_an_attached_fork_is_exported_as_it_was(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, second = _filled(volumed, tmp_path)
    volumed.client.fork(WEB, COPY)
    file = tmp_path / "copy.pilot"
    with volumed.mounted(COPY, tmp_path / "mnt") as place:
        (place / "more").write_bytes(b"since the fork")
        _run(volumed, capsys, "export", "copy", str(file))
        (place / "file").write_bytes(b"changed")
    _run(volumed, capsys, "import", "third", str(file), "--trusted")
    with volumed.mounted(VolumeId("third"), tmp_path / "mnt") as place:
        assert (place / "file").read_bytes() == second
        assert (place / "more").read_bytes() == b"since the fork"


def test_a_refused_import_leaves_nothing(volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _filled(volumed, tmp_path)
    file = tmp_path / "web.pilot"
    _run(volumed, capsys, "export", "web", str(file))
    whole = file.read_bytes()
    disks = sorted(os.listdir(volumed.directory / "volumes" / "disks"))
    incoming = volumed.directory / "volumes" / layout.INCOMING
    killed = incoming / ("d" * 16)
    killed.mkdir(parents=True)
    (killed / "slab").write_bytes(b"what a killed import has left")
    for bad in (whole[: len(whole) // 2], whole[:-30] + b"\0" + whole[-29:], b"", b"something else"):
        file.write_bytes(bad)
        with pytest.raises(errors.PilotError, match="read archive"):
            _run(volumed, capsys, "import", "copy", str(file))
    file.write_bytes(whole)
    with pytest.raises(errors.Conflict):
        _run(volumed, capsys, "import", "web", str(file))
    with pytest.raises(errors.HostError, match="No such file"):
        _run(volumed, capsys, "import", "copy", str(tmp_path / "nothing"))
    assert sorted(os.listdir(volumed.directory / "volumes" / "disks")) == disks
    assert os.listdir(incoming) == ["lock"]
    assert [row.volume for row in volumed.client.list()] == [WEB]


def test_a_filesystem_of_a_stranger_is_never_mounted_here(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the operator's word; nor is a fork of it, nor what is exported again and imported with the word."""
    _filled(volumed, tmp_path)
    file = tmp_path / "web.pilot"
    _run(volumed, capsys, "export", "web", str(file))
    _run(volumed, capsys, "import", "copy", str(file))
    client, third = volumed.client, VolumeId("third")
    client.fork(COPY, third, client.checkpoints(COPY)[0].id)
    for volume in (COPY, third):
        with pytest.raises(errors.StateError, match="virtual machines"):
            client.attach(volume, 0, 1 << 32)
    os.close(client.attach_file(COPY))
    client.detach(COPY)
    _run(volumed, capsys, "export", "copy", str(file))
    client.delete(third)
    _run(volumed, capsys, "import", "third", str(file), "--trusted")
    with pytest.raises(errors.StateError, match="virtual machines"):
        client.attach(third, 0, 1 << 32)


class _Hostile:
    """An `archive.Source` of one chunk, whose superblock lies; nothing says that it was a virtual machine's."""

    def __init__(self) -> None:
        self.roots = {archive.HEAD: array("Q", [1]).tobytes()}
        self.facts = {"formatted": "1"}

    def page(self, at: int) -> bytes:
        return array("Q", [1, *[0] * (layout.PAGE_ENTRIES - 1)]).tobytes()

    def chunk(self, at: int) -> bytes:
        superblock = os.urandom(56) + b"\x53\xef" + os.urandom(966)
        return bytes(1024) + superblock + bytes(layout.CHUNK_BYTES - 2048)


def test_neither_kernel_nor_tools_of_this_host_are_given_a_hostile_image(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hostile.pilot"
    with file.open("wb") as out:
        archive.write(_Hostile(), archive.Header(volume="x", size_bytes=64 << 20, created_at=1.0), out.write)
    _run(volumed, capsys, "import", "copy", str(file))
    assert volumed.client.stat(COPY).vm
    with pytest.raises(errors.StateError, match="virtual machines"):
        volumed.client.attach(COPY, 0, 1 << 32)
    assert volumed.loops() == []


def test_an_export_that_fails_leaves_no_file(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.NotFound):
        _run(volumed, capsys, "export", "nobody", str(tmp_path / "x"))
    with pytest.raises(errors.HostError):
        _run(volumed, capsys, "export", "nobody", str(tmp_path / "missing" / "x"))
    assert [entry for entry in os.listdir(tmp_path) if entry != "state"] == []


def test_scrub_finds_a_slab_that_was_truncated_or_punched_and_pages_that_are_gone(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _filled(volumed, tmp_path)
    assert _run(volumed, capsys, "scrub", "web") == (0, [{"disks": 1, "what": None}])
    disk = volumed.disk("web")
    slab = (disk / "slab").read_bytes()
    with (disk / "slab").open("r+b") as file:
        file.truncate(layout.CHUNK_BYTES * 2)
    status, rows = _run(volumed, capsys, "scrub", "web")
    assert status == 1
    assert {row["root"] for row in rows} == {"head", "checkpoint/v1"}
    assert all("lies beyond its end" in row["what"] for row in rows)
    with (disk / "slab").open("r+b") as file:  # grown again, as a careless repair would: holes
        file.truncate(len(slab))
    assert "is a hole" in _run(volumed, capsys, "scrub")[1][0]["what"]
    (disk / "slab").write_bytes(slab)
    assert _run(volumed, capsys, "scrub")[0] == 0
    with contextlib.closing(sqlite3.connect(disk / "meta.db")) as database:
        database.execute("delete from page where number = (select max(number) from page)")
        database.commit()
    status, rows = _run(volumed, capsys, "scrub", "web")
    assert status == 1
    assert "map page" in rows[0]["what"]


def _damage(store: Path, content: bytes) -> None:
    """Flip a bit of this content in each segment that has it (random bytes are stored as they are)."""
    for segment in store.glob("vol/*/seg/*"):
        data = segment.read_bytes()
        if (at := data.find(content[64:128])) >= 0:
            segment.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_a_stored_volume_is_scrubbed_exported_and_collected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    url = f"file://{store}"
    volumed = Volumed(tmp_path / "state", "--store", url)
    volumed.directory.mkdir()
    volumed.start()
    try:
        first, second = _filled(volumed, tmp_path)
        assert _run(volumed, capsys, "scrub", "--store", url) == _run(volumed, capsys, "scrub", "web", "--store", url)
        assert _run(volumed, capsys, "scrub", "--store", url)[0] == 0
        file = tmp_path / "web.pilot"
        _run(volumed, capsys, "export", "web", str(file), "--store", url)
        _run(volumed, capsys, "import", "copy", str(file), "--trusted")
        assert _read(volumed, COPY, tmp_path / "mnt") == second
        volumed.client.restore(COPY, volumed.client.checkpoints(COPY)[0].id)
        assert _read(volumed, COPY, tmp_path / "mnt") == first
        assert _run(volumed, capsys, "gc", "--store", url, "--dry-run")[1][0]["deleted"] == 0
        with pytest.raises(errors.PilotError, match="at least 60"):
            _run(volumed, capsys, "gc", "--store", url, "--grace", "1")
        assert _run(volumed, capsys, "gc", "--store", url, "--grace", "60")[1][0]["unreadable_disks"] == 0
        assert _run(volumed, capsys, "scrub", "--store", url)[0] == 0
        _damage(store, first)
        status, rows = _run(volumed, capsys, "scrub", "--store", url)
        assert status == 1
        assert {"segment", "chunk"} <= {row["kind"] for row in rows}
    finally:
        volumed.stop()


def _flip(volumed: Volumed, disk: str, content: bytes) -> int:
    """Flip a bit of this content in the slab of a disk; the slot."""
    path = volumed.directory / "volumes" / "disks" / disk / "slab"
    at = path.read_bytes().index(content[:64])
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([content[0] ^ 16]))
        os.fsync(file.fileno())
    return at // layout.CHUNK_BYTES


@pytest.mark.parametrize("attached", [False, True])
def test_a_bit_that_flipped_in_the_slab_is_found_and_put_right_from_the_store(
    attached: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a chunk that a volume, its checkpoint and a fork of it share: each is told."""
    with _host(tmp_path / "state", f"file://{tmp_path}/store") as volumed:
        first, second = _filled(volumed, tmp_path)
        volumed.client.fork(WEB, COPY, volumed.client.checkpoints(WEB)[0].id)
        disk = volumed.client.stat(WEB).disk
        if attached:
            os.close(volumed.client.attach(WEB, 0, 1 << 32))
            os.close(volumed.client.attach(COPY, 0, 1 << 32))
        slot = _flip(volumed, disk, first[1 << 20 :])
        assert _run(volumed, capsys, "scrub")[0] == 0  # nothing is there to see it by
        status, rows = _run(volumed, capsys, "scrub", "--content")
        assert status == 1
        pin = f"fork/{volumed.client.stat(COPY).disk}"
        assert {(row["volume"], row["root"]) for row in rows} == {
            ("web", "checkpoint/v1"), ("web", pin), ("copy", "head"),
        }  # fmt: skip
        assert len({row["offset"] for row in rows}) == 1
        assert all(f"slot {slot}: is not what was stored as chunk" in row["what"] for row in rows)
        status, rows = _run(volumed, capsys, "scrub", "--repair")
        assert status == 0
        assert {row["repaired"] for row in rows} <= {True}
        assert _run(volumed, capsys, "scrub", "--content") == (0, [{"disks": 2, "what": None}])
        assert _read(volumed, COPY, tmp_path / "mnt") == first
        assert _read(volumed, WEB, tmp_path / "mnt") == second


def test_a_damaged_ancestor_that_has_no_name_here_is_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"file://{tmp_path}/store"
    with _host(tmp_path / "one", url) as one, _host(tmp_path / "two", url) as two:
        first, _ = _filled(one, tmp_path)
        base = one.client.stat(WEB).disk
        one.client.fork(WEB, COPY, one.client.checkpoints(WEB)[0].id)
        os.close(one.client.attach(COPY, 0, 1 << 32))
        one.client.detach(COPY)
        two.client.adopt(COPY)
        assert _read(two, COPY, tmp_path / "mnt") == first
        os.close(two.client.attach(COPY, 0, 1 << 32))  # who reads it goes on meanwhile
        slot = _flip(two, base, first)
        status, rows = _run(two, capsys, "scrub", "--repair")
        assert (status, [row["repaired"] for row in rows]) == (0, [True])
        assert f"{base}/slab: slot {slot}" in rows[0]["what"]
        assert _run(two, capsys, "scrub", "--content")[0] == 0
        two.client.detach(COPY)
        assert _read(two, COPY, tmp_path / "mnt") == first


def test_what_is_damaged_here_and_there_is_not_called_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _host(tmp_path / "state", f"file://{tmp_path}/store") as volumed:
        first, _ = _filled(volumed, tmp_path)
        disk = volumed.client.stat(WEB).disk
        _flip(volumed, disk, first)
        _damage(tmp_path / "store", first)
        status, rows = _run(volumed, capsys, "scrub", "web", "--repair")
        assert status == 1
        assert [row["repaired"] for row in rows] == [False] * len(rows)
        assert all("does not help" in row["what"] for row in rows)


def test_a_volume_without_a_store_has_nothing_to_be_compared_with(
    volumed: Volumed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = _filled(volumed, tmp_path)
    disk = volumed.client.stat(WEB).disk
    _flip(volumed, disk, first)
    assert _run(volumed, capsys, "scrub", "--repair") == (0, [{"disks": 1, "what": None}])
    with pytest.raises(errors.StateError, match="in no store"):
        volumed.client.mend(disk, [1])
    with pytest.raises(errors.NotFound):
        volumed.client.mend("../..", [1])


def test_garbage_is_collected_without_being_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    volumed = Volumed(tmp_path / "state", "--store", f"file://{store}", "--gc-every", "0.0001", "--gc-grace", "1")
    volumed.directory.mkdir()
    volumed.start()
    try:
        _filled(volumed, tmp_path)
        stores.wait_for(lambda: (gc := volumed.client.status().gc) and gc.state is State.DONE)
        (row,) = _run(volumed, capsys, "status")[1]
        assert (row["job"], row["error"], row["kept"]) == ("gc", None, 0)
        assert (store / "gc.json").exists()
    finally:
        volumed.stop()
    quiet = Volumed(tmp_path / "state", "--store", f"file://{store}", "--gc-every", "0")
    quiet.start()
    try:
        assert quiet.client.status().gc is None
    finally:
        quiet.stop()


def test_rotating_needs_a_key(volumed: Volumed, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(errors.HostError, match="no operator key"):
        _run(volumed, capsys, "rotate-key", "--store", f"file://{tmp_path}/store")


@contextlib.contextmanager
def _host(directory: Path, url: str) -> Iterator[Volumed]:
    volumed = Volumed(directory, "--store", url)
    directory.mkdir()
    volumed.start()
    try:
        yield volumed
    finally:
        volumed.stop()


def _keys(path: Path, *keys: bytes) -> None:
    path.write_text("".join(key.hex() + "\n" for key in keys))
    path.chmod(0o600)


def test_an_encrypted_volume_moves_and_its_wrapping_key_rotates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host writes, another adopts after a rotation, with the new key alone; without a key nobody reads it."""
    url, key_file = f"file://{tmp_path}/store", tmp_path / "keys"
    old, new = os.urandom(32), os.urandom(32)
    text = b"text that nobody may find " * 40000
    _keys(key_file, old)
    monkeypatch.setenv("PILOT_VOLUME_KEY_FILE", str(key_file))
    with _host(tmp_path / "first", url) as first:
        first.client.create(WEB, 256 << 20)
        with first.mounted(WEB, tmp_path / "mnt") as place:
            (place / "file").write_bytes(text)
        first.client.fork(WEB, COPY)
        with first.mounted(COPY, tmp_path / "mnt") as place:
            (place / "more").write_bytes(b"of the fork")
        stored = [path.read_bytes() for path in (tmp_path / "store").glob("vol/*/*/*")]
        assert stored
        assert not any(b"nobody may find" in data or b"of the fork" in data for data in stored)
        _keys(key_file, new, old)
        assert {row["state"] for row in _run(first, capsys, "rotate-key", "--store", url)[1]} == {"rotated"}
        assert {row["state"] for row in _run(first, capsys, "rotate-key", "--store", url)[1]} == {"current"}
        _keys(key_file, new)  # this host still has the old wrapping in its books
        assert _read(first, WEB, tmp_path / "mnt") == text
        assert _run(first, capsys, "scrub", "--store", url)[0] == 0
    with _host(tmp_path / "second", url) as second:
        _keys(key_file, os.urandom(32))
        with pytest.raises(errors.HostError, match="needs operator key"):
            second.client.adopt(COPY)
        _keys(key_file, new)
        second.client.adopt(COPY)
        with second.mounted(COPY, tmp_path / "mnt") as place:
            assert (place / "file").read_bytes() == text
            assert (place / "more").read_bytes() == b"of the fork"
        _run(second, capsys, "export", "copy", str(tmp_path / "copy.pilot"))
        monkeypatch.delenv("PILOT_VOLUME_KEY_FILE")
        with pytest.raises(errors.HostError, match="needs operator key"):
            _run(second, capsys, "export", "copy", str(tmp_path / "x"), "--store", url)
        assert _run(second, capsys, "scrub", "--store", url)[0] == 1
