"""Another file in the place of one that a process sees: of ours, and of nothing else that its path leads to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.kernel import mounts, overmount
from pilot.kernel.overmount import Identity

pytestmark = pytest.mark.requires("root", "private")


class World:
    """A process in a mount namespace of its own, with our file `first` bound to /tmp/app/conf/key."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "replacing"
        self.first = directory / "first"
        self.first.write_text("first")
        self.app = directory / "app"
        self.key = self.app / "conf/key"
        self.key.parent.mkdir(parents=True)
        self.key.touch()
        self._process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"mount --bind {self.first} {self.key} && echo && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"\n"
        self.ours = {overmount.identity(str(self.first))}

    def close(self) -> None:
        self._process.communicate()

    def sh(self, words: str) -> str:
        command = ["nsenter", "-m", "-t", str(self._process.pid), "sh", "-c", words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()

    def replace(self, text: str) -> str | None:
        """Why it is not shown."""
        pid_fd = os.pidfd_open(self._process.pid)
        mount_fd = overmount.make_file(str(self.place), text.encode(), 0o444, 0, 0)
        made: Identity = overmount.identity(mount_fd)
        try:
            why = overmount.replace(pid_fd, mount_fd, str(self.key), self.ours)
        finally:
            os.close(pid_fd)
            os.close(mount_fd)
        if why is None:
            self.ours = {made}
        return why

    def mounted(self) -> str:
        """All that is, but for the numbers of what is mounted at the file."""
        return self.sh(f"grep -v ' {self.app}/[a-z0-9]*/key ' /proc/self/mountinfo")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_one_after_the_other_is_seen_and_none_is_left_below(world: World) -> None:
    before = world.mounted()
    for text in ("second", "third", "fourth"):
        assert world.replace(text) is None
        assert world.sh(f"cat {world.key}") == text
    assert world.sh(f"grep -c ' {world.key} ' /proc/self/mountinfo") == "1\n"
    assert (world.mounted(), world.place.exists()) == (before, False)
    assert world.key.read_bytes() == b"", "nobody else sees it"


@pytest.mark.parametrize("leads_to", ["/dev/null", "/etc/passwd", "/proc/sys", "../key", "/nowhere", "key"])
def test_a_link_that_was_put_there_leads_to_no_other_mount(world: World, leads_to: str) -> None:
    """As the owner of a directory of the path may: it moves away with the mount in it."""
    world.sh("mount --bind /dev/zero /dev/null; mount --bind /etc/hostname /etc/passwd")
    for text in (None, "second"):
        assert text is None or world.replace(text) is None
        world.sh(f"cd {world.app}; echo theirs >key; mv conf conf2; mkdir conf; ln -s {leads_to} conf/key")
        before = world.mounted()
        assert world.replace("stolen") is not None
        assert world.mounted() == before
        assert world.sh(f"cat {world.app}/conf2/key") == (text or "first")
        world.sh(f"cd {world.app}; rm -r conf; mv conf2 conf")


def test_a_link_that_leads_to_ours_is_one_of_the_image(world: World) -> None:
    world.sh(f"cd {world.app}; mv conf conf2; ln -s conf2 conf")
    assert world.replace("second") is None
    assert world.sh(f"cat {world.key}") == "second"


def test_what_was_unmounted_or_covered_stays_so(world: World) -> None:
    world.sh(f"umount {world.key}; echo own >{world.key}")
    assert world.replace("second") == "another file is there"
    assert world.sh(f"cat {world.key}") == "own\n"
    world.sh(f"rm {world.key}")
    assert world.replace("second") == "No such file or directory"
    world.sh(f"mkdir {world.key}")
    assert world.replace("second") is not None
    assert mounts.is_mount_point(world.key) is False
