"""What a Machine has beside its image, on the real kernel: volumes, secrets, signals, processes, memory."""

from __future__ import annotations

import base64
import pathlib
import time
from collections.abc import Iterator

import pytest
from tests.support import flyapi, images, probes
from tests.support.flyapi import JSON, Fly
from tests.support.pilotd import Pilotd

from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_FOREVER = [
    "sh", "-c",
    "trap 'exit 0' INT TERM; trap 'echo asked > /tmp/asked' USR1; while :; do sleep 0.1; done",
]  # fmt: skip
_SECRET = "what nobody is told"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _FOREVER})) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("beside") / "state", extra=("--keep-images", "0")).running() as daemon:
        yield daemon


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.replace("_", "-")[:60].strip("-")) as app:
        yield app


def _volume(fly: Fly, **more: object) -> JSON:
    answer = fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "data", "size_gb": 1, **more})
    assert answer.status_code == 200, answer.text
    made: JSON = answer.json()
    return made


def _of(fly: Fly, volume: str, path: str = "", method: str = "GET", body: object = None, status: int = 200) -> JSON:
    answer = fly.raw(method, f"/v1/apps/{fly.app}/volumes/{volume}{path}", body)
    assert answer.status_code == status, answer.text
    found: JSON = answer.json()
    return found


def _with(image: str, volume: str) -> dict[str, object]:
    return {"image": image, "mounts": [{"volume": volume, "path": "/data"}]}


def test_a_volume_outlives_machines(fly: Fly, image: str) -> None:
    """Stops, another version and the end of its Machine; two never have it."""
    volume = _volume(fly)
    assert (volume["state"], volume["size_gb"], volume["attached_machine_id"]) == ("created", 1, None)
    id = fly.create(_with(image, volume["id"]))["id"]
    assert _of(fly, volume["id"])["attached_machine_id"] == id
    assert fly.run(id, "sh", "-c", "echo kept > /data/file && touch /not-kept") == (0, "")
    refused = fly.call("POST", "", {"config": _with(image, volume["id"])}, status=412)
    assert f"attached to machine {id}" in refused["error"]
    assert [row["id"] for row in fly.call("GET", "")] == [id]
    _of(fly, volume["id"], method="DELETE", status=412)
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "sh", "-c", "cat /data/file; ls /not-kept") == (1, "kept\n")
    fly.call("POST", f"/{id}", {"config": {"image": image}})
    assert _of(fly, volume["id"])["attached_machine_id"] is None
    fly.call("POST", f"/{id}", {"config": _with(image, volume["id"])})
    assert fly.run(id, "cat", "/data/file") == (0, "kept\n")
    fly.call("DELETE", f"/{id}?force=true")
    other = fly.create(_with(image, volume["id"]))["id"]
    assert fly.run(other, "cat", "/data/file") == (0, "kept\n")
    assert fly.raw("GET", f"/v1/apps/{fly.app}").json()["volume_count"] == 1


def test_snapshots_and_forks(fly: Fly, image: str, pilotd: Pilotd) -> None:
    volume = _volume(fly)["id"]
    id = fly.create(_with(image, volume))["id"]
    fly.run(id, "sh", "-c", "echo first > /data/file; sync")
    snapshot = _of(fly, volume, "/snapshots", "POST")
    assert _of(fly, volume, "/snapshots") == [snapshot]  # type: ignore[comparison-overlap]
    fly.run(id, "sh", "-c", "echo second > /data/file")
    early = _volume(fly, snapshot_id=snapshot["id"])["id"]
    late = _volume(fly, source_volume_id=volume)["id"]
    for fork, content in ((early, "first\n"), (late, "second\n")):
        assert fly.run(fly.create(_with(image, fork))["id"], "cat", "/data/file") == (0, content)
    answer = fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "data", "snapshot_id": "vs_" + "0" * 24})
    assert answer.status_code == 404
    for machine in fly.call("GET", ""):
        fly.call("DELETE", f"/{machine['id']}?force=true")
    assert _of(fly, volume, method="DELETE")["state"] == "destroyed"
    _of(fly, volume, status=404)
    assert volume not in {each.volume for each in VolumeClient(str(pilotd.state / "volumed.sock")).list()}
    assert fly.run(fly.create(_with(image, late))["id"], "cat", "/data/file") == (0, "second\n")


def test_a_volume_becomes_larger(fly: Fly, image: str) -> None:
    """At once, where this host's root may grow what is mounted; else with the next start."""
    volume = _volume(fly)["id"]
    assert _of(fly, volume, "/extend", "PUT", {"size_gb": 2})["needs_restart"] is False
    id = fly.create(_with(image, volume))["id"]
    told = _of(fly, volume, "/extend", "PUT", {"size_gb": 3})
    waits = probes.missing("cap_sys_resource") is not None
    assert (told["needs_restart"], told["volume"]["size_gb"]) == (waits, 3)
    assert (_kib(fly, id) < 2 << 20) is waits
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert 2 << 20 < _kib(fly, id) < 3 << 20
    for wrong in (2, 0, 1 << 30):
        _of(fly, volume, "/extend", "PUT", {"size_gb": wrong}, status=400)


