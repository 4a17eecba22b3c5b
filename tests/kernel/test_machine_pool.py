"""Machines that run before anybody wants one, on the real kernel: a create takes one over; nothing of them stays."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.kernel.test_pool import _kill_init
from tests.support import flyapi, images, leftovers
from tests.support.flyapi import Fly
from tests.support.images import Served
from tests.support.pilotd import Pilotd

from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

DEADLINE_S = 150
_CMD = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _CMD})) as running:
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = images.busybox(tmp_path_factory.mktemp("other"), {"Cmd": _CMD, "Env": ["OTHER=1"]})
    with images.serve(made) as running:
        yield running


@pytest.fixture
def pilotd(tmp_path: Path) -> Iterator[Pilotd]:
    """With a pool of one, ready; of everything nothing is left."""
    before = leftovers.observe()
    daemon = Pilotd(tmp_path / "state")
    daemon.stop_machines_on_exit = True
    daemon.machine_pool = 1
    daemon.start()
    try:
        _until_ready(daemon)
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()
    assert leftovers.left_since(before) == {}
    assert _rows(daemon, "SELECT * FROM fly_members") == []


@pytest.fixture
def fly(pilotd: Pilotd) -> Iterator[Fly]:
    with flyapi.app(pilotd, "pooled") as app:
        yield app


def _rows(pilotd: Pilotd, sql: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(f"file:{pilotd.state}/state.db?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def _until(is_so: Callable[[], bool], pilotd: Pilotd) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.01)


def _until_ready(pilotd: Pilotd) -> None:
    def is_ready() -> bool:
        return "\npilotd_machine_pool_ready 1.0\n" in httpx.get(f"{pilotd.url}/metrics", timeout=DEADLINE_S).text

    _until(is_ready, pilotd)


def _member(pilotd: Pilotd) -> str:
    ((id,),) = _rows(pilotd, "SELECT machine FROM fly_members")
    return str(id)


def _roots(pilotd: Pilotd, id: str) -> list[str]:
    volumes = VolumeClient(str(pilotd.state / "volumed.sock")).list()
    return sorted(each.volume for each in volumes if each.volume.startswith(f"fly-{id}-"))


def test_a_create_takes_a_member_over_and_one_like_it_follows(pilotd: Pilotd, fly: Fly, served: Served) -> None:
    member = _member(pilotd)
    image = f"{served.domain}/box"
    made = fly.create({"image": image, "guest": {"memory_mb": 512, "cpus": 2}, "env": {"COLOUR": "red"}})
    assert made["id"] == member
    asked = "echo $COLOUR; hostname; touch /left; cat /proc/meminfo"
    code, said = fly.run(member, "sh", "-c", asked)
    assert (code, said.splitlines()[:2]) == (0, ["red", member])
    assert fly.call("GET", f"/{member}/memory")["limit_mb"] == 512
    _until_ready(pilotd)
    second = _member(pilotd)
    assert len(_roots(pilotd, second)) == 1  # of the image that was wanted
    assert [row["id"] for row in fly.call("GET", "")] == [member]
    assert fly.create({"image": image})["id"] == second
    assert fly.run(second, "ls", "/left")[0] == 1
    assert len(_roots(pilotd, second)) == 1
    found = fly.run(second, "nslookup", "-type=a", f"{member}.vm.pooled.internal")[1]
    assert "Name:" in found
    found = fly.run(member, "nslookup", "-type=a", f"{second}.vm.pooled.internal")[1]
    assert "Name:" in found


def test_a_member_with_roots_of_others_is_taken_too(pilotd: Pilotd, fly: Fly, served: Served, other: Served) -> None:
    fly.create({"image": f"{served.domain}/box"})
    _until_ready(pilotd)
    member = _member(pilotd)
    (before,) = _roots(pilotd, member)
    wanted = [{"name": name, "image": f"{other.domain}/box"} for name in ("one", "two")]
    assert fly.create({"containers": wanted})["id"] == member
    assert fly.call("POST", f"/{member}/exec", {"command": ["sh", "-c", "echo $OTHER"], "container": "two"})[
        "stdout"
    ] == "1\n"  # fmt: skip
    after = _roots(pilotd, member)
    assert (len(after), before in after) == (2, False)


def test_a_stop_and_a_start_are_those_of_any_machine(pilotd: Pilotd, fly: Fly, served: Served) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    fly.run(id, "touch", "/left")
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "ls", "/left")[0] == 1


def test_a_name_that_is_taken_costs_no_member(pilotd: Pilotd, fly: Fly, served: Served) -> None:
    config = {"image": f"{served.domain}/box"}
    first = fly.create(config, name="one")["id"]
    _until_ready(pilotd)
    member = _member(pilotd)
    fly.call("POST", "", {"config": config, "name": "one"}, status=422)
    assert fly.run(first, "true")[0] == 0
    assert fly.create(config)["id"] == member


def test_a_member_whose_machine_died_is_started_again(pilotd: Pilotd, fly: Fly, served: Served) -> None:
    member = _member(pilotd)
    _kill_init(member)
    assert fly.create({"image": f"{served.domain}/box"})["id"] == member
    assert fly.run(member, "echo", "alive") == (0, "alive\n")


def test_members_of_a_pilotd_that_was_killed_go_and_machines_stay(pilotd: Pilotd, fly: Fly, served: Served) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    _until_ready(pilotd)
    old = _member(pilotd)
    pilotd.kill()
    pilotd.start()
    _until(lambda: (old,) not in _rows(pilotd, "SELECT id FROM machines"), pilotd)
    assert _roots(pilotd, old) == []
    assert fly.run(id, "echo", "alive") == (0, "alive\n")
    _until_ready(pilotd)
