"""Whether an ext4 takes no writes is told of one that is whole, that stands still, and that has been shut down."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.kernel import freeze, mounts

pytestmark = pytest.mark.requires("root", "private", "loop")


@pytest.fixture
def mounted_fd(tmp_path: Path) -> Iterator[int]:
    """The root directory of a small ext4."""
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    image.touch()
    os.truncate(image, 16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
        mounts.umount(place)


def test_it_is_asked_without_waiting_for_a_freeze_to_end(mounted_fd: int) -> None:
    assert not freeze.is_ext4_read_only(mounted_fd)
    freeze.freeze(mounted_fd)
    try:
        assert not freeze.is_ext4_read_only(mounted_fd)
    finally:
        assert freeze.thaw(mounted_fd)


def test_one_that_is_shut_down_is_known_by_what_it_does_alone(mounted_fd: int) -> None:
    """No option says so before Linux 6.15, whatever this one is."""
    assert not freeze._is_shut_down(mounted_fd)
    freeze.shut_down_ext4(mounted_fd)
    assert freeze._is_shut_down(mounted_fd)
    assert freeze.is_ext4_read_only(mounted_fd)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.mkdir("new", dir_fd=mounted_fd)