def _kib(fly: Fly, id: str) -> int:
    return int(fly.run(id, "sh", "-c", "df -k /data | tail -1")[1].split()[1])


def test_what_no_volume_can_be(fly: Fly, image: str) -> None:
    for wrong in ({"name": "a b"}, {"size_gb": -1}, {"size_gb": 1 << 20}, {"snapshot_retention": 0}, {"name": 5}):
        assert fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "data", **wrong}).status_code == 400, wrong
    refused = fly.call("POST", "", {"config": _with(image, "vol_0000000000000000")}, status=404)
    assert "volume not found" in refused["error"]
    assert fly.raw("GET", f"/v1/apps/{fly.app}/volumes").json() == []
    assert fly.call("GET", "") == []


def _secrets(fly: Fly, method: str, path: str = "", body: object = None, status: int = 200) -> JSON:
    answer = fly.raw(method, f"/v1/apps/{fly.app}/secrets{path}", body)
    assert answer.status_code == status, answer.text
    found: JSON = answer.json()
    return found


def test_secrets_are_in_the_machine_and_in_no_answer(fly: Fly, image: str, pilotd: Pilotd) -> None:
    content = base64.b64encode(_SECRET.encode()).decode()
    made = _secrets(fly, "POST", "/KEY", {"value": _SECRET}, status=201)
    _secrets(fly, "POST", body={"values": {"FILE": content, "OTHER": "x"}})
    config = {"image": image, "env": {"KEY": "public"}, "files": [{"guest_path": "/key", "secret_name": "FILE"}]}
    id = fly.create(config)["id"]
    assert fly.run(id, "sh", "-c", "echo $KEY; cat /key") == (0, f"{_SECRET}\n{_SECRET}")
    told = [fly.raw("GET", f"/v1/apps/{fly.app}/secrets?show_secrets=true"), fly.raw("GET", f"/v1/apps/{fly.app}")]
    told += [fly.raw("GET", f"/v1/apps/{fly.app}/secrets/KEY?show_secrets=true")]
    told += [fly.raw("GET", f"/v1/apps/{fly.app}/machines/{id}{each}") for each in ("", "/events", "/versions")]
    for answer in told:
        assert answer.status_code == 200
        assert _SECRET not in answer.text
        assert content not in answer.text
    rows = {row["name"]: row for row in told[0].json()["secrets"]}
    assert rows["KEY"]["digest"] == made["digest"]
    assert "value" not in rows["KEY"]
    for path in _files(pilotd.state):
        data = path.read_bytes()
        assert _SECRET.encode() not in data, path
        assert content.encode() not in data, path


def _files(state: pathlib.Path) -> Iterator[pathlib.Path]:
    """Those of pilotd: its store, journals of runs in it, logs."""
    return (path for path in state.iterdir() if path.is_file())


def test_secrets_change_with_the_next_start(fly: Fly, image: str) -> None:
    first = _secrets(fly, "POST", "/KEY", {"value": "first"}, status=201)
    id = fly.create({"image": image})["id"]
    second = _secrets(fly, "POST", body={"values": {"KEY": "second", "MORE": "more"}})
    assert second["version"] == first["version"] + 1
    assert fly.run(id, "sh", "-c", "echo $KEY$MORE") == (0, "first\n")
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "sh", "-c", "echo $KEY$MORE") == (0, "secondmore\n")
    _secrets(fly, "POST", body={"values": {"MORE": None}})
    _secrets(fly, "DELETE", "/KEY")
    _secrets(fly, "DELETE", "/KEY", status=404)
    assert _secrets(fly, "GET")["secrets"] == []
    for wrong in ({"a b": "x"}, {"KEY": "a\0b"}, {"KEY": "x" * (65 << 10)}):
        _secrets(fly, "POST", body={"values": wrong}, status=400)


def test_a_secret_that_there_is_not(fly: Fly, image: str) -> None:
    config = {"image": image, "files": [{"guest_path": "/key", "secret_name": "ABSENT"}]}
    id = fly.create(config, wait="failed")["id"]
    assert "no secret 'ABSENT'" in fly.call("GET", f"/{id}/events")[0]["request"]["error"]


