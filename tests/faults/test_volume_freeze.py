"""Who is killed while it holds a filesystem still: writers go on, and the host's switch is put back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.support import volumed as support
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import VolumeId
from pilot.kernel import graceperiod
from pilot.volume.serving import zygote
from pilot.volume.volumed import frozen

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop")

A = VolumeId("a")


def test_a_volumed_killed_in_a_freeze_leaves_nothing_held(tmp_path: Path) -> None:
    volumed = Volumed(tmp_path)
    volumed.start(crash_at="checkpoint: frozen")
    try:
        volumed.client.create(A, 1 << 30)
        with volumed.mounted(A, tmp_path / "m") as root:
            with pytest.raises(errors.PeerError):
                volumed.client.checkpoint(A)
            volumed.wait_killed()
            # Would wait for ever on a frozen filesystem.
            subprocess.run(["sh", "-c", f"echo x > {root}/file && sync {root}/file"], check=True, timeout=30)
            volumed.start()
            assert volumed.client.checkpoint(A).id == "v1", "nothing is left of the first"
    finally:
        volumed.stop()


def test_the_guard_puts_the_switch_back(tmp_path: Path) -> None:
    """As when another was killed inside of FIFREEZE, and then volumed is."""
    volumed = Volumed(tmp_path)
    volumed.start()
    spawner = zygote.Zygote()
    try:
        volumed.client.create(A, 1 << 30)
        with volumed.mounted(A, tmp_path / "m") as root:
            root_fd = os.open(root, os.O_RDONLY)
            guard = spawner.guard(root_fd, 30)
            os.close(root_fd)
            assert guard.receive() == guard.receive() == ({"ok": True}, []), "calm, and frozen"
            Path(graceperiod.SWITCH).write_text("2")
            guard.close()
            _await_switch_back()
            support.wait_for_end_of_children(spawner.pid)
    finally:
        spawner.close()
        volumed.stop()


def test_who_is_left_thaws_when_the_guard_is_killed(tmp_path: Path) -> None:
    volumed = Volumed(tmp_path)
    volumed.start()
    spawner = zygote.Zygote()
    try:
        volumed.client.create(A, 1 << 30)
        with volumed.mounted(A, tmp_path / "m") as root:
            root_fd = os.open(root, os.O_RDONLY)
            with frozen.Frozen("checkpoint a", root_fd, spawner) as held:
                assert held.clean
                for pid in support.children(spawner.pid):
                    os.kill(pid, signal.SIGKILL)
            os.close(root_fd)
            support.wait_for_end_of_children(spawner.pid)
            assert not held.clean
            # Would wait for ever on a frozen filesystem.
            subprocess.run(["sh", "-c", f"echo x > {root}/file && sync {root}/file"], check=True, timeout=30)
    finally:
        spawner.close()
        volumed.stop()


def _await_switch_back() -> None:
    """0, or what the administrator chose; other volumeds of this host may be in a freeze of their own just now."""
    deadline = time.monotonic() + 10
    while Path(graceperiod.SWITCH).read_text().strip() == "2":
        assert time.monotonic() < deadline, "the switch of the grace periods was left turned"
