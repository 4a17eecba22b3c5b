"""Checkpoints that are mounted inside are let go of: old ones when nobody is in them, those that are gone at once."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import pathlib
import threading
from typing import Any, cast

import pytest

from pilot import errors
from pilot.agent.checkpoints import server, shelf
from pilot.agent.checkpoints.server import KEPT_S, Server
from pilot.agent.descriptors import Descriptors
from pilot.agent.mounted import Request
from pilot.kernel import mounts
from pilot.wire import outward
from tests.support.fake_machine import FakeLink


class _Host:
    """Has v4 to v8, and writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.deaf = False
        self.at_once = self.most_at_once = 0

    @property
    def hidden(self) -> list[str]:
        return [each.removeprefix("hideCheckpoint ") for each in self.asked if each.startswith("hide")]

    async def call(self, operation: Any, _: object, __: float, **parameters: str) -> object:
        self.asked.append(" ".join([operation.id, *parameters.values()]))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.deaf:
            raise errors.PeerError("pilotd ended in the middle of it")
        if operation is outward.SHOW_CHECKPOINT:
            return outward.ShownCheckpoint(descriptor=outward.descriptor_of(parameters["checkpoint"]))
        points = [outward.OwnCheckpoint(id=f"v{number}", create_time="") for number in range(8, 0, -1)]
        return outward.OwnCheckpoints(checkpoints=points)


class _Given:
    """What the host has sent: disks, each of which says which it is. The first is put as soon as both are there, and
    then the second."""

    def __init__(self) -> None:
        self.first, self.second, self.done = threading.Event(), threading.Event(), threading.Event()

    def take(self, name: str) -> int:
        fd = mounts.mount_detached("tmpfs", {"mode": "0755"})
        os.mkdir("rootfs", dir_fd=fd)
        with open("rootfs/name", "x", opener=lambda path, flags: os.open(path, flags, 0o644, dir_fd=fd)) as file:
            file.write(name)
        return fd

    def drop(self, name: str) -> None:
        told, awaited = (self.first, self.second) if name == "disk 1" else (self.second, self.done)
        told.set()
        assert awaited.wait(30)


def _made(tmp_path: pathlib.Path, host: _Host) -> Server:
    (tmp_path / "saved-disk").mkdir(exist_ok=True)
    link = cast(Any, None)
    return Server(link, str(tmp_path), cast(Any, host), Descriptors(FakeLink()))


