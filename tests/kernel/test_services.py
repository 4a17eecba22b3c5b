"""Services with sprites-py, unmodified, on the real kernel: their whole life, and that of the sprite around them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sprites import services
from sprites.exceptions import APIError
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

DEADLINE_S = 60
official: Any = services


@pytest.fixture
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("serves")
        yield made
        made.destroy()


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _state(sprite: Any, name: str) -> str:
    return str(official.get_service(sprite, name).state.status)


def _create(sprite: Any, name: str, script: str, **rest: Any) -> list[Any]:
    return list(official.create_service(sprite, name, "sh", ["-c", script], duration=0.5, **rest))


def test_a_whole_life(sprite: Any) -> None:
    events = _create(sprite, "web", "echo up as $(id -un) in $(pwd); echo A=$A >&2; sleep 1000", env={"A": "1"})
    assert events[0].type == "started"
    assert events[-1].type == "complete"
    assert {event.type: event.data for event in events if event.data} == {
        "stdout": "up as sprite in /home/sprite\n", "stderr": "A=1\n",
    }  # fmt: skip
    (row,) = official.list_services(sprite)
    assert (row.name, row.cmd, row.state.status, row.env) == ("web", "sh", "running", {"A": "1"})
    assert [event.type for event in official.stop_service(sprite, "web", 5)][-2:] == ["stopped", "complete"]
    with pytest.raises(APIError, match="not running"):
        list(official.stop_service(sprite, "web", 5))
    assert list(official.start_service(sprite, "web", 0.5))[-1].type == "complete"
    _until(lambda: _state(sprite, "web") == "running")
    official.signal_service(sprite, "web", "SIGKILL")
    _until(lambda: _state(sprite, "web") == "failed")
    _until(lambda: _state(sprite, "web") == "running")
    assert official.get_service(sprite, "web").state.restart_count > 0
    with pytest.raises(APIError):
        official.signal_service(sprite, "web", "SIGNONE")
    official.delete_service(sprite, "web")
    assert official.list_services(sprite) == []
    with pytest.raises(APIError, match="not found"):
        official.get_service(sprite, "web")


def test_it_is_made_and_stopped_from_inside(sprite: Any) -> None:
    env = "/.sprite/bin/sprite-env"
    made = ("services", "create", "mine", "--cmd", "sleep", "--args", "1000", "--duration", "1s")
    assert b'"type":"started"' in sprite.run(env, *made, capture_output=True, check=True).stdout
    assert [service.name for service in official.list_services(sprite)] == ["mine"]
    sprite.run(env, "services", "stop", "mine", check=True)
    assert _state(sprite, "mine") == "stopped"
    sprite.run(env, "services", "delete", "mine", check=True)
    assert official.list_services(sprite) == []


def test_what_is_for_those_inside_is_found_by_its_name(sprite: Any) -> None:
    """By a command, in a login, by root; and it stands behind what they have of their own."""
    found = "/.sprite/bin/sprite-env\n/.sprite/bin/sprite-console\n"
    which = "command -v sprite-env && command -v sprite-console"
    for words in (("sh", "-c", which), ("bash", "-lc", which), ("sudo", "sh", "-c", which)):
        assert sprite.run(*words, capture_output=True, check=True).stdout.decode() == found
    said = sprite.run("sprite-console", "-c", "echo $0 $SHELL $PWD; shopt -q login_shell", capture_output=True)
    assert (said.returncode, said.stdout.decode()) == (0, "/bin/bash /bin/bash /home/sprite\n")
    sprite.run("sudo", "chsh", "-s", "/bin/sh", "sprite", check=True)
    said = sprite.run("sprite-console", "-c", "echo $0", capture_output=True, check=True)
    assert said.stdout.decode() == "/bin/sh\n"


def test_needs_and_one_http_port(sprite: Any) -> None:
    _create(sprite, "base", "sleep 1000", http_port=8080)
    with pytest.raises(APIError) as refused:
        _create(sprite, "second", "sleep 1000", http_port=8081)
    assert refused.value.status_code == 409
    assert "another service already has an HTTP port configured" in str(refused.value.response)
    _create(sprite, "above", "sleep 1000", needs=["base"])
    with pytest.raises(APIError) as needed:
        official.delete_service(sprite, "base")
    assert needed.value.status_code == 409
    official.delete_service(sprite, "above")
    official.delete_service(sprite, "base")


def _self(sprite: Any) -> Any:
    said = sprite.run("/.sprite/bin/sprite-env", "curl", "/v1/self", capture_output=True, check=True).stdout
    return json.loads(said)


def test_it_knows_from_its_host_who_it_is(pilotd: Pilotd, sprite: Any) -> None:
    """After another agent, and another pilotd, too. The way to the host is in the machine alone."""
    first = _self(sprite)
    assert (first["sprite"], first["isolation"]) == ("serves", "container")
    assert sprite.run("test", "-e", "/run/host").returncode == 1
    os.kill(_agent(), signal.SIGKILL)
    assert _self(sprite) == first
    pilotd.kill()
    pilotd.start()
    assert _self(sprite) == first


def test_they_are_started_on_wake_and_what_is_stopped_is_not(pilotd: Pilotd, sprite: Any) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    _create(sprite, "runs", "echo $$ >> ~/starts; sleep 1000")
    _create(sprite, "rests", "sleep 1000")
    list(official.stop_service(sprite, "rests", 5))
    httpx.post(f"{pilotd.url}/v1/sprites/serves/stop", headers=headers, timeout=60).raise_for_status()
    _until(lambda: _state(sprite, "runs") == "running")
    assert _state(sprite, "rests") == "stopped"
    assert len(sprite.run("cat", "starts", capture_output=True).stdout.splitlines()) == 2


def test_a_checkpoint_has_them_and_a_restore_brings_them_back(pilotd: Pilotd, sprite: Any) -> None:
    _create(sprite, "kept", "sleep 1000")
    list(sprite.create_checkpoint("with it"))
    official.delete_service(sprite, "kept")
    _create(sprite, "later", "sleep 1000")
    list(sprite.restore_checkpoint("v1"))
    assert [row.name for row in official.list_services(sprite)] == ["kept"]
    _until(lambda: _state(sprite, "kept") == "running")


def test_an_agent_that_is_killed_keeps_them(pilotd: Pilotd, sprite: Any) -> None:
    _create(sprite, "kept", "echo said; sleep 1000")
    before = official.get_service(sprite, "kept").state.pid
    os.kill(_agent(), signal.SIGKILL)
    _until(lambda: official.get_service(sprite, "kept").state.pid == before)


def test_who_listens_to_a_quiet_one_and_leaves_keeps_no_sprite_awake(pilotd: Pilotd, sprite: Any) -> None:
    _create(sprite, "quiet", "echo said; sleep 1000")
    of_it = f"{pilotd.url}/v1/sprites/serves"
    headers = {"Authorization": f"Bearer {pilotd.token()}"}

    def held_by() -> list[str]:
        return list(httpx.get(f"{of_it}/why", headers=headers, timeout=60).json()["held_by"])

    with httpx.stream("GET", f"{of_it}/services/quiet/logs?duration=1h", headers=headers, timeout=60) as answer:
        told = answer.iter_text()  # one that nobody holds is closed, and the connection with it
        assert "said" in next(told)
        assert held_by()
    _until(lambda: not held_by())


def _agent() -> int:
    """Its pid. What it has just cloned still has its command line, until it becomes another program."""
    alike = {
        int(path.parent.name): path.with_name("status")
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
        if b"/usr/bin/python3\0-ISE\0/usr/lib/pilot" in _read(path) and b"pilot-init" not in _read(path)
    }
    parents = {pid: re.search(rb"^PPid:\t(\d+)$", _read(status), re.MULTILINE) for pid, status in alike.items()}
    (agent,) = [pid for pid, parent in parents.items() if parent is not None and int(parent[1]) not in alike]
    return agent


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _inside(sprite: Any, words: str) -> tuple[int, str]:
    done = sprite.run("sh", "-c", f"{{ {words}\n}} 2>&1", capture_output=True)
    return done.returncode, bytes(done.stdout).decode()


def test_what_they_say_is_a_file_inside(sprite: Any) -> None:
    told = _create(sprite, "talks", "printf 'one\\ntwo'; echo wrong >&2; sleep 1000")
    assert told[-1].log_files == {"combined": "/.sprite/logs/services/talks.log"}
    assert _inside(sprite, "ls /.sprite/logs /.sprite/logs/services") == (
        0, "/.sprite/logs:\nevents.ndjson\nservices\n\n/.sprite/logs/services:\ntalks.log\n",
    )  # fmt: skip
    time_ = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*Z"
    code, said = _inside(sprite, "cat /.sprite/logs/services/talks.log")
    assert code == 0
    assert [re.sub(time_, "T", line) for line in sorted(said.splitlines(), key=lambda line: line.split()[1:])] == [
        "T [stderr] wrong", "T one", "T two",
    ]  # fmt: skip
    assert re.match(time_, said)
    assert (
        _inside(sprite, "tail -n 1 /.sprite/logs/services/talks.log; wc -l < /.sprite/logs/services/talks.log")[0] == 0
    )
    events = _inside(sprite, "cat /.sprite/logs/events.ndjson")[1].splitlines()
    assert "agent.started" in [json.loads(line)["type"] for line in events]
    for words in ("sudo sh -c 'echo x >>/.sprite/logs/services/talks.log'", "sudo rm /.sprite/logs/events.ndjson"):
        code, said = _inside(sprite, words)
        assert (code != 0, "Read-only" in said or "not permitted" in said) == (True, True), said
    assert _inside(sprite, "cat /.sprite/logs/services/none.log")[0] == 1
    copied = (
        "import os, shutil; shutil.copyfile('/.sprite/logs/services/talks.log', '/tmp/copied');"
        "print(os.path.getsize('/tmp/copied') > 0)"
    )
    assert _inside(sprite, f'python3 -c "{copied}"') == (0, "True\n"), "sendfile(2) is refused"
    with_open = "exec 3</.sprite/logs/services/talks.log; echo"
    assert _inside(sprite, f"for i in $(seq 20); do ({with_open} $i); done")[1].splitlines()[-1] == "20"
