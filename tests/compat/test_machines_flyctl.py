"""The Machines API by flyctl's calls, in its order (`tests/support/flyctl.py`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import flyapi, images
from tests.support.flyapi import Fly
from tests.support.flyctl import NONCE, Flyctl
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_SERVER = "trap 'exit 0' INT TERM; mkdir -p /www; echo up > /www/index.html; httpd -f -p 8000 -h /www & wait"


@pytest.fixture(scope="module")
def pilotd() -> Iterator[Pilotd]:
    with flyapi.serving() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": ["sh", "-c", _SERVER]})) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.removeprefix("test_").replace("_", "-")) as app:
        yield app


def _config(image: str, **more: object) -> dict[str, object]:
    """As `fly machine run --port 80:8000/tcp:http` writes it."""
    check = {"type": "http", "port": 8000, "path": "/", "interval": "1s", "timeout": "5s", "grace_period": "0s"}
    service = {
        "protocol": "tcp", "internal_port": 8000, "checks": [check],
        "ports": [{"port": 80, "handlers": ["http"], "force_https": False}],
    }  # fmt: skip
    return {
        "image": image, "env": {}, "init": {}, "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "services": [service], "restart": {"policy": "always"}, "dns": {}, **more,
    }  # fmt: skip


def test_run_and_what_follows(fly: Fly, image: str) -> None:
    """`run`, `exec`, `stop`, `start`, `suspend`, `start`, `restart`, `kill`, `cordon`, `clone`, `destroy`."""
    flyctl = Flyctl(fly)
    row = flyctl.run(_config(image))
    id = row["id"]
    assert [each["name"] for each in row["checks"]] == ["servicecheck-00-http-8000"]
    assert flyctl.exec(id, "sh -c 'echo out; echo err >&2; exit 3'") == {
        "exit_code": 3, "exit_signal": 0, "stdout": "out\n", "stderr": "err\n",
    }  # fmt: skip
    flyctl.stop(id, signal="SIGINT", timeout="10s")
    assert flyctl.start(id) == "stopped"
    flyctl.wait(row, "started")
    first = flyctl.most_recent_start(flyctl.until_checked(id))
    flyctl.suspend(id)
    assert flyctl.start(id) == "suspended"
    flyctl.wait(row, "started")
    flyctl.restart(id)
    assert flyctl.most_recent_start(fly.get(id)) > first
    flyctl.cordon(id, away=True)
    assert fly.get(id)["cordoned"] is True
    flyctl.cordon(id, away=False)
    twin = flyctl.clone(id)
    assert (twin["config"]["image"], twin["id"] != id) == (image, True)
    flyctl.destroy(twin["id"], force=True)
    flyctl.stop(id)
    flyctl.destroy(id)
    assert fly.call("GET", "") == []


def test_update_and_deploy(fly: Fly, image: str) -> None:
    """A running one runs on with the new config; one that is stopped stays so, and starts as the new one."""
    flyctl = Flyctl(fly)
    id = flyctl.run(_config(image))["id"]
    before = fly.get(id)["instance_id"]
    row = flyctl.update(id, _config(image, env={"COLOUR": "blue"}))
    assert (row["state"], row["instance_id"] != before) == ("started", True)
    assert flyctl.exec(id, "sh -c 'echo $COLOUR'")["stdout"] == "blue\n"
    flyctl.deploy(id, _config(image, env={"COLOUR": "green"}))
    flyctl.stop(id)
    assert flyctl.update(id, _config(image, env={"COLOUR": "white"}))["state"] == "stopped"
    flyctl.start(id)
    flyctl.wait(fly.get(id), "started")
    assert flyctl.exec(id, "sh -c 'echo $COLOUR'")["stdout"] == "white\n"


def test_killed_it_is_started_again(fly: Fly, image: str) -> None:
    """A kill is nobody's request to stop: its policy brings it back."""
    flyctl = Flyctl(fly)
    id = flyctl.run(_config(image))["id"]
    flyctl.exec(id, "touch /left-by-this-process")
    flyctl.kill(id)
    flyctl.until_checked(id)
    assert fly.get(id)["state"] == "started"


def test_a_lease_keeps_others_away(fly: Fly, image: str) -> None:
    """In words that flyctl prints; `exec`, which it asks without its lease, goes on."""
    flyctl = Flyctl(fly)
    id = flyctl.run(_config(image))["id"]
    nonce = fly.call("POST", f"/{id}/lease?ttl=120", status=201)["data"]["nonce"]
    for path in ("/start", "/stop", "/suspend", "/cordon", "/restart"):
        said = fly.call("POST", f"/{id}{path}", status=409)["error"]
        assert said.startswith(f"aborted: machine ID {id} lease currently held by "), said
    assert flyctl.exec(id, "true")["exit_code"] == 0
    fly.call("DELETE", f"/{id}/lease", headers={NONCE: nonce})


def test_secrets_of_the_app(fly: Fly) -> None:
    """`secrets set`, several at once, `list`, `unset`."""
    path = f"/v1/apps/{fly.app}/secrets"
    assert fly.raw("POST", f"{path}/ONE", {"value": "1"}).status_code == 201
    assert fly.raw("POST", path, {"values": {"TWO": "2", "ONE": None}}).status_code == 200
    listed = fly.raw("GET", f"{path}?show_secrets=true&version=1").json()["secrets"]
    assert [row["name"] for row in listed] == ["TWO"]
    assert fly.raw("DELETE", f"{path}/TWO").status_code == 200