def test_what_nobody_reads_is_hidden(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Host()
    asked: list[tuple[int, bool]] = []

    def take(number: int, *, though_in_use: bool) -> bool:
        asked.append((number, though_in_use))
        return though_in_use or number != 5  # somebody is in v5

    async def look() -> dict[int, float]:
        made = _made(tmp_path, host)
        monkeypatch.setattr(made._shelf, "take", take)
        made._since_s = {3: 900.0, 4: 0.0, 5: 0.0, 6: 900.0}
        await made.take_unused(KEPT_S + 700.0)
        await made.hide_taken()
        return made._since_s

    assert asyncio.run(look()) == {5: 0.0, 6: 900.0}
    assert asked == [(3, True), (4, False), (5, False)]
    assert host.hidden == ["v3", "v4"]


def test_what_the_host_has_not_heard_is_said_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same agent, and by the next one that finds it."""
    host = _Host()

    async def first() -> None:
        made = _made(tmp_path, host)
        made._shelf.ask(4)
        made._since_s = {4: 0.0}
        await made.take_unused(KEPT_S)
        host.deaf = True
        await made.hide_taken()
        await made.hide_taken()

    async def second() -> None:
        made = _made(tmp_path, host)
        monkeypatch.setattr(made._shelf, "ensure", lambda: None)
        monkeypatch.setattr(made._shelf, "mounted", lambda: {5})
        monkeypatch.setattr(made._mounted, "open", lambda: None)
        made._shelf.ask(5)
        made.open()
        await made.hide_taken()
        assert made._since_s.keys() == {5}
        made.close()

    asyncio.run(first())
    assert host.hidden == ["v4", "v4"]
    host.deaf = False
    asyncio.run(second())
    assert host.hidden == ["v4", "v4", "v4"]
    asyncio.run(second())
    assert host.hidden == ["v4", "v4", "v4"], "it was heard"


def test_what_failed_on_the_way_is_hidden(tmp_path: pathlib.Path) -> None:
    """Whatever the host has done of it."""
    host = _Host()

    async def fail() -> None:
        made = _made(tmp_path, host)
        host.deaf = True
        with pytest.raises(errors.PeerError):
            await made._follow(Request(0, 0, 1 + 4, memoryview(b"")))
        host.deaf = False
        await made.hide_taken()
        made.close()

    asyncio.run(fail())
    assert host.asked == ["showCheckpoint v4", "hideCheckpoint v4"]


def test_of_what_is_mounted_the_host_is_not_asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Host()
    monkeypatch.setattr(server, "KNOWN_S", math.inf)

    def asks(number: int) -> Request:
        return Request(0, 0, 1, memoryview(f"v{number}\0".encode()))

    async def look() -> None:
        made = _made(tmp_path, host)
        made._since_s = {3: 0.0}
        for _ in range(100):
            await made._look_up(asks(3))
            await made._follow(Request(0, 0, 1 + 3, memoryview(b"")))
        assert host.asked == []
        assert made._since_s[3] > 0, "it is in use"
        for _ in range(100):
            await made._look_up(asks(6))
        assert host.asked == ["listOwnCheckpoints"]
        with pytest.raises(FileNotFoundError):
            await made._look_up(asks(9))

    asyncio.run(look())


def test_many_who_look_at_once_ask_a_few_at_a_time(tmp_path: pathlib.Path) -> None:
    host = _Host()

    async def look() -> None:
        made = _made(tmp_path, host)
        lists = [made._list(Request(0, 0, 1, memoryview(bytes(40)))) for _ in range(64)]
        await asyncio.gather(*lists)

    asyncio.run(look())
    assert host.most_at_once <= server._AT_ONCE


@pytest.mark.requires("root", "private")
def test_two_that_are_shown_at_once_are_each_what_they_are_called(tmp_path: pathlib.Path) -> None:
    given = _Given()
    made = shelf.Shelf(str(tmp_path), cast(Any, given))
    made.ensure()

    def put_second() -> None:
        if given.first.wait(30):
            made.put(2, "disk 2")

    second = threading.Thread(target=put_second)
    try:
        second.start()
        made.put(1, "disk 1")
        given.done.set()
        second.join()
        for number in (1, 2):
            assert (tmp_path / f"saved/v{number}/name").read_text() == f"disk {number}"
        assert (made.mounted(), made.asked()) == ({1, 2}, {1, 2})
        assert not any(map(mounts.is_mount_point, (tmp_path / "saved-disk").iterdir())), "no whole disk is left"
    finally:
        _unmount(tmp_path)


@pytest.mark.requires("root", "private")
@pytest.mark.parametrize("place", ["saved-disk", "saved-disk/v3"])
def test_a_disk_that_a_killed_agent_left_is_let_go_of(tmp_path: pathlib.Path, place: str) -> None:
    """As it is now, and as older agents had it."""
    (tmp_path / place).mkdir(parents=True)
    mount_fd = mounts.mount_detached("tmpfs")
    mounts.move_mount(mount_fd, tmp_path / place)
    os.close(mount_fd)
    made = shelf.Shelf(str(tmp_path), cast(Any, None))
    try:
        made.ensure()
        assert not mounts.is_mount_point(tmp_path / place)
        assert made.asked() == ({3} if place.endswith("v3") else set())
    finally:
        _unmount(tmp_path)


def _unmount(run: pathlib.Path) -> None:
    for each in list(mounts.mounts_below(mounts.read_mountinfo(), str(run))):
        mounts.umount(each.mount_point, mounts.Unmount.DETACH)


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
