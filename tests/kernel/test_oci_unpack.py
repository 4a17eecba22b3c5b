"""Layers made by hand, unpacked by the confined child: each rule of layer.md, and what a hostile one tries."""

from __future__ import annotations

import gzip
import os
import signal
import stat
import struct
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import layers
from tests.support.layers import Item, directory, link, stored, symlink, tar

from pilot import errors
from pilot.image.oci import digest, limits, unpack
from pilot.image.oci.layer import Owners
from pilot.kernel import fds

pytestmark = pytest.mark.requires("root", "private")

_OPAQUE = ".wh..wh..opq"
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an image goes; beside it is what must not be touched."""
    (tmp_path / "outside").write_text("untouched")
    return tmp_path / "root"


def _unpack(place: Path, *contents: tuple[Item, ...], options: unpack.Options | None = None) -> Path:
    unpack.unpack([stored(tar(*items)) for items in contents], os.fspath(place), options)
    return place


def _tree(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def test_owner_mode_times_and_setuid(place: Path) -> None:
    items = (directory("d", 0o1777, mtime=5), Item("d/f", data=b"1", mode=0o6755, owner=(7, 8), mtime=1.5))
    root = _unpack(place, items)
    found = (root / "d/f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime) == (0o6755, 7, 8, 1.5)
    assert ((root / "d").stat().st_mtime, stat.S_IMODE((root / "d").stat().st_mode)) == (5, 0o1777)


def test_times_that_only_some_filesystems_have(place: Path) -> None:
    """A sprite's disk has times until 2446; what a filesystem has not, it brings into its range."""
    times = {"before-1970": -315_619_200, "after-2262": 10_413_792_000, "beyond": 999_999_999_999}
    root = _unpack(place, tuple(Item(name, mtime=time) for name, time in times.items()))
    (place / "own").touch()
    for name, time in times.items():
        os.utime(place / "own", (time, time))
        assert (root / name).stat().st_mtime == (place / "own").stat().st_mtime


def test_a_directory_keeps_its_time_when_a_later_layer_puts_something_in(place: Path) -> None:
    root = _unpack(place, (directory("d", mtime=5),), (Item("d/f"),), (Item("d/.wh.f"),))
    assert (root / "d").stat().st_mtime == 5
    assert _tree(root) == {"d"}


def test_parents_that_nobody_spoke_of(place: Path) -> None:
    root = _unpack(place, (Item("a/b/c"),))
    assert [(stat.S_IMODE((root / p).stat().st_mode), (root / p).stat().st_mtime) for p in ("a", "a/b")] == [
        (0o755, 0)
    ] * 2


def test_the_root_itself(place: Path) -> None:
    root = _unpack(place, (directory("./", 0o700, owner=(3, 4), mtime=9), Item("./f")))
    found = root.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime) == (0o700, 3, 9)


def test_whiteouts_take_what_is_of_lower_layers_alone(place: Path) -> None:
    lower = (Item("d/old"), Item("d/sub/old"), Item("gone"), Item("e/x"))
    upper = (Item("d/new"), Item("d/sub/new"), Item(".wh.d"), Item("d/.wh.new"), Item(".wh.gone"), Item(".wh.e"))
    assert _tree(_unpack(place, lower, upper)) == {"d", "d/new", "d/sub", "d/sub/new"}


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_opaque_whatever_the_order(place: Path, at: int) -> None:
    lower = (Item("d/old", data=b"1"), Item("d/sub/old"), Item("d/both"))
    upper = [Item("d/new"), Item("d/sub/new"), Item("d/both", data=b"2")]
    upper.insert(at, Item(f"d/{_OPAQUE}"))
    root = _unpack(place, lower, tuple(upper))
    assert _tree(root) == {"d", "d/new", "d/sub", "d/sub/new", "d/both"}
    assert (root / "d/both").read_bytes() == b"2"


