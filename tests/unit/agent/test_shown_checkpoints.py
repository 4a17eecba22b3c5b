"""Checkpoints that are mounted inside are let go of: old ones when nobody is in them, those that are gone at once."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import Any, cast

import pytest

from pilot.agent.checkpoints import server, shelf
from pilot.agent.checkpoints.server import KEPT_S, Server
from pilot.kernel import mounts
from pilot.wire import outward


class _Host:
    """Has v4 to v8, and writes down what it is told to hide."""

    def __init__(self) -> None:
        self.hidden: list[str] = []

    async def call(self, operation: object, _: object, __: float, **parameters: str) -> object:
        if operation is outward.HIDE_CHECKPOINT:
            self.hidden.append(parameters["checkpoint"])
            return None
        points = [outward.OwnCheckpoint(id=f"v{number}", create_time="") for number in range(8, 0, -1)]
        return outward.OwnCheckpoints(checkpoints=points)


def test_what_nobody_reads_is_hidden(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Host()
    asked: list[tuple[int, bool]] = []

    def take(number: int, *, though_in_use: bool) -> bool:
        asked.append((number, though_in_use))
        return though_in_use or number != 5  # somebody is in v5

    async def look() -> dict[int, float]:
        made = Server(cast(Any, None), str(tmp_path), cast(Any, host), cast(Any, None))
        monkeypatch.setattr(made._shelf, "take", take)
        made._since_s = {3: 900.0, 4: 0.0, 5: 0.0, 6: 900.0}
        await made.hide_unused(KEPT_S + 700.0)
        return made._since_s

    assert asyncio.run(look()) == {5: 0.0, 6: 900.0}
    assert asked == [(3, True), (4, False), (5, False)]
    assert host.hidden == ["v3", "v4"]


def test_only_names_of_checkpoints_that_somebody_asked_for_are_any() -> None:
    assert [shelf.number_of(name) for name in ("v1", "v12", "v0", "v01", "v", "auto-1", "v1/x", "V1", "v1\n")] == [
        1, 12, None, None, None, None, None, None, None,
    ]  # fmt: skip
    assert len({server._node(number).number for number in range(5)}) == 5


@pytest.mark.requires("root", "private")
def test_a_link_that_somebody_has_put_there_leads_nowhere(tmp_path: pathlib.Path) -> None:
    """Root of the world can write to that tmpfs: what the agent unmounts, or mounts on, is there and nowhere else."""
    ours = tmp_path / "ours"
    ours.mkdir()
    mounts.bind(ours, ours)
    made = shelf.Shelf(str(tmp_path), cast(Any, None))
    (tmp_path / "saved").mkdir()
    link = tmp_path / "saved/v3"
    link.symlink_to(ours)
    with contextlib.suppress(OSError):
        made.take(3, though_in_use=True)
    assert mounts.is_mount_point(ours), "of ours nothing was unmounted"
    made._clear(3)
    assert not link.is_symlink()
    assert link.is_dir()
    mounts.umount(ours)
