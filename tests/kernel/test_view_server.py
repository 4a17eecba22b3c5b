"""The files that a world is shown, as one FUSE mount of the agent: its readers, and what is left when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from tests.support.fake_machine import FakeLink, FakeMachine

from pilot import errors
from pilot.agent.view import server
from pilot.agent.view.server import Server
from pilot.kernel import mounts

pytestmark = pytest.mark.requires("root", "private", "fuse")

DEADLINE_S = 30


@pytest.fixture
def link() -> Iterator[FakeLink]:
    made = FakeLink()
    yield made
    made.close()


def _longer_each_time() -> Callable[[str], str]:
    numbers = itertools.count()
    return lambda _: chr(ord("a") + next(numbers)) * 6000


def _mounted(run: pathlib.Path) -> list[mounts.MountEntry]:
    """Without a look at it, for which a dead one would have us wait."""
    return [entry for entry in mounts.read_mountinfo() if entry.mount_point.startswith(str(run))]


def test_two_readers_of_a_text_longer_than_a_page(link: FakeLink, tmp_path: pathlib.Path) -> None:
    under_test = Server(link, str(tmp_path), _longer_each_time())
    under_test.open()
    try:
        path = tmp_path / "view/cpuinfo"
        with path.open("rb", 0) as one, path.open("rb", 0) as other:
            assert one.read(5000) == b"a" * 5000
            assert other.read(5000) == b"b" * 5000
            assert one.read(5000) == b"a" * 1000
            assert one.read(5000) == b""
            assert other.read(5000) == b"b" * 1000
            assert os.pread(other.fileno(), 10, 0) == b"c" * 10
    finally:
        under_test.close()
        mounts.umount(tmp_path / "view", mounts.Unmount.DETACH)


def _full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _no_thread(*_: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


def _no_init(*_: object) -> NoReturn:
    raise errors.PeerError("store descriptor agent/view: init does not answer")


@pytest.mark.parametrize(
    ("place", "name", "failing"),
    [
        (os, "eventfd", _full), (threading.Thread, "start", _no_thread), (FakeLink, "put", _no_init),
        (mounts, "move_mount", _full), (mounts, "mount_detached", _full),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)  # fmt: skip
def test_what_cannot_be_served_is_not_mounted(
    link: FakeLink, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    place: object, name: str, failing: Callable[..., NoReturn],
) -> None:  # fmt: skip
    under_test = Server(link, str(tmp_path), _longer_each_time())
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as broken:
        broken.setattr(place, name, failing)
        under_test.open()
    assert "worlds are shown the host's numbers" in caplog.text
    assert (_mounted(tmp_path), link.stored) == ([], {})
    assert len(os.listdir("/proc/self/fd")) == before
    under_test.close()  # nothing to leave


def test_what_a_former_agent_mounted_goes_when_it_cannot_be_gone_on_with(
    link: FakeLink, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who reads waits for ever, in worlds that have it, too."""
    former = Server(link, str(tmp_path), _longer_each_time())
    former.open()
    reading = os.open(tmp_path / "view/stat", os.O_RDONLY)
    former.close()
    successor = link.successor()
    try:
        monkeypatch.setattr(threading.Thread, "start", _no_thread)
        Server(successor, str(tmp_path), _longer_each_time()).open()
        assert (_mounted(tmp_path), successor.stored, successor.inherited) == ([], {}, {})
        with pytest.raises(OSError, match=f"{os.strerror(errno.ENOTCONN)}|{os.strerror(errno.ECONNABORTED)}"):
            os.pread(reading, 100, 0)
    finally:
        with contextlib.suppress(OSError):  # which it is told once more
            os.close(reading)
        successor.close()


def test_who_reads_it_while_an_agent_leaves_is_answered_until_files_are_left(tmp_path: pathlib.Path) -> None:
    """Children that read files for callers are waited for, and what they read may be one of these."""
    machine = FakeMachine(str(tmp_path / "run"))
    machine.run_world()
    seen = []

    async def test() -> None:
        async with machine.agent() as app:
            assert server.STORE_NAME in machine.link.stored
            leave = app.world.leave

            async def reading() -> None:
                names = await asyncio.to_thread(os.listdir, os.path.join(machine.paths.run, "view"))
                seen.append("cpuinfo" in names)
                await leave()

            app.world.leave = reading  # type: ignore[method-assign]

    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await test()

    try:
        asyncio.run(bounded())
        assert seen == [True]
    finally:
        mounts.umount(os.path.join(machine.paths.run, "view"), mounts.Unmount.DETACH)
        machine.close()


def test_what_a_former_agent_left_and_init_does_not_have_is_replaced_without_a_look(tmp_path: pathlib.Path) -> None:
    """Somebody holds the descriptor of that connection, and answers nothing: whoever looked would wait for ever."""
    with contextlib.closing(FakeLink()) as first, contextlib.closing(FakeLink()) as second:
        former = Server(first, str(tmp_path), _longer_each_time())
        former.open()
        former.close()
        under_test = Server(second, str(tmp_path), lambda _: "now\n")
        under_test.open()
        try:
            assert len(_mounted(tmp_path)) == 1
            assert (tmp_path / "view/cpuinfo").read_text() == "now\n"
        finally:
            under_test.close()
            mounts.umount(tmp_path / "view", mounts.Unmount.DETACH)
