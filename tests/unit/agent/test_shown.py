"""Read-only mounts in the machine, that containers make their own locked ones of."""

from __future__ import annotations

import pathlib

import pytest

from pilot.agent import shown
from pilot.agent.machine import Paths
from pilot.kernel import mounts

pytestmark = pytest.mark.requires("root", "private")


def test_what_the_agent_writes_is_seen_and_not_written(tmp_path: pathlib.Path) -> None:
    paths = Paths(run=str(tmp_path))
    for _ in range(2):
        shown.ensure(paths)
    assert sum(entry.mount_point == paths.shown for entry in mounts.read_mountinfo()) == 1
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/file").write_text("new")
    place = pathlib.Path(shown.source(paths, str(tmp_path / "policy")))
    assert (place / "file").read_text() == "new"
    with pytest.raises(OSError, match="Read-only"):
        (place / "file").write_text("other")
    mounts.umount(paths.shown)


def test_what_an_agent_that_died_was_holding_goes(tmp_path: pathlib.Path) -> None:
    source, directory = tmp_path / "source", tmp_path / "readonly"
    source.mkdir()
    (source / "file").write_text("text")
    left = shown.Held(str(directory))
    assert [left.add(str(source)), left.add(str(source / "file"))] == [f"{directory}/0", f"{directory}/1"]
    with shown.holding(str(directory)) as held:
        assert list(directory.iterdir()) == []
        place = pathlib.Path(held.add(str(source)))
        assert (place / "file").read_text() == "text"
        with pytest.raises(OSError, match="Read-only"):
            (place / "file").unlink()
    assert list(directory.iterdir()) == []
    assert not [entry for entry in mounts.read_mountinfo() if entry.mount_point.startswith(str(directory))]
    assert (source / "file").read_text() == "text"
