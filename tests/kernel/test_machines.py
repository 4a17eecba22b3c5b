"""The Machines API on the real kernel: images of a registry, in machines that are containers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator

import pytest
from tests.support import flyapi, images, leftovers
from tests.support.flyapi import Fly
from tests.support.images import Layout, Served
from tests.support.layers import Item, tar
from tests.support.pilotd import Pilotd

from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_FOREVER = ["sh", "-c", "trap 'exit 0' INT TERM; echo up; while :; do sleep 0.1; done"]
_CONFIG = {"Env": ["COLOUR=red"], "Cmd": _FOREVER, "WorkingDir": "/tmp"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return images.busybox(tmp_path_factory.mktemp("image"), _CONFIG)


@pytest.fixture(scope="module")
def served(made: Layout) -> Iterator[Served]:
    with images.serve(made) as running:
        yield running


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    name = request.node.originalname.replace("_", "-")[:60].strip("-")
    with flyapi.app(pilotd, name) as app:
        yield app


@pytest.fixture
def image(served: Served) -> str:
    return f"{served.domain}/box:1"


def _types(fly: Fly, id: str) -> list[tuple[str, str]]:
    """What happened, the newest first."""
    return [(event["type"], event["status"]) for event in fly.call("GET", f"/{id}/events")]


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_from_create_to_destroy(fly: Fly, image: str, made: Layout, pilotd: Pilotd) -> None:
    created = fly.create({"image": image, "env": {"COLOUR": "blue"}}, name="one", wait=None)
    assert (created["name"], created["host_status"]) == ("one", "ok")
    assert created["instance_id"] == created["version"]
    assert created["image_ref"]["digest"] == made.digest
    id = created["id"]
    assert fly.wait(id, "started")["state"] == "started"
    assert fly.run(id, "sh", "-c", "echo $COLOUR $FLY_APP_NAME $FLY_MACHINE_ID; pwd; touch /left") == (
        0, f"blue {fly.app} {id}\n/tmp\n",
    )  # fmt: skip
    assert fly.run(id, "sh", "-c", "exit 9")[0] == 9
    assert fly.call("POST", f"/{id}/exec", {"cmd": "cat -", "stdin": "in"})["stdout"] == "in"
    assert [row["id"] for row in fly.call("GET", "")] == [id]
    fly.call("POST", f"/{id}/stop", {})
    fly.wait(id, "stopped")
    assert _types(fly, id)[:2] == [("exit", "stopped"), ("stop", "stopping")]
    assert fly.call("POST", f"/{id}/start")["previous_state"] == "stopped"
    fly.wait(id, "started")
    assert fly.run(id, "ls", "/left")[0] == 1  # a start begins as the image is
    assert _types(fly, id)[-1] == ("launch", "created")
    fly.call("DELETE", f"/{id}", status=412)
    assert fly.call("DELETE", f"/{id}?force=true") == {"ok": True}
    fly.wait(id, "destroyed")
    assert fly.call("GET", "") == []
    assert fly.get(id)["state"] == "destroyed"
    assert [path.name for path in (pilotd.state / "machines").iterdir()] == []


def test_an_image_becomes_one_base(fly: Fly, image: str, made: Layout, pilotd: Pilotd, served: Served) -> None:
    first = fly.create({"image": image})
    served.asked.clear()
    second = fly.create({"image": image})
    assert not [path for path in served.asked if made.layers[0] in path]
    volumes = {volume.volume: volume for volume in VolumeClient(str(pilotd.state / "volumed.sock")).list()}
    bases = [name for name in volumes if name.startswith("image-")]
    assert [volumes[name].sealed for name in bases] == [True]
    roots = [name for name in volumes if name.startswith("fly-")]
    assert {name.split("-")[1] for name in roots} == {first["id"], second["id"]}
    fly.run(first["id"], "touch", "/only-here")
    assert fly.run(second["id"], "ls", "/only-here")[0] == 1


def test_a_root_that_is_kept(fly: Fly, image: str) -> None:
    id = fly.create({"image": image, "rootfs": {"persist": "always"}})["id"]
    fly.run(id, "touch", "/left")
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "ls", "/left") == (0, "/left\n")


def test_how_it_ended_is_told(fly: Fly, image: str) -> None:
    config = {"image": image, "init": {"exec": ["sh", "-c", "exit 3"]}, "restart": {"policy": "no"}}
    id = fly.create(config, wait="stopped")["id"]
    event = fly.call("GET", f"/{id}/events")[0]
    assert (event["type"], event["status"], event["source"]) == ("exit", "stopped", "flyd")
    for found in (event["request"]["exit_event"], event["request"]["MonitorEvent"]["exit_event"]):
        assert (found["exit_code"], found["requested_stop"], found["guest_signal"]) == (3, False, -1)


def test_it_goes_when_it_has_ended(fly: Fly, image: str) -> None:
    id = fly.create({"image": image, "init": {"exec": ["true"]}, "auto_destroy": True}, wait=None)["id"]
    assert fly.raw("GET", f"/v1/apps/{fly.app}/machines/{id}/wait?state=destroyed").status_code == 200


def test_containers_of_one_machine(fly: Fly, image: str) -> None:
    """Dependencies, a health check, a directory that they share, and the loopback that is theirs."""
    server = {
        "name": "server", "image": image,
        "exec": ["sh", "-c", "cat /shared/said > /tmp/index.html; httpd -f -p 8000 -h /tmp"],
        "depends_on": [{"name": "first", "condition": "exited_successfully"}],
        "healthchecks": [{"name": "up", "tcp": {"port": 8000}, "interval": 1}],
        "mounts": [{"name": "shared", "path": "/shared"}],
    }  # fmt: skip
    first = {
        "name": "first", "image": image, "exec": ["sh", "-c", "cat /etc/said > /shared/said"],
        "restart": {"policy": "no"}, "mounts": [{"name": "shared", "path": "/shared"}],
        "files": [{"guest_path": "/etc/said", "raw_value": base64.b64encode(b"hello").decode()}],
    }  # fmt: skip
    asker = {
        "name": "asker", "image": image, "cmd": _FOREVER,
        "depends_on": [{"name": "server", "condition": "healthy"}],
    }  # fmt: skip
    volumes = [{"name": "shared", "temp_dir": {"storage_type": "memory"}}]
    made = fly.create({"containers": [asker, server, first], "volumes": volumes})
    deadline = time.monotonic() + flyapi.WAIT_S
    while True:
        answer = fly.raw(
            "POST", f"/v1/apps/{fly.app}/machines/{made['id']}/exec",
            {"command": ["wget", "-qO-", "http://127.0.0.1:8000/"], "container": "asker"},
        )  # fmt: skip
        if answer.status_code == 200:
            break
        assert time.monotonic() < deadline, answer.text  # it has not begun yet
    assert (answer.json()["exit_code"], answer.json()["stdout"]) == (0, "hello")
    assert [each["name"] for each in fly.get(made["id"])["containers"]] == ["asker", "server", "first"]


def test_processes_of_one_image(fly: Fly, image: str) -> None:
    """Each in a process tree of its own, on one root and one network; the first that ends, ends the Machine."""
    serve = "mkdir -p /srv; echo shared > /srv/index.html; httpd -f -p 8000 -h /srv & wait"
    wait = "trap 'echo asked > /data/asked; exit 0' TERM; while [ ! -e /go ]; do sleep 0.1; done; exit 0"
    volume = fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "data", "size_gb": 1}).json()["id"]
    config = {
        "image": image, "stop_config": {"signal": "SIGTERM"}, "mounts": [{"volume": volume, "path": "/data"}],
        "processes": [
            {"exec": ["sh", "-c", serve], "env_from": [{"env_var": "WHO", "field_ref": "id"}]},
            {"exec": ["sh", "-c", wait]},
            {"exec": ["sh", "-c", wait.replace("/go", "/never")]},
        ],
    }  # fmt: skip
    id = fly.create(config)["id"]
    _until(lambda: fly.run(id, "wget", "-qO-", "http://127.0.0.1:8000/", container="app-1") == (0, "shared\n"))
    assert fly.run(id, "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ | grep ^WHO=") == (0, f"WHO={id}\n")
    assert fly.call("POST", f"/{id}/exec", {"cmd": "true", "container": "app-3"}, status=404)
    assert {row["container"] for row in fly.call("GET", f"/{id}/ps")} == {"app", "app-1", "app-2"}
    fly.run(id, "touch", "/go")
    fly.wait(id, "stopped")
    exit = fly.call("GET", f"/{id}/events")[0]["request"]["exit_event"]
    assert (exit["exit_code"], exit["requested_stop"]) == (0, False)
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "cat", "/data/asked") == (0, "asked\n")  # the others were asked to end


def test_another_version(fly: Fly, image: str) -> None:
    """As flyctl does it: lease, update with the nonce, wait until it is settled, release."""
    row = fly.create({"image": image})
    id = row["id"]
    lease = fly.call("POST", f"/{id}/lease?ttl=120", status=201)
    assert lease["status"] == "success"
    nonce = {"fly-machine-lease-nonce": lease["data"]["nonce"]}
    config = {"image": image, "env": {"COLOUR": "green"}}
    refused = fly.call("POST", f"/{id}", {"config": config}, status=409)
    assert refused["error"].startswith(f"aborted: machine ID {id} lease currently held by local, expires at ")
    updated = fly.call("POST", f"/{id}", {"config": config}, headers=nonce)
    assert updated["instance_id"] != row["instance_id"]
    assert fly.call("GET", f"/{id}/wait?state=settled&timeout=60")["state"] == "started"
    assert fly.run(id, "sh", "-c", "echo $COLOUR") == (0, "green\n")
    again = fly.call("POST", f"/{id}/lease?ttl=120", headers=nonce, status=201)
    assert again["data"]["nonce"] == lease["data"]["nonce"]
    assert fly.call("DELETE", f"/{id}/lease", headers=nonce) == {"ok": True}
    assert "lease not found" in fly.call("DELETE", f"/{id}/lease", headers=nonce, status=404)["error"]
    old = fly.call("GET", f"/{id}/wait?state=started&instance_id={row['instance_id']}", status=422)
    assert "currently replaced" in old["error"]
    assert [each["version"] for each in fly.call("GET", f"/{id}/versions")] == [
        updated["version"], row["version"],
    ]  # fmt: skip


def test_an_update_that_cannot_be_leaves_the_old_one(fly: Fly, image: str, served: Served) -> None:
    id = fly.create({"image": image})["id"]
    absent = {"image": f"{served.domain}/box@sha256:{'0' * 64}"}
    for config in (absent, {"image": image, "mounts": [{"path": "/data"}]}):
        answer = fly.raw("POST", f"/v1/apps/{fly.app}/machines/{id}", {"config": config})
        assert answer.status_code in (400, 404), answer.text
        assert fly.get(id)["state"] == "started"
        assert fly.run(id, "true")[0] == 0


def test_suspended_it_keeps_its_memory(fly: Fly, image: str) -> None:
    id = fly.create({"image": image})["id"]
    fly.run(id, "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! > /tmp/pid")
    fly.call("POST", f"/{id}/suspend")
    fly.wait(id, "suspended")
    assert fly.call("POST", f"/{id}/exec", {"command": ["true"]}, status=412)["error"].startswith("failed_precondition")
    assert fly.call("POST", f"/{id}/start")["previous_state"] == "suspended"
    fly.wait(id, "started")
    assert fly.run(id, "sh", "-c", "kill -0 $(cat /tmp/pid)")[0] == 0


def test_restarted_it_begins_anew(fly: Fly, image: str) -> None:
    id = fly.create({"image": image})["id"]
    fly.run(id, "touch", "/left")
    launched = len(_types(fly, id))
    assert fly.call("POST", f"/{id}/restart?timeout=30s&signal=SIGTERM") == {"ok": True}
    fly.wait(id, "started")  # it is restarting when the call has answered, or has done so
    deadline = time.monotonic() + flyapi.WAIT_S
    while _types(fly, id)[:1] != [("start", "started")] or len(_types(fly, id)) == launched:
        assert time.monotonic() < deadline, _types(fly, id)
        time.sleep(0.05)
    assert _types(fly, id)[:-launched] == [("start", "started"), ("start", "starting"), ("restart", "restarting")]
    assert fly.run(id, "ls", "/left")[0] == 1
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/restart?force_stop=true")  # one that is stopped runs then
    fly.wait(id, "started")


def test_cordoned_it_says_so(fly: Fly, image: str) -> None:
    row = fly.create({"image": image}, wait=None, skip_launch=True)
    id = row["id"]
    nonce = {"fly-machine-lease-nonce": fly.call("POST", f"/{id}/lease", status=201)["data"]["nonce"]}
    fly.call("POST", f"/{id}/cordon", status=409)
    for verb, cordoned in (("cordon", True), ("cordon", True), ("uncordon", False)):
        assert fly.call("POST", f"/{id}/{verb}", headers=nonce) == {"ok": True}
        assert fly.get(id)["cordoned"] is cordoned
    assert fly.get(id)["instance_id"] == row["instance_id"]
    fly.call("POST", "/00000000000000/cordon", status=404)


def test_there_is_one_region(fly: Fly, image: str) -> None:
    told = fly.raw("GET", "/v1/platform/regions").json()
    assert [each["code"] for each in told["Regions"]] == [told["nearest"]]
    row = fly.create({"image": image}, wait=None, skip_launch=True)
    assert row["region"] == told["nearest"]
    assert [each["id"] for each in fly.call("GET", f"?region={told['nearest']}")] == [row["id"]]
    assert fly.call("GET", "?region=elsewhere") == []


def test_not_launched_yet(fly: Fly, image: str) -> None:
    id = fly.create({"image": image}, wait=None, skip_launch=True)["id"]
    assert fly.get(id)["state"] == "created"
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ({}, 400, "config.image: is required"),
        ({"image": "box:no tag"}, 400, "is no tag"),
        ({"image": "{domain}/box@sha256:" + "0" * 64}, 404, "404"),
        ({"image": "{domain}/box", "guest": {"gpus": 1}}, 400, "config.guest.gpus"),
        ({"image": "{domain}/box", "mounts": [{"path": "/data"}]}, 400, "config.mounts"),
        ({"image": "{domain}/box", "env": {"A": 1}}, 400, "config.env"),
        ({"containers": [{"name": "no name", "image": "{domain}/box"}]}, 400, "config.containers[0].name"),
    ],
)
def test_what_is_refused(fly: Fly, served: Served, config: dict[str, object], status: int, said: str) -> None:
    if isinstance(config.get("image"), str):
        config = {**config, "image": str(config["image"]).replace("{domain}", served.domain)}
    assert said in fly.call("POST", "", {"config": config}, status=status)["error"]
    assert fly.call("GET", "") == []


def test_names_and_metadata(fly: Fly, image: str) -> None:
    config = {"image": image, "metadata": {"role": "web"}, "unknown_to_us": {"kept": True}}
    row = fly.create(config, name="taken", wait=None, skip_launch=True)
    assert row["config"]["unknown_to_us"] == {"kept": True}
    assert "already exists" in fly.call("POST", "", {"config": config, "name": "taken"}, status=422)["error"]
    fly.call("POST", f"/{row['id']}/metadata/role", {"value": "db"}, status=204)
    assert fly.call("GET", f"/{row['id']}/metadata") == {"role": "db"}
    assert [each["id"] for each in fly.call("GET", "?metadata.role=db")] == [row["id"]]
    assert fly.call("GET", "?metadata.role=web") == []
    assert [each["id"] for each in fly.call("GET", "?state=failed,created")] == [row["id"]]
    assert fly.call("GET", "?state=failed,stopped") == []
    assert fly.get(row["id"])["instance_id"] == row["instance_id"]
    fly.call("DELETE", f"/{row['id']}/metadata/role", status=204)
    fly.call("GET", f"/{row['id']}/metadata/role", status=404)
    assert fly.raw("POST", "/v1/apps", {"name": fly.app}).status_code == 422


def test_what_is_hostile_harms_nothing(fly: Fly, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A layer that lies about what it is ends in one clear state, and leaves neither base nor Machine that runs."""
    bad = images.make_layout(tmp_path_factory.mktemp("bad"), [tar(Item("../../escaped", data=b"x"))], {"Cmd": ["true"]})
    with images.serve(bad) as served:
        id = fly.create({"image": f"{served.domain}/bad"}, wait="failed")["id"]
    event = fly.call("GET", f"/{id}/events")[0]
    assert event["status"] == "failed"
    assert "escaped" in event["request"]["error"]


def test_nothing_is_left(pilotd: Pilotd, image: str) -> None:
    before = leftovers.observe()
    with flyapi.app(pilotd, "passing") as fly:
        fly.create({"image": image})
        leftovers.note()
    assert not set(leftovers.left_since(before)) & {"mounts", "loops", "cgroups", "links"}
