"""User namespaces for idmapped mounts: seen in the owners of files."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import idmap, mounts, process

pytestmark = pytest.mark.requires("root", "private", "userns")

_BASE = 200_000


def test_owners_are_shifted_in_the_mount_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    source.mkdir()
    # The superblock must be one that supports idmapping, whatever the temporary directory is on.
    mounts.mount("tmpfs", source, "tmpfs")
    (source / "root").write_text("")
    (source / "user").write_text("")
    os.chown(source / "user", 1000, 1001)
    userns_fd = idmap.user_namespace_fd(_BASE, _BASE + 500, 65536)
    tree_fd = mounts.open_tree(source, clone=True)
    try:
        mounts.set_attributes(tree_fd, userns_fd=userns_fd)
        mounts.move_mount(tree_fd, target)
    finally:
        os.close(tree_fd)
        os.close(userns_fd)
    owners = {name: (os.stat(target / name).st_uid, os.stat(target / name).st_gid) for name in ("root", "user")}
    assert owners == {"root": (_BASE, _BASE + 500), "user": (_BASE + 1000, _BASE + 500 + 1001)}
    assert os.stat(source / "user").st_uid == 1000
    mounts.umount(target)
    mounts.umount(source)


@pytest.mark.requires("loop")
def test_a_detached_ext4_is_idmapped(tmp_path: Path) -> None:
    image, target = tmp_path / "disk", tmp_path / "target"
    target.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    device = subprocess.run(
        ["losetup", "-f", "--show", image], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        mount_fd = mounts.mount_detached("ext4", {"source": device})
        userns_fd = idmap.user_namespace_fd(_BASE, _BASE, 65536)
        try:
            mounts.set_attributes(mount_fd, userns_fd=userns_fd)
            mounts.move_mount(mount_fd, target)
        finally:
            os.close(mount_fd)
            os.close(userns_fd)
        assert os.stat(target).st_uid == _BASE
        # A file made by an id that the map does not have is refused, not given to somebody.
        with pytest.raises(OSError, match="Value too large"):
            (target / "file").write_text("")
        mounts.umount(target)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_nothing_is_left_behind() -> None:
    descriptors, children = os.listdir("/proc/self/fd"), Path("/proc/self/task").joinpath(str(os.getpid()), "children")
    before = children.read_text()
    os.close(idmap.user_namespace_fd(_BASE, _BASE, 10))
    with pytest.raises(errors.HostError):
        idmap.user_namespace([], [])
    assert os.listdir("/proc/self/fd") == descriptors
    assert children.read_text() == before


def test_a_refused_map_is_shown() -> None:
    with pytest.raises(errors.HostError, match=r"write uid_map \(0 100 10, 5 200 10\).*invalid argument"):
        idmap.user_namespace([(0, 100, 10), (5, 200, 10)], [(0, 100, 10)])


def test_many_threads_at_once() -> None:
    inodes: list[int] = []

    def make() -> None:
        userns_fd = idmap.user_namespace_fd(_BASE, _BASE, 100)
        inodes.append(os.fstat(userns_fd).st_ino)
        os.close(userns_fd)

    threads = [threading.Thread(target=make, name=f"make {n}") for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(inodes) == 8


def test_a_descriptor_of_another_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("found")
    with (
        open(tmp_path / "file") as file,
        subprocess.Popen(["sleep", "100"], stdin=file) as other,
    ):
        pid_fd = os.pidfd_open(other.pid)
        try:
            taken_fd = process.pidfd_getfd(pid_fd, 0)
            assert os.pread(taken_fd, 10, 0) == b"found"
            assert not os.get_inheritable(taken_fd)
            os.close(taken_fd)
            with pytest.raises(OSError, match="descriptor 77"):
                process.pidfd_getfd(pid_fd, 77)
        finally:
            os.close(pid_fd)
            other.kill()
