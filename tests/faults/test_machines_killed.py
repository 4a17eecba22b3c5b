"""kill -9 of pilotd between any two transitions of an operation on a Machine: the next one finishes it.

The transitions are those of the tables, so that none is forgotten: all of them where PILOT_EVERY_STEP is set (`make
chaos`), else those after which there is most to find again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faults.test_pilotd_killed import DEADLINE_S, _completed, _kill_after, _until_no_run_is_active
from tests.support import flyapi, images
from tests.support.clock import Clock
from tests.support.flyapi import Fly
from tests.support.images import Served
from tests.support.pilotd import Pilotd

from pilot.host.fsm.operation import Action
from pilot.host.operations import fly_pool, fly_requests, fly_table, fly_volumes, image_base
from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_CMD = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]


_CHOSEN = {
    "launch": {"record", "disks", "boot"}, "stop": {"down"}, "update": {"replacing", "renew", "boot"},
    "destroy": {"machine"}, "prepare": {"fill"}, "restart": {"down"}, "suspend": {"freeze"},
    "rest-stop": {"stopping"}, "rest-suspend": {"freeze"},
    "take": {"take"}, "exit": {"halt"}, "make-member": {"roots", "boot"}, "drop-member": {"machine"},
}  # fmt: skip
_LATER_S = 3 * 86400
_OF_VOLUMES = {"create": {"disk"}, "snapshot": {"take"}, "prune": {"delete"}, "destroy": {"disk"}}


def _steps(action: Action[Any]) -> list[str]:
    (row,) = (row for row in fly_table.ROWS if row.action is action)
    names = [step.name for step in row.steps]
    chosen = (_OF_VOLUMES if action.kind == fly_volumes.VOLUME else _CHOSEN)[action.name]
    assert set(names) >= chosen
    return names if os.environ.get("PILOT_EVERY_STEP") else [name for name in names if name in chosen]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _CMD})) as running:
        yield running


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("killed") / "state", extra=("--autostop-after", "1")).running() as daemon:
        yield daemon


@pytest.fixture
def fly(pilotd: Pilotd) -> Iterator[Fly]:
    with flyapi.app(pilotd, "killed") as app:
        yield app


def _start_and_kill_after(pilotd: Pilotd, transition: str) -> None:
    """Of a run that pilotd begins by itself, at its start."""
    known = _completed(pilotd.state)
    pilotd.start()
    deadline = time.monotonic() + DEADLINE_S
    while not any(name == transition for _, name in _completed(pilotd.state) - known):
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.001)
    pilotd.kill()
    pilotd.start()
    _until_no_run_is_active(pilotd)


def _path(fly: Fly, id: str, verb: str = "") -> str:
    return f"/v1/apps/{fly.app}/machines/{id}{verb}"


def _only(fly: Fly) -> str:
    (row,) = fly.call("GET", "")
    return str(row["id"])


@pytest.mark.parametrize("transition", _steps(fly_requests.LAUNCH))
def test_launch(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    body = {"config": {"image": f"{served.domain}/box"}}
    _kill_after(pilotd, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
    id = _only(fly)
    fly.wait(id, "started")
    assert fly.run(id, "echo", "alive") == (0, "alive\n")


@pytest.mark.parametrize("transition", _steps(fly_requests.STOP))
def test_stop(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _path(fly, id, "/stop")))
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")


@pytest.mark.parametrize("transition", _steps(fly_requests.RESTART))
def test_restart(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    fly.run(id, "touch", "/left")
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _path(fly, id, "/restart")))
    fly.wait(id, "started")
    assert fly.run(id, "ls", "/left")[0] == 1


@pytest.mark.parametrize("transition", _steps(fly_requests.SUSPEND))
def test_suspend(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    fly.run(id, "touch", "/left")
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _path(fly, id, "/suspend")))
    fly.wait(id, "suspended")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "ls", "/left")[0] == 0  # its memory and its root are as they were


def _resting(served: Served, autostop: str) -> dict[str, object]:
    service = {"internal_port": 8000, "ports": [{"port": 80, "handlers": ["http"]}], "autostop": autostop}
    return {"config": {"image": f"{served.domain}/box", "services": [service]}}


@pytest.mark.parametrize("transition", _steps(fly_requests.REST_STOP))
def test_rest_stopped(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    """Nobody has asked for it: the watch begins it again, where it was not begun."""
    body = _resting(served, "stop")
    _kill_after(pilotd, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
    id = _only(fly)
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "stopped")


@pytest.mark.parametrize("transition", _steps(fly_requests.REST_SUSPEND))
def test_rest_suspended(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    body = _resting(served, "suspend")
    _kill_after(pilotd, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
    id = _only(fly)
    fly.wait(id, "suspended")


@pytest.mark.parametrize("transition", _steps(fly_requests.UPDATE))
def test_update(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    config = {"image": f"{served.domain}/box", "env": {"NEW": "1"}}
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _path(fly, id), {"config": config}))
    fly.wait(id, "started")
    assert fly.run(id, "sh", "-c", "echo $NEW") == (0, "1\n")


@pytest.mark.parametrize("transition", _steps(fly_requests.EXIT))
def test_exit(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    """Its program ends by itself; nobody has asked for anything."""
    program = ["sh", "-c", "while ! [ -e /end ]; do sleep 0.1; done; exit 3"]
    config = {"image": f"{served.domain}/box", "init": {"exec": program}, "restart": {"policy": "no"}}
    id = fly.create(config)["id"]
    body = {"command": ["touch", "/end"]}
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _path(fly, id, "/exec"), body))
    fly.wait(id, "stopped")
    assert fly.call("GET", f"/{id}/events?limit=1")[0]["request"]["exit_event"]["exit_code"] in (3, 137)


@pytest.mark.parametrize("transition", _steps(fly_requests.DESTROY))
def test_destroy(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    id = fly.create({"image": f"{served.domain}/box"})["id"]
    _kill_after(pilotd, transition, lambda: fly.raw("DELETE", _path(fly, id, "?force=true")))
    fly.wait(id, "destroyed")
    assert fly.call("GET", "") == []
    assert list((pilotd.state / "machines").iterdir()) == []


@pytest.mark.parametrize("transition", _steps(image_base.PREPARE))
def test_prepare_an_image(pilotd: Pilotd, fly: Fly, transition: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = images.busybox(tmp_path_factory.mktemp("own"), {"Cmd": _CMD, "Labels": {"own": transition}})
    with images.serve(own) as served:
        body = {"config": {"image": f"{served.domain}/box"}}
        _kill_after(pilotd, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
        fly.wait(_only(fly), "started")


@pytest.mark.parametrize("transition", _steps(image_base.TAKE))
def test_take_a_checkpoint_as_an_image(pilotd: Pilotd, fly: Fly, transition: str) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite(f"taken-{transition}")
        list(sprite.create_checkpoint("for a machine"))
        init = {"exec": ["sleep", "10000"]}
        body = {"config": {"image": f"sprite://{sprite.name}/v1", "init": init}}
        _kill_after(pilotd, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
        id = _only(fly)
        fly.wait(id, "started")
        assert fly.run(id, "id", "-un") == (0, "sprite\n")
        sprite.destroy()


def _volumes(fly: Fly, path: str = "") -> str:
    return f"/v1/apps/{fly.app}/volumes{path}"


@pytest.mark.parametrize("transition", _steps(fly_volumes.CREATE))
def test_create_a_volume(pilotd: Pilotd, fly: Fly, served: Served, transition: str) -> None:
    body = {"name": "data", "size_gb": 1}
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _volumes(fly), body))
    assert [row["state"] for row in fly.raw("GET", _volumes(fly)).json()] == ["created"]
    (row,) = fly.raw("GET", _volumes(fly)).json()
    mounts = [{"volume": row["id"], "path": "/data"}]
    id = fly.create({"image": f"{served.domain}/box", "mounts": mounts})["id"]
    assert fly.run(id, "touch", "/data/file")[0] == 0


@pytest.mark.parametrize("transition", _steps(fly_volumes.SNAPSHOT))
def test_take_a_snapshot(pilotd: Pilotd, fly: Fly, transition: str) -> None:
    id = fly.raw("POST", _volumes(fly), {"name": "data", "size_gb": 1}).json()["id"]
    _kill_after(pilotd, transition, lambda: fly.raw("POST", _volumes(fly, f"/{id}/snapshots")))
    assert len(fly.raw("GET", _volumes(fly, f"/{id}/snapshots")).json()) == 1


@pytest.mark.parametrize("transition", _steps(fly_volumes.PRUNE))
def test_prune_snapshots(
    pilotd: Pilotd, fly: Fly, transition: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three days later, as all clocks say."""
    body = {"name": "data", "size_gb": 1, "snapshot_retention": 1}
    id = fly.raw("POST", _volumes(fly), body).json()["id"]
    fly.raw("POST", _volumes(fly, f"/{id}/snapshots"))
    pilotd.stop()
    clock = Clock(tmp_path)
    clock.set(_LATER_S)
    with contextlib.closing(sqlite3.connect(pilotd.state / "state.db")) as database, database:
        database.execute("UPDATE clocks SET at_us = ?", (int((time.time() + _LATER_S) * 1e6),))
    with monkeypatch.context() as patch:
        clock.environment(patch)
        try:
            _start_and_kill_after(pilotd, transition)
            assert fly.raw("GET", _volumes(fly, f"/{id}/snapshots")).json() == []
        finally:
            pilotd.stop()
    pilotd.start()


