"""What operators do with a pilotd: a backup while it runs, a loss, a restore, and an end that leaves nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import leftovers
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


def _pilotd(*words: str | Path) -> str:
    command = [str(Path(sys.executable).with_name("pilotd")), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _drain(pilotd: Pilotd) -> None:
    assert "nothing of it runs" in _pilotd("drain", "--state-dir", pilotd.state)
    process, pilotd.process = pilotd.process, None
    assert process is not None
    with process:
        assert process.wait(60) == 0


def test_lost_and_restored_and_drained(tmp_path: Path) -> None:
    """Its disks are there; all that it knew, and all its keys, come from the backup."""
    before = leftovers.observe()
    pilotd = Pilotd(tmp_path / "state")
    pilotd.start()
    token = pilotd.token()
    with pilotd.client() as client:
        sprite = client.create_sprite("kept")
        sprite.run("sh", "-c", "echo before > ~/file; sync", check=True)
        list(sprite.create_checkpoint("before"))
        _pilotd("backup", "--state-dir", pilotd.state, tmp_path / "backup.tar")
        sprite.run("sh", "-c", "echo after > ~/file; sync", check=True)
        leftovers.note()
    _drain(pilotd)
    assert leftovers.left_since(before) == {}
    for name in ("state.db", "token", "secrets.key", "visits.key", "identity"):
        place = pilotd.state / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    for name in ("state.db-wal", "state.db-shm"):
        (pilotd.state / name).unlink(missing_ok=True)
    assert "restored" in _pilotd("restore", "--state-dir", pilotd.state, tmp_path / "backup.tar")
    pilotd.start()
    assert pilotd.token() == token
    with pilotd.client() as client:
        sprite = client.get_sprite("kept")
        assert sprite.run("cat", "/home/sprite/file", capture_output=True, check=True).stdout == b"after\n"
        list(sprite.restore_checkpoint("v1"))
        assert sprite.run("cat", "/home/sprite/file", capture_output=True, check=True).stdout == b"before\n"
        leftovers.note()
    _drain(pilotd)
    assert leftovers.left_since(before) == {}