def test_signals(fly: Fly, image: str) -> None:
    id = fly.create({"image": image, "restart": {"policy": "no"}})["id"]
    deadline = time.monotonic() + flyapi.WAIT_S
    while fly.run(id, "cat", "/tmp/asked") != (0, "asked\n"):
        fly.call("POST", f"/{id}/signal", {"signal": "SIGUSR1"})  # before it has a trap for it, it is nothing to PID 1
        assert time.monotonic() < deadline
    fly.call("POST", f"/{id}/signal", {"signal": "SIGWHAT"}, status=400)
    fly.call("POST", f"/{id}/signal", {"signal": 9})  # as flyctl's kill has it
    fly.wait(id, "stopped")
    event = fly.call("GET", f"/{id}/events")[0]["request"]["exit_event"]
    assert (event["guest_signal"], event["requested_stop"]) == (9, False)
    fly.call("POST", f"/{id}/signal", {"signal": 9}, status=412)


def test_processes_and_memory(fly: Fly, image: str) -> None:
    id = fly.create({"image": image})["id"]
    fly.run(id, "sh", "-c", "sleep 1000 >/dev/null 2>&1 &")
    found = fly.call("GET", f"/{id}/ps?sort_by=pid&order=asc")
    assert found[0]["pid"] == 1
    assert "sleep 1000" in [row["command"] for row in found]
    assert [row["pid"] for row in fly.call("GET", f"/{id}/ps?order=desc")][-1] == 1
    fly.call("GET", f"/{id}/ps?sort_by=beauty", status=400)
    memory = fly.call("GET", f"/{id}/memory")
    assert memory["limit_mb"] == 256
    assert 0 < memory["available_mb"] < 256
    assert fly.call("PUT", f"/{id}/memory", {"limit_mb": 192})["limit_mb"] == 192
    fly.call("PUT", f"/{id}/memory", {"limit_mb": 512}, status=400)
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    for path in ("/ps", "/memory"):
        fly.call("GET", f"/{id}{path}", status=412)
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.call("GET", f"/{id}/memory")["limit_mb"] == 256


def test_checks_are_told(fly: Fly, image: str) -> None:
    """Of the config and of services, while it runs and when it does not; nothing follows from them."""
    server = (
        "mkdir /w && echo up > /w/index.html; httpd -p 8000 -h /w; trap 'exit 0' INT TERM; while :; do sleep 0.1; done"
    )
    config = {
        "image": image, "init": {"exec": ["sh", "-c", server]},
        "checks": {"web": {"type": "http", "port": 8000, "path": "/index.html", "interval": "1s"},
                   "gone": {"type": "http", "port": 8000, "path": "/gone", "interval": "1s"}},
        "services": [{"internal_port": 8000, "checks": [{"type": "tcp"}]},
                     {"internal_port": 8001, "checks": [{"type": "tcp", "interval": "1s"}]}],
    }  # fmt: skip
    id = fly.create(config)["id"]
    wanted = {"web": "passing", "gone": "critical", "servicecheck-00-tcp-8000": "passing",
              "servicecheck-01-tcp-8001": "critical"}  # fmt: skip
    deadline = time.monotonic() + flyapi.WAIT_S
    while (found := {each["name"]: each["status"] for each in fly.get(id)["checks"]}) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert "404" in next(each["output"] for each in fly.get(id)["checks"] if each["name"] == "gone")
    (row,) = fly.call("GET", "")
    assert len(row["checks"]) == 4
    fly.run(id, "sh", "-c", "rm /w/index.html")
    while next(each["status"] for each in fly.get(id)["checks"] if each["name"] == "web") != "critical":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert fly.get(id)["state"] == "started"
    fly.call("POST", f"/{id}/stop")
    fly.wait(id, "stopped")
    assert {each["status"] for each in fly.get(id)["checks"]} == {"critical"}


@pytest.mark.parametrize("check", [{"type": "tcp"}, {"type": "http", "port": 1, "protocol": "https"}])
def test_a_check_that_cannot_be_is_refused(fly: Fly, image: str, check: dict[str, object]) -> None:
    fly.call("POST", "", {"config": {"image": image, "checks": {"up": check}}}, status=400)
    assert fly.call("GET", "") == []


def test_a_base_that_nobody_uses_goes(fly: Fly, pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    """And another Machine of the image has it made anew. It is looked for every ten seconds."""
    volumes = VolumeClient(str(pilotd.state / "volumed.sock"))
    made = images.busybox(tmp_path, {"Cmd": _FOREVER, "Labels": {"own": "base"}})
    base = f"image-{made.digest.partition(':')[2][:40]}"
    with images.serve(made) as served:
        config = {"image": f"{served.domain}/own"}
        id = fly.create(config)["id"]
        assert base in {each.volume for each in volumes.list()}
        fly.call("DELETE", f"/{id}?force=true")
        deadline = time.monotonic() + flyapi.WAIT_S
        while base in {each.volume for each in volumes.list()}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        fly.create(config)
    assert base in {each.volume for each in volumes.list()}