def test_lower_is_known_through_links(place: Path) -> None:
    """The same directory by two names, and one inode by two names."""
    lower = (directory("usr/bin"), symlink("bin", "usr/bin"), Item("usr/bin/old", data=b"o"), Item("keep", data=b"k"))
    upper = (Item("bin/new"), link("bin/linked", "keep"), Item(f"usr/bin/{_OPAQUE}"), Item(".wh.keep"))
    root = _unpack(place, lower, upper)
    assert _tree(root) == {"usr", "usr/bin", "usr/bin/new", "usr/bin/linked", "bin"}
    assert (root / "bin/linked").read_bytes() == b"k"


def test_aufs_leftovers_are_ignored(place: Path) -> None:
    assert _tree(_unpack(place, (Item(".wh..wh.plnk/1.2"), Item(".wh..wh.aufs"), Item("f")))) == {"f"}


def test_kinds_replace_each_other(place: Path) -> None:
    lower = (Item("f1"), Item("d1/x"), directory("d2"), symlink("s1", "d2"), Item("f2"))
    upper = (directory("f1"), Item("d1", data=b"1"), symlink("d2", "f2"), directory("s1"), Item("s1/in"))
    root = _unpack(place, lower, upper)
    assert (root / "f1").is_dir()
    assert (root / "d1").read_bytes() == b"1"
    assert (root / "d2").is_symlink()
    assert not (root / "s1").is_symlink()
    assert (root / "s1/in").is_file()


def test_a_replaced_file_does_not_change_its_other_name(place: Path) -> None:
    root = _unpack(place, (Item("a", data=b"1"), link("b", "a")), (Item("a", data=b"2", mode=0o600),))
    assert ((root / "a").read_bytes(), (root / "b").read_bytes()) == (b"2", b"1")
    assert stat.S_IMODE((root / "b").stat().st_mode) == 0o644


def test_hard_links(place: Path) -> None:
    items = (Item("d/f", data=b"1"), link("g", "./d//f"), link("d/f", "d/f"), symlink("s", "f"), link("t", "s"))
    root = _unpack(place, items, (link("far/new", "/g"),))
    assert (root / "d/f").stat().st_ino == (root / "g").stat().st_ino == (root / "far/new").stat().st_ino
    assert (root / "t").is_symlink()


def test_attributes_and_capabilities(place: Path) -> None:
    pax = {
        "SCHILY.xattr.user.a": "1",
        "SCHILY.xattr.security.capability": _CAPABILITY.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
    }
    root = _unpack(
        place, (Item("f", data=b"1", pax=pax, owner=(5, 5)), directory("d", pax={"SCHILY.xattr.user.b": "2"}))
    )
    assert {name: os.getxattr(root / "f", name) for name in os.listxattr(root / "f")} == {
        "user.a": b"1",
        "security.capability": _CAPABILITY,
    }
    assert os.getxattr(root / "d", "user.b") == b"2"
    _unpack(place.parent / "again", (directory("d", pax={"SCHILY.xattr.user.b": "2"}),), (directory("d"),))
    assert os.listxattr(place.parent / "again/d") == []


def test_owners_by_a_map(place: Path) -> None:
    rows = ((0, 100000, 1000),)
    options = unpack.Options(owners=Owners(rows, rows))
    pax = {"SCHILY.xattr.security.capability": _CAPABILITY.decode("utf-8", "surrogateescape")}
    root = _unpack(place, (Item("p/f", owner=(5, 6), pax=pax),), options=options)
    assert ((root / "p/f").stat().st_uid, (root / "p/f").stat().st_gid) == (100005, 100006)
    assert (root / "p").stat().st_uid == 100000
    # Asked from the host's user namespace, the kernel gives the whole of revision 3: for whom it is.
    assert os.getxattr(root / "p/f", "security.capability")[-4:] == struct.pack("<I", 100000)
    with pytest.raises(errors.SpecError, match="no place in the id map"):
        _unpack(place.parent / "other", (Item("f", owner=(1000, 0)),), options=options)