@pytest.mark.parametrize("transition", _steps(fly_volumes.DESTROY))
def test_destroy_a_volume(pilotd: Pilotd, fly: Fly, transition: str) -> None:
    id = fly.raw("POST", _volumes(fly), {"name": "data", "size_gb": 1}).json()["id"]
    _kill_after(pilotd, transition, lambda: fly.raw("DELETE", _volumes(fly, f"/{id}")))
    assert fly.raw("GET", _volumes(fly)).json() == []
    volumes = VolumeClient(str(pilotd.state / "volumed.sock")).list()
    assert id not in {each.volume for each in volumes}


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[Pilotd]:
    """One that is not started yet."""
    daemon = Pilotd(tmp_path / "state")
    daemon.stop_machines_on_exit = True
    daemon.machine_pool = 1
    yield daemon
    daemon.stop()
    assert list((daemon.state / "machines").iterdir()) == []


def _until_pooled(pilotd: Pilotd) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while "\npilotd_machine_pool_ready 1.0\n" not in httpx.get(f"{pilotd.url}/metrics", timeout=DEADLINE_S).text:
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.01)


@pytest.mark.parametrize("transition", _steps(fly_pool.MAKE))
def test_make_a_member_of_the_pool(pooled: Pilotd, served: Served, transition: str) -> None:
    """The next pilotd has one of its own, and nothing of that one; what was launched runs."""
    pooled.start()
    with flyapi.app(pooled, "killed") as fly:
        _until_pooled(pooled)
        body = {"config": {"image": f"{served.domain}/box"}}
        _kill_after(pooled, transition, lambda: fly.raw("POST", f"/v1/apps/{fly.app}/machines", body))
        _until_pooled(pooled)
        fly.wait(_only(fly), "started")
        assert len(list((pooled.state / "machines").iterdir())) == 2


@pytest.mark.parametrize("transition", _steps(fly_pool.DROP))
def test_drop_a_member_of_the_pool(pooled: Pilotd, transition: str) -> None:
    pooled.start()
    _until_pooled(pooled)
    (old,) = (pooled.state / "machines").iterdir()
    pooled.kill()
    _start_and_kill_after(pooled, transition)
    _until_pooled(pooled)
    assert old not in list((pooled.state / "machines").iterdir())
