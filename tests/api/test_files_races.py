"""Files calls, while somebody in the world swaps directories for links as fast as the kernel lets it.

What is walked is never left by a link that is in it; what is made or changed is what was looked at; nothing outside of
the world, and no place of the kernel's own, is read or written.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.kernel import mounts
from tests.api.test_files import call, in_world, run
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

ROUNDS = 60
SECRET = "of somebody else"
_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(a: Path, b: Path) -> None:
    """There is no moment at which one of the names is missing. Fails while one is being made anew."""
    _libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)


@contextlib.contextmanager
def _swapping(*pairs: tuple[Path, Path]) -> Iterator[None]:
    over = threading.Event()

    def race() -> None:
        while not over.is_set():
            for pair in pairs:
                _exchange(*pair)

    thread = threading.Thread(target=race, name="attacker")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Victim:
    """A directory with a file, of root; `state` is all that a call could have changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(0o700)
        (path / "file").write_text(SECRET)
        os.chmod(path / "file", 0o600)
        self.before = self.state()

    def state(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in (self.path, *sorted(self.path.iterdir())):
            status = path.lstat()
            found.append((path.name, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_size))
        return found


@pytest.fixture
def home(machine: FakeMachine) -> Path:
    return Path(in_world(machine, "/home/sprite"))


@pytest.fixture
def victim(home: Path) -> Victim:
    return Victim(home.parent / "victim")


def _tree(home: Path) -> tuple[Path, Path]:
    """A new tree with a directory in it, and beside that a link which is to be taken for the directory."""
    if (home / "tree").exists():
        shutil.rmtree(home / "tree")
    inside, link = home / "tree" / "inside", home / "tree" / "link"
    inside.mkdir(parents=True)
    (inside / "file").write_text("of the tree")
    link.symlink_to("/home/victim")
    return inside, link


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "chmod", {"path": "/home/sprite/tree", "mode": "0777", "recursive": True}),
        ("POST", "chown", {"path": "/home/sprite/tree", "uid": 1000, "gid": 1000, "recursive": True}),
        ("DELETE", "delete?recursive=true&path=/home/sprite/tree", None),
    ],
)
def test_a_tree_is_not_left_by_a_link(
    machine: FakeMachine, home: Path, victim: Victim, method: str, target: str, body: object
) -> None:
    async def test() -> None:
        for _ in range(ROUNDS):
            pair = _tree(home)
            with _swapping(pair):
                await call(machine, method, target, body)
            assert victim.state() == victim.before

    run(machine, test)


def _texts(tree: Path) -> list[str]:
    return [path.read_text() for path in tree.glob("**/*") if path.is_file() and not path.is_symlink()]


def test_nothing_is_copied_that_a_link_leads_to(machine: FakeMachine, home: Path, victim: Victim) -> None:
    async def test() -> None:
        pair = _tree(home)
        body = {"source": "/home/sprite/tree", "dest": "/home/sprite/copy", "recursive": True, "preserveAttrs": True}
        with _swapping(pair):
            for _ in range(ROUNDS):
                await call(machine, "POST", "copy", body)
            while not (found := _texts(home / "copy")):  # each time it may have come upon the link
                await call(machine, "POST", "copy", body)
        assert set(found) == {"of the tree"}
        assert victim.state() == victim.before

    run(machine, test)


def test_nothing_is_copied_to_where_a_link_leads(machine: FakeMachine, home: Path, victim: Victim) -> None:
    """Directories and files of the destination become links while they are filled and get their attributes."""

    async def test() -> None:
        inside, _ = _tree(home)
        os.chmod(inside / "file", 0o777)
        body = {"source": "/home/sprite/tree", "dest": "/home/sprite/copy", "recursive": True, "preserveAttrs": True}
        await call(machine, "POST", "copy", body)
        copied = home / "copy" / "tree" if (home / "copy" / "tree").exists() else home / "copy"
        spare, spare_file = home / "spare", home / "spare-file"
        spare.symlink_to("/home/victim")
        spare_file.symlink_to("/home/victim/file")
        body["source"], body["dest"] = "/home/sprite/tree/inside", str(copied).removeprefix(machine.paths.rootfs)
        with _swapping((copied / "inside", spare)):
            for _ in range(ROUNDS):
                await call(machine, "POST", "copy", body)
        assert victim.state() == victim.before

    run(machine, test)


def test_a_file_that_is_written_belongs_to_the_owner_of_its_directory_in_any_case(
    machine: FakeMachine, home: Path
) -> None:
    async def test() -> None:
        own, roots = home / "own", home.parent / "roots"
        own.mkdir()
        roots.mkdir(0o755)
        os.chown(own, 1000, 1000)
        with _swapping((own, roots)):
            for number in range(ROUNDS):
                status, _ = await call(machine, "PUT", f"write?path=/home/sprite/own/{number}", body=b"x")
                assert status == 200
        for directory in (own, roots):
            wrong = [path for path in directory.iterdir() if path.stat().st_uid != directory.stat().st_uid]
            assert wrong == []

    run(machine, test)


def _calls(place: str) -> list[tuple[str, str, object]]:
    move = {"source": f"{place}/hostname", "dest": f"{place}/domainname"}
    return [
        ("PUT", f"write?path={place}/hostname", None),
        ("POST", "chmod", {"path": f"{place}/hostname", "mode": "0666"}),
        ("POST", "rename", move),
        ("POST", "copy", move),
        ("GET", f"list?recursive=true&path={place}", None),
    ]


def test_no_place_of_the_kernels_is_reached(machine: FakeMachine, home: Path) -> None:
    def kernel() -> tuple[int, str]:
        path = Path(in_world(machine, "/proc/sys/kernel/hostname"))
        return stat.S_IMODE(path.stat().st_mode), path.read_text()

    async def test() -> None:
        own, link = home / "own", home / "link"
        own.mkdir()
        link.symlink_to("/proc/sys/kernel")
        before = kernel()
        with _swapping((own, link)):
            for _ in range(ROUNDS // 2):
                (home / "name").write_text("own")
                for method, target, body in _calls("/home/sprite/own"):
                    _, answer = await call(machine, method, target, body)
                    assert "panic" not in str(answer), "a listing of /proc/sys/kernel"
        assert kernel() == before

    with _proc(machine):
        run(machine, test)


@contextlib.contextmanager
def _proc(machine: FakeMachine) -> Iterator[None]:
    """A procfs in the world, which a real one has."""
    place = Path(in_world(machine, "/proc"))
    place.mkdir(exist_ok=True)
    mounts.move_mount(fd := mounts.mount_detached("proc", {}, mounts.Attribute.NODEV), place)
    os.close(fd)
    try:
        yield
    finally:
        mounts.umount(place)
