"""`pilot machine` as people run it: a process, against a pilotd and its Machines on the real kernel."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support import flyapi, images, store
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_FOREVER = ["sh", "-c", "trap 'exit 0' INT TERM; echo up; while :; do sleep 0.1; done"]
_SOURCE = pathlib.Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _FOREVER})) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture(scope="module")
def pilotd() -> Iterator[Pilotd]:
    with flyapi.serving() as daemon:
        yield daemon


class Command:
    """Of one app, with a home of its own."""

    def __init__(self, pilotd: Pilotd, app: str, home: pathlib.Path) -> None:
        self.environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(_SOURCE), "FLY_API_HOSTNAME": pilotd.url,
            "FLY_API_TOKEN": pilotd.token(), "FLY_APP": app,
        }  # fmt: skip

    def __call__(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pilot.command", "machine", *words], env=self.environment, input=stdin,
            capture_output=True, timeout=300, check=False, text=True,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def on_a_terminal(self, *words: str, **more: str) -> str:
        """What is shown there."""
        ours_fd, theirs_fd = pty.openpty()
        done = subprocess.Popen(
            [sys.executable, "-m", "pilot.command", "machine", *words], env={**self.environment, **more},
            stdin=theirs_fd, stdout=theirs_fd, stderr=theirs_fd,
        )  # fmt: skip
        os.close(theirs_fd)
        shown = b""
        with open(ours_fd, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: all have closed it
            while data := terminal.read(4096):
                shown += data
        assert done.wait(300) == 0
        return shown.decode()

    def document(self, *words: str) -> Any:
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.removeprefix("test_").replace("_", "-")[:60]) as app:
        yield app


@pytest.fixture
def machine(pilotd: Pilotd, fly: Fly, tmp_path: pathlib.Path) -> Command:
    return Command(pilotd, fly.app, tmp_path)


def test_from_run_to_destroy(machine: Command, fly: Fly, image: str) -> None:
    code, out, err = machine("run", image, "--name", "web", "-e", "COLOUR=red", "--memory", "300", "-p", "80:8000:http")
    assert (code, err) == (0, "")
    id, name, state = out.split()
    assert (name, state) == ("web", "started")
    config = fly.get(id)["config"]
    assert (config["env"], config["guest"]) == ({"COLOUR": "red"}, {"memory_mb": 300})
    assert config["services"][0]["ports"] == [{"port": 80, "handlers": ["http"]}]
    assert [row["id"] for row in machine.document("list")] == [id]
    assert machine("list")[1].split()[:3] == ["ID", "NAME", "STATE"]
    assert "80:8000:http" in machine("status", "web")[1]
    assert machine("exec", "web", "sh", "-c", "echo $COLOUR; echo err >&2; exit 7") == (7, "red\n", "err\n")
    assert machine("exec", "-i", "web", "--", "cat", stdin="in") == (0, "in", "")
    assert machine("stop", "web") == (0, f"{id}  web  stopped\n", "")
    assert machine("start", "web") == (0, f"{id}  web  started\n", "")
    assert machine("suspend", id) == (0, f"{id}  web  suspended\n", "")
    assert machine("start", id)[0] == 0
    shown = machine.on_a_terminal("stop", "web")
    assert f"\r{id}  stopping  0 s" in shown or f"\r{id}  …  0 s" in shown
    assert shown.rpartition("\r\x1b[K")[2] == f"{id}  web  stopped\r\n"  # and what was shown meanwhile is gone
    assert "\x1b[34mstopped" in machine.on_a_terminal("list")
    assert "\x1b" not in machine.on_a_terminal("list", NO_COLOR="1")
    assert machine("start", id)[0] == 0
    before = fly.get(id)["events"][0]["id"]
    assert machine("restart", id, "--timeout", "10s") == (0, f"{id}  web  started\n", "")
    assert fly.get(id)["events"][0]["id"] > before
    code, out, err = machine("update", "web", "--memory", "320", "-e", "SIZE=big")
    assert (code, out.split()[2], err) == (0, "started", "")
    assert fly.get(id)["config"]["env"] == {"COLOUR": "red", "SIZE": "big"}
    assert fly.get(id)["config"]["guest"] == {"memory_mb": 320}
    assert machine("fork-to-sprite", "web", "of-web")[1].split()[0] == "of-web"
    assert fly.raw("DELETE", "/v1/sprites/of-web").status_code == 204
    told = machine("events", "web")[1].splitlines()
    assert told[0].split() == ["AT", "WHAT", "STATE", "BY", "WHY"]
    assert "launch" in told[1]
    code, _, err = machine("destroy", "web")
    assert (code, "412" in err, "web: " in err) == (1, False, True)
    assert machine("destroy", "web", "--force") == (0, f"{id}  web  destroyed\n", "")
    assert machine("list", "--json") == (0, "[]\n", "")


def _logs(machine: Command, id: str, out: list[str], err: list[str]) -> tuple[int, str, str]:
    """As soon as all of that is in them."""
    told: list[tuple[int, str, str]] = []

    def is_written() -> bool:
        told.append(machine("logs", id))
        assert told[-1][0] == 0, told[-1]
        return all(each in told[-1][1] for each in out) and all(each in told[-1][2] for each in err)

    store.wait_for(is_written)
    return told[-1]


def test_logs_of_several_containers(machine: Command, fly: Fly, image: str) -> None:
    said = "echo out-{0}; echo err-{0} >&2; while :; do sleep 0.1; done"
    rows = [{"name": name, "image": image, "cmd": ["sh", "-c", said.format(name)]} for name in ("one", "two")]
    id = fly.create({"containers": rows})["id"]
    fly.run(id, "true", container="two")
    told = _logs(machine, id, ["out-one", "out-two"], ["err-one", "err-two"])
    assert sorted(told[1].splitlines()) == ["one | out-one", "two | out-two"]
    assert sorted(told[2].splitlines()) == ["one | err-one", "two | err-two"]
    assert machine("logs", id, "--container", "two") == (0, "out-two\n", "err-two\n")
    code, out, err = machine("logs", id, "--container", "three")
    assert (code, out, err) == (1, "", "pilot machine: logs: no container three; it has one, two\n")
    with subprocess.Popen(
        [sys.executable, "-m", "pilot.command", "machine", "logs", "-f", id, "--json"], env=machine.environment,
        stdout=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        first = [json.loads(following.stdout.readline()) for _ in range(4)]
        assert {each["container"] for each in first} == {"one", "two"}
        assert machine("stop", id)[0] == 0  # which ends what follows it
        assert following.wait(60) == 0
    code, out, err = machine("logs", id)  # of a stopped one what was kept
    assert (code, sorted(out.splitlines()), sorted(err.splitlines())) == (
        0, ["one | out-one", "two | out-two"], ["one | err-one", "two | err-two"],
    )  # fmt: skip
    assert machine("logs", "-f", "--container", "two", id) == (0, "out-two\n", "err-two\n")
    kept = fly.pilotd.state / "machine-logs" / id
    assert kept.stat().st_mode & 0o777 == 0o600
    assert machine("destroy", id)[0] == 0
    assert not kept.exists()


def test_why_it_does_not_run(machine: Command, fly: Fly, image: str, tmp_path: pathlib.Path) -> None:
    gate = "until [ -e /gate ]; do sleep 0.1; done; "
    code, out, err = machine("run", image, "--restart", "no", "--", "sh", "-c", f"{gate}echo why; exit 3")
    assert (code, err) == (0, "")
    id = out.split()[0]
    machine("exec", id, "touch", "/gate")  # which may not be answered any more
    fly.wait(id, "stopped")
    assert "exit code 3" in machine("status", id)[1]
    assert machine("logs", id) == (0, "why\n", "")  # which is when somebody wants to know
    code, _, err = machine("run", image, "--restart", "no", "--", "sh", "-c", "exit 3")
    assert (code, "exit code 3" in err) in ((0, False), (1, True))  # it ran on when it was looked at, or not
    for _ in range(3):
        assert machine("run", image, "--rm", "--memory", "512", "--", "sh", "-c", "date; uname -a")[::2] == (0, "")
    wanted = tmp_path / "config.json"
    wanted.write_text(json.dumps({"image": image, "files": [{"guest_path": "/key", "secret_name": "none"}]}))
    code, out, err = machine("run", "--config", str(wanted))
    assert (code, out, "is failed: " in err, "the app has no secret 'none'" in err) == (1, "", True, True)
    code, out, err = machine("run", "127.0.0.1:1/none:1")
    assert (code, out, "127.0.0.1:1" in err) == (1, "", True)
    code, out, err = machine("run", image, "--memory", "much")
    assert (code, out, err) == (2, "", "pilot machine: --memory much: it is a number\n")
    code, out, err = machine("exec", "nothing", "true")
    assert (code, err) == (1, f"pilot machine: app {fly.app} has no machine nothing ('pilot machine list' has all)\n")


def test_apps(machine: Command, image: str) -> None:
    assert machine("app", "create", "another")[:2] == (0, "another\n")
    assert "another" in machine("app", "list")[1]
    code, _, err = machine("run", "-a", "nowhere", image)
    assert (code, "pilot machine app create nowhere" in err) == (1, True)
    assert machine("app", "destroy", "another")[0] == 1  # nobody is there to be asked
    assert machine("app", "destroy", "another", "--force") == (0, "", "")
    assert "another" not in machine("app", "list")[1]


_COMPOSE = """
services:
  web:
    image: ${IMAGE}
    command: sh -c 'cat /etc/greeting /run/secrets/key > /data/told; httpd -f -p 8000 -h /data'
    depends_on: { store: { condition: service_healthy } }
    ports: ["8080:8000"]
    configs: [{ source: greeting, target: /etc/greeting }]
    secrets: [key]
    volumes: ["data:/data", "shared:/shared"]
    healthcheck: { test: "wget -q -O - http://web:8000/told", interval: 1s }
    restart: unless-stopped
  store:
    image: ${IMAGE}
    command: [sh, -c, "touch /shared/ready; exec sleep 1000"]
    healthcheck: { test: [CMD, test, -e, /shared/ready], interval: 1s }
    volumes: ["shared:/shared"]
