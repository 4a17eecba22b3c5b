"""The first start after the host was down, with nothing left in /run: no word of an error, and everything is there."""

from __future__ import annotations

import json
import pathlib

import pytest
from tests.support import leftovers, lost
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


def test_the_first_start_after_it_finds_all_and_complains_of_nothing(tmp_path: pathlib.Path) -> None:
    before = leftovers.observe()
    pilotd = Pilotd(tmp_path / "state")
    pilotd.stop_machines_on_exit = True
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.create_sprite("kept")
        sprite.run("sh", "-c", "echo synced > ~/file; sync", check=True)
        leftovers.note()
    lost.go_down(pilotd)
    pilotd.log.write_bytes(b"")
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.get_sprite("kept")
        assert sprite.run("cat", "/home/sprite/file", capture_output=True, check=True).stdout == b"synced\n"
        leftovers.note()
    pilotd.stop()
    rows = [json.loads(line) for line in pilotd.log.read_text().splitlines() if line.startswith("{")]
    assert rows, "pilotd says what it does"
    assert [row for row in rows if row["level"] in ("error", "critical")] == []
    assert "Traceback" not in pilotd.log.read_text()
    assert leftovers.left_since(before) == {}