def test_devices_where_they_are_allowed(place: Path) -> None:
    items = (
        Item("null", tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Item("disk", tarfile.BLKTYPE, device=(7, 300), owner=(0, 6)),
        Item("pipe", tarfile.FIFOTYPE, mode=0o620),
    )
    root = _unpack(place, items)
    assert stat.S_ISCHR((root / "null").stat().st_mode)
    assert (root / "disk").stat().st_rdev == os.makedev(7, 300)
    assert stat.S_IMODE((root / "pipe").stat().st_mode) == 0o620
    refused = (items[:1], (Item("w", tarfile.CHRTYPE, device=(0, 0)),))
    for content, devices in zip(refused, (False, True), strict=True):
        with pytest.raises(errors.SpecError, match="type"):
            _unpack(place.parent / "none", content, options=unpack.Options(devices=devices))


def test_sparse_files_stay_sparse(place: Path) -> None:
    (place.parent / "made").mkdir()
    with open(place.parent / "made/f", "wb") as file:
        file.write(b"begin")
        file.truncate(1 << 30)
    layer = subprocess.run(
        ["tar", "-C", place.parent / "made", "-S", "-c", "f"], check=True, capture_output=True
    ).stdout
    unpack.unpack([stored(layer)], os.fspath(place))
    found = (place / "f").stat()
    assert (found.st_size, found.st_blocks < 100) == (1 << 30, True)


def test_names_as_long_as_they_get(place: Path) -> None:
    long = "é" * 127
    root = _unpack(
        place,
        (Item(f"{long}/{long}/x"), symlink("l", "t" * 1000), Item(b"\xff\xfe".decode("utf-8", "surrogateescape"))),
    )
    assert (root / long / long / "x").exists()
    assert len(os.readlink(root / "l")) == 1000
    assert b"\xff\xfe" in os.listdir(os.fsencode(root))


def test_compressions(place: Path) -> None:
    one, two = tar(Item("a")), tar(Item("b"))
    unpack.unpack([stored(one, gzip.compress(one), 7), stored(two, layers.zstd(two), 7)], os.fspath(place))
    assert _tree(place) == {"a", "b"}


_ESCAPES: dict[str, tuple[Item, ...]] = {
    "dots": (Item("../outside"),),
    "dots in the middle": (Item("a/../../outside"),),
    "link to above, written through": (symlink("up", ".."), Item("up/outside", data=b"taken")),
    "absolute link, written through": (symlink("abs", "/"), Item("abs/outside", data=b"taken")),
    "link onto the name": (symlink("outside", "../outside"), Item("outside", data=b"taken")),
    "hard link to above": (link("h", "../outside"), Item("h", data=b"taken")),
    "hard link through a link": (symlink("up", ".."), link("h", "up/outside"), Item("h", data=b"taken")),
    "whiteout of above": (Item("x/.wh..."),),
    "whiteout of itself": (Item("x/.wh.."),),
    "whiteout through a link": (symlink("up", ".."), Item("up/.wh.outside")),
    "opaque through a link": (symlink("up", "../.."), Item(f"up/{_OPAQUE}")),
    "link loop": (symlink("a", "b"), symlink("b", "a"), Item("a/f")),
    "procfs": (symlink("p", "/proc/self/root"), Item("p/outside", data=b"taken")),
    "below a whiteout": (Item(".wh.x/y"),),
    "below a file": (Item("f"), Item("f/g")),
    "hard link to a directory": (directory("d"), link("h", "d")),
    "hard link to nothing": (link("h", "nothing"),),
    "root is a file": (Item("."),),
    "long name": (Item("a/" * 3000),),
}


@pytest.mark.parametrize("name", list(_ESCAPES))
def test_nothing_outside_is_touched(name: str, place: Path) -> None:
    above = _tree(place.parent)
    try:
        _unpack(place, _ESCAPES[name])
    except errors.PilotError as error:
        refused = error
        assert len(str(refused)) < 1000
        assert not place.exists()
    assert (place.parent / "outside").read_text() == "untouched"
    left = {path for path in _tree(place.parent) if path.split("/")[0] != "root"} - above
    assert left <= {"root.lock"}


_PATHS = st.lists(st.sampled_from(("a", "b", "up", "..", ".", ".wh.a", ".wh.up", _OPAQUE, "")), min_size=1, max_size=4)
_NASTY = st.builds(
    Item,
    name=_PATHS.map("/".join).filter(bool),
    kind=st.sampled_from((tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)),
    target=st.sampled_from(("..", "/", "../..", "a", "b/a", "up", "../outside", "/proc/self/root", "")),
    mode=st.sampled_from((0, 0o777, 0o4755)),
)


@settings(max_examples=12, deadline=None)
@given(contents=st.lists(st.lists(_NASTY, max_size=8), min_size=1, max_size=3))
def test_whatever_layers_do_they_end_whole_or_not_at_all(
    contents: list[list[Item]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("nasty") / "root"
    (place.parent / "outside").write_text("untouched")
    try:
        _unpack(place, *map(tuple, contents))
    except errors.PilotError:
        pass
    assert (place.parent / "outside").read_text() == "untouched"
    assert {path.name for path in place.parent.iterdir()} <= {"root", "root.lock", "outside"}


def _refusal(place: Path, layer: unpack.Stored, options: unpack.Options | None = None) -> str:
    with pytest.raises(errors.PilotError) as raised:
        unpack.unpack([layer], os.fspath(place), options)
    assert not place.exists()
    assert {path.name for path in place.parent.iterdir()} <= {"outside", "root.lock"}
    return str(raised.value)


def test_another_layer_than_was_named(place: Path) -> None:
    other = unpack.Stored("n", digest.of(b"other"), [tar(Item("f"))])
    assert "it should be sha256:" in _refusal(place, other)


def test_bombs(place: Path) -> None:
    small = unpack.Options(limit=limits.Unpacking(stream_bytes=1 << 20, entries=100, file_bytes=1 << 16))
    bomb = tar(Item("f")) + bytes(4 << 20)
    for compressed in (gzip.compress(bomb), layers.zstd(bomb)):
        assert "more bytes" in _refusal(place, stored(bomb, compressed), small)
    many = tar(*(Item(f"f{number}") for number in range(101)))
    assert "more than 100 entries" in _refusal(place, stored(many), small)
    assert "more than 100 entries" in _refusal(place, stored(tar(Item("d/" * 200 + "f"))), small)
    assert "at most 65536" in _refusal(place, stored(tar(Item("f", data=bytes(70000)))), small)


def test_memory_is_limited(place: Path) -> None:
    """A name of 4000 bytes for each entry, remembered until the layer ends."""
    few = unpack.Options(limit=limits.Unpacking(memory_bytes=40 << 20))
    long = "/".join(["n" * 250] * 15)
    layer = tar(*(directory(f"{long}/{number:05}") for number in range(5000)))
    assert "memory" in _refusal(place, stored(layer, gzip.compress(layer, 1)), few)


def test_whiteouts_that_look_at_everything_again_are_limited(place: Path) -> None:
    few = unpack.Options(limit=limits.Unpacking(removals=1000))
    depth = [f"{'d/' * level}x" for level in range(1, 100)]
    layer = tar(*map(Item, depth), *(Item(f"{'d/' * level}.wh.d") for level in range(99)))
    assert "whiteouts look at" in _refusal(place, stored(layer), few)


def test_a_tree_deeper_than_a_path_is_removed(place: Path) -> None:
    """Made through links, removed by a whiteout, and as a whole."""
    down = "dddd/" * 400
    items = (
        directory(down),
        symlink("l", down),
        directory(f"l/{down}"),
        symlink("m", f"l/{down}"),
        directory(f"m/{down}"),
    )
    root = _unpack(place, items, (Item(".wh.dddd"),))
    assert _tree(root) == {"l", "m"}
    _unpack(place.parent / "other", items)
    unpack.forget(os.fspath(place.parent / "other"))
    assert not (place.parent / "other").exists()


def test_a_full_disk_says_so(place: Path) -> None:
    place.parent.joinpath("small").mkdir()
    small = place.parent / "small"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        with pytest.raises(errors.HostError, match=r"'f'.*[Nn]o space left"):
            unpack.unpack([stored(tar(Item("f", data=os.urandom(2 << 20))))], os.fspath(small / "root"))
        assert {path.name for path in small.iterdir()} == {"root.lock"}
    finally:
        subprocess.run(["umount", small], check=True)


def test_what_a_killed_unpack_left_is_forgotten(place: Path) -> None:
    (place.parent / ".root.unpacking" / "half").mkdir(parents=True)
    assert _tree(_unpack(place, (Item("f"),))) == {"f"}
    assert not (place.parent / ".root.unpacking").exists()


def test_the_child_ends_with_whoever_feeds_it(place: Path) -> None:
    """Killed in the middle of a layer: what is there is in the directory on its way, and the next unpack is whole."""
    layer = tar(Item("f", data=bytes(1 << 20)))
    partial = place.parent / ".root.unpacking"
    feeder = os.fork()
    if feeder == 0:

        def stopping() -> Iterator[bytes]:
            yield layer[: 1 << 19]
            while True:
                signal.pause()

        try:
            unpack.unpack([unpack.Stored("n", digest.of(layer), stopping())], os.fspath(place))
        finally:
            os._exit(1)
    while not (partial / "f").exists():
        os.sched_yield()
    (child,) = _children(feeder)
    child_fd = os.pidfd_open(child)
    os.kill(feeder, signal.SIGKILL)
    os.waitpid(feeder, 0)
    assert fds.readable([child_fd], 60) == [child_fd]
    os.close(child_fd)
    assert not place.exists()
    assert _tree(_unpack(place, (Item("g"),))) == {"g"}
    assert not partial.exists()


def test_a_source_that_breaks_leaves_nothing(place: Path) -> None:
    layer = tar(Item("f", data=os.urandom(1 << 20)))

    def breaking() -> Iterator[bytes]:
        yield layer[: 1 << 19]
        raise errors.PeerError("the registry went away")

    assert _refusal(place, unpack.Stored("n", digest.of(layer), breaking())) == "the registry went away"


def test_two_at_once_and_what_is_there(place: Path) -> None:
    layer = tar(Item("f"))
    begun, go_on = threading.Event(), threading.Event()

    def waiting() -> Iterator[bytes]:
        begun.set()
        go_on.wait(60)
        yield layer

    first = threading.Thread(
        target=unpack.unpack, args=([unpack.Stored("n", digest.of(layer), waiting())], os.fspath(place))
    )
    first.start()
    begun.wait(60)
    with pytest.raises(errors.StateError, match="somebody else"):
        unpack.unpack([stored(layer)], os.fspath(place))
    go_on.set()
    first.join()
    assert _tree(place) == {"f"}
    with pytest.raises(errors.Conflict):
        unpack.unpack([stored(layer)], os.fspath(place))


def test_the_child_is_confined(place: Path) -> None:
    """Seen from outside while it waits for more of a layer."""
    layer = tar(Item("f", data=bytes(1 << 20)))
    seen: dict[str, str] = {}
    before = set(_children(os.getpid()))

    def looking() -> Iterator[bytes]:
        yield layer[: 1 << 19]
        while not (place.parent / ".root.unpacking/f").exists():
            os.sched_yield()
        (child,) = set(_children(os.getpid())) - before
        status = Path(f"/proc/{child}/status").read_text().splitlines()
        seen.update(_pair(line) for line in status if line.startswith(("CapEff", "CapPrm", "NoNewPrivs")))
        seen["root"] = os.readlink(f"/proc/{child}/root")
        seen["mnt"], seen["net"] = (os.readlink(f"/proc/{child}/ns/{name}") for name in ("mnt", "net"))
        yield layer[1 << 19 :]

    unpack.unpack([unpack.Stored("n", digest.of(layer), looking())], os.fspath(place))
    kept = sum(1 << number for number in (0, 1, 3, 4, 27, 31))
    assert (int(seen["CapEff"], 16), int(seen["CapPrm"], 16), seen["NoNewPrivs"]) == (kept, kept, "1")
    assert seen["root"] == os.fspath(place.parent / ".root.unpacking")
    assert seen["mnt"] != os.readlink("/proc/self/ns/mnt")
    assert seen["net"] != os.readlink("/proc/self/ns/net")


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":\t")
    return name, value


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(pid) for pid in path.read_text().split()]