volumes:
  data: {}
  shared: { driver_opts: { type: tmpfs, device: tmpfs, o: size=8m } }
configs: { greeting: { file: greeting.txt } }
secrets: { key: { environment: KEY } }
"""


def test_a_compose_file(machine: Command, fly: Fly, image: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "compose.yaml").write_text(_COMPOSE)
    (tmp_path / "greeting.txt").write_text("hello ")
    machine.environment |= {"IMAGE": image, "KEY": "s3cret"}
    said = ("run", "--compose", str(tmp_path / "compose.yaml"), "--name", "shop")
    code, out, err = machine(*said)
    assert (code, err) == (0, "")
    id = out.split()[0]
    fetch = "until wget -q -O - http://web:8000/told; do sleep 0.1; done"  # by its name, from the other one
    assert fly.run(id, "sh", "-c", fetch, container="store") == (0, "hello s3cret")
    assert "s3cret" not in json.dumps(fly.get(id))
    assert fly.run(id, "touch", "/data/kept", container="web")[0] == 0
    [volume] = fly.raw("GET", f"/v1/apps/{fly.app}/volumes").json()
    assert (volume["name"], volume["attached_machine_id"]) == ("data", id)
    assert machine("update", "shop", "--compose", said[2], "--memory", "300")[0] == 0  # with its own volume still
    assert [row["id"] for row in fly.raw("GET", f"/v1/apps/{fly.app}/volumes").json()] == [volume["id"]]
    assert fly.run(id, "sh", "-c", fetch, container="store")[1] == "hello s3cret"
    assert fly.run(id, "ls", "/data/kept", container="web")[0] == 0
    config = fly.get(id)["config"]
    assert config["services"][0]["internal_port"] == 8000
    (tmp_path / "less.yaml").write_text("services: {web: {image: '${IMAGE}', command: [sleep, '1000']}}")
    assert machine("update", "shop", "--compose", str(tmp_path / "less.yaml"))[::2] == (0, "")
    less = fly.get(id)["config"]
    assert (set(config) - set(less), less["guest"]) == ({"services", "volumes", "mounts"}, {"memory_mb": 300})
    (tmp_path / "wrong.yaml").write_text(_COMPOSE.replace("restart: unless-stopped", "privileged: true"))
    code, out, err = machine("run", "--compose", str(tmp_path / "wrong.yaml"))
    assert (code, out) == (1, "")
    assert err == f"pilot machine: {tmp_path}/wrong.yaml:12: services.web.privileged: only false is possible\n"
