"""The mount wrappers against the kernel: what they made is read back from mountinfo."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pilot.kernel import mounts
from pilot.kernel.mounts import Attribute, Flag, Propagation

pytestmark = pytest.mark.requires("root", "private")


def _entry(path: Path) -> mounts.MountEntry:
    return [e for e in mounts.read_mountinfo() if e.mount_point == str(path)][-1]


def test_a_detached_mount_is_in_no_namespace_until_it_is_moved(tmp_path: Path) -> None:
    before = len(mounts.read_mountinfo())
    mount_fd = mounts.mount_detached("tmpfs", {"size": "1m", "mode": "0700"}, Attribute.NOSUID | Attribute.NODEV)
    try:
        assert not os.get_inheritable(mount_fd)
        assert len(mounts.read_mountinfo()) == before
        mounts.move_mount(mount_fd, tmp_path)
    finally:
        os.close(mount_fd)
    entry = _entry(tmp_path)
    assert entry.fstype == "tmpfs"
    assert {"nosuid", "nodev"} <= set(entry.options)
    assert "size=1024k" in entry.super_options
    mounts.umount(tmp_path)
    assert not mounts.is_mount_point(tmp_path)


def test_a_detached_mount_moves_to_a_descriptor(tmp_path: Path) -> None:
    mount_fd, place_fd = mounts.mount_detached("tmpfs"), os.open(tmp_path, os.O_PATH)
    try:
        mounts.move_mount(mount_fd, place_fd)
    finally:
        os.close(mount_fd)
        os.close(place_fd)
    assert mounts.is_mount_point(tmp_path)
    mounts.umount(tmp_path, mounts.Unmount.DETACH)


def test_an_unknown_filesystem_is_named() -> None:
    with pytest.raises(OSError, match="nosuchfs") as raised:
        mounts.mount_detached("nosuchfs")
    assert raised.value.errno == errno.ENODEV


def test_the_kernels_own_words_join_the_error() -> None:
    with pytest.raises(OSError, match="tmpfs: Unknown parameter 'colour'") as raised:
        mounts.mount_detached("tmpfs", {"colour": "blue"})
    assert raised.value.errno == errno.EINVAL


def test_a_failed_mount_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="size"):
        mounts.mount_detached("tmpfs", {"size": "many"})
    assert os.listdir("/proc/self/fd") == before


def test_a_clone_binds_with_other_attributes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    tree_fd = mounts.open_tree(source, clone=True, recursive=True)
    try:
        mounts.set_attributes(tree_fd, add=Attribute.RDONLY | Attribute.NOEXEC, recursive=True)
        mounts.move_mount(tree_fd, target)
    finally:
        os.close(tree_fd)
    assert (target / "file").read_text() == "x"
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").write_text("")
    (source / "new").write_text("")
    mounts.umount(target)


def test_a_missing_path_is_in_the_error() -> None:
    for try_it in (
        lambda: mounts.open_tree("/no/such"),
        lambda: mounts.umount("/no/such"),
        lambda: mounts.mount("tmpfs", "/no/such", "tmpfs"),
        lambda: mounts.set_attributes("/no/such", add=Attribute.RDONLY),
    ):
        with pytest.raises(FileNotFoundError) as raised:
            try_it()
        assert raised.value.filename == "/no/such"


def test_propagation(tmp_path: Path) -> None:
    mounts.mount("tmpfs", tmp_path, "tmpfs", Flag.NOSUID, "size=1m")
    mounts.set_attributes(tmp_path, propagation=Propagation.SHARED)
    assert _entry(tmp_path).peer_group is not None
    mounts.set_attributes(tmp_path, propagation=Propagation.PRIVATE)
    assert _entry(tmp_path).peer_group is None
    mounts.umount(tmp_path)


def test_a_picked_filesystem_is_reconfigured(tmp_path: Path) -> None:
    mounts.mount("tmpfs", tmp_path, "tmpfs", Flag.NONE, "size=1m")
    fs_fd = mounts.fspick(tmp_path)
    try:
        mounts.fsconfig(fs_fd, "size", "2m")
        mounts.reconfigure(fs_fd)
    finally:
        os.close(fs_fd)
    assert "size=2048k" in _entry(tmp_path).super_options
    mounts.umount(tmp_path)
