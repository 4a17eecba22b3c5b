"""The power fails anywhere in a history of volumes: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from tests.faults import powerlab

from pilot.volume.disk import slab
from pilot.volume.volumed import shelf

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_was_acknowledged_survives(tmp_path: Path, seed: int) -> None:
    assert powerlab.lose_power(tmp_path, seed, steps=120, losses=25) == []


def test_the_lab_finds_what_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slab.Slab, "sync", lambda self: None)
    monkeypatch.setattr(shelf, "files", types.SimpleNamespace(sync_directory=lambda path: None))
    found: list[str] = []
    for seed in range(5):
        found += powerlab.lose_power(tmp_path, seed, steps=120, losses=25)
        if found:
            return
    raise AssertionError("nothing was found in 125 losses without syncs")
