"""Running, warm and cold on the real kernel: what is frozen stands still, and goes on where it was."""

from __future__ import annotations

import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd
from tests.support.typist import Typist

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

DEADLINE_S = 60
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.01; done"


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(
        tmp_path_factory.mktemp("lifecycle") / "state", extra=("--warm-after", "1", "--cold-after", "off")
    ).running() as daemon:
        yield daemon


def _until(condition: Callable[[], bool], pilotd: Pilotd) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, pilotd.tail()
        time.sleep(0.05)


def _state(pilotd: Pilotd, status: str, name: str = "web") -> bool:
    with pilotd.client() as client:
        return bool(client.get_sprite(name).status == status)


def _processes(command: str) -> set[pathlib.Path]:
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if command in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.add(path.parent)
        except OSError:
            continue  # it has ended meanwhile
    return found


def _cpu(path: pathlib.Path) -> int:
    fields = (path / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_what_its_user_remembers_of_a_boot_ends_with_it(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("boots")
        words = "stat -c '%u %g %a' /run/user/1000; ls -A /run/user/1000; echo 7 > /run/user/1000/pause.pid"
        answers = []
        for _ in range(2):
            answers.append(sprite.run("sh", "-c", words, capture_output=True, check=True).stdout)
            headers = {"Authorization": f"Bearer {pilotd.token()}"}
            httpx.post(f"{pilotd.url}/v1/sprites/boots/stop", headers=headers, timeout=60).raise_for_status()
        sprite.destroy()
    assert answers == [b"1000 1000 700\n"] * 2


def test_an_unused_sprite_is_warm_and_its_memory_goes_on(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("web")
        sprite.run("sh", "-c", f"({COUNT}) >/dev/null 2>&1 & echo $!", check=True)
        _until(lambda: _state(pilotd, "warm"), pilotd)
        (counting,) = _processes("echo $i > /tmp/count")
        before = _cpu(counting)
        time.sleep(0.3)
        assert _cpu(counting) == before, "a frozen process takes no processor time"
        first = int(sprite.run("cat", "/tmp/count", capture_output=True).stdout)
        assert counting.exists(), "the same process: its memory was kept"
        second = int(sprite.run("sh", "-c", "sleep 0.3; cat /tmp/count", capture_output=True).stdout)
        assert second > first
        sprite.destroy()
        assert not counting.exists()


def test_an_attached_command_keeps_it_awake(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("busy")
        done = sprite.run("sh", "-c", "sleep 3; cut -d' ' -f1 /proc/uptime", capture_output=True)
        assert done.returncode == 0
        assert sprite.run("true").returncode == 0
        sprite.destroy()


def test_a_terminal_that_nobody_uses_does_not_keep_it_awake(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("left")
        _terminal_idle(pilotd, "left", 1)
        first = Typist(pilotd, tmp_path, "exec", "-s", "left", "--", "cat")
        assert first.end() == 1
        told = re.search(rb"detached: no input or output for 1 s; it runs on: (sprite attach -s left \d+)", first.seen)
        assert told, first.seen
        _until(lambda: _state(pilotd, "warm", "left"), pilotd)
        _terminal_idle(pilotd, "left", None)
        again = Typist(pilotd, tmp_path, *told[1].decode().split()[1:])
        again.type(b"hello\n")
        again.until(b"hello\r\nhello\r\n")  # its terminal's echo, and the same cat
        assert "open connection" in str(_held_by(pilotd, "left"))
        again.type(b"\x04")
        assert again.end() == 0
        sprite.destroy()


def _terminal_idle(pilotd: Pilotd, name: str, seconds: float | None) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    changes = {"lifecycle": {"terminal_idle_s": seconds}}
    answer = httpx.put(f"{pilotd.url}/v1/sprites/{name}", json=changes, headers=headers, timeout=60).raise_for_status()
    assert answer.json()["lifecycle"]["terminal_idle_s"] == seconds


def test_a_task_of_its_own_keeps_it_awake(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("tasked")
        env = "/.sprite/bin/sprite-env"
        sprite.run(env, "tasks", "create", "build", "--expire", "1h", check=True)
        _until(lambda: _held_by(pilotd, "tasked") == ["task build"], pilotd)
        said = sprite.run(
            "sh", "-c", f"sleep 2; {env} tasks list; head -1 /.sprite/llm.txt", capture_output=True
        ).stdout
        assert (b'"name":"build"' in said, b"# You are in a sprite" in said) == (True, True)
        _until(lambda: _idle_s(pilotd, "tasked") > 2, pilotd)
        assert _state(pilotd, "running", "tasked"), "nobody has used it for longer than it may be unused"
        sprite.run(env, "tasks", "delete", "build", check=True)
        _until(lambda: _state(pilotd, "warm", "tasked"), pilotd)
        sprite.destroy()


def _why(pilotd: Pilotd, name: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    found: dict[str, Any] = httpx.get(f"{pilotd.url}/v1/sprites/{name}/why", headers=headers, timeout=60).json()
    return found


def _held_by(pilotd: Pilotd, name: str) -> list[str]:
    return list(_why(pilotd, name)["held_by"])


def _idle_s(pilotd: Pilotd, name: str) -> float:
    return float(_why(pilotd, name)["idle_s"])


def test_a_pilotd_that_is_killed_finds_it_warm_and_wakes_it(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("kept")
        sprite.run("sh", "-c", f"({COUNT}) >/dev/null 2>&1 &", check=True)
        _until(lambda: _state(pilotd, "warm", "kept"), pilotd)
        (counting,) = _processes("echo $i > /tmp/count")
        pilotd.kill()
        pilotd.start()
        assert _state(pilotd, "warm", "kept")
        assert sprite.run("true").returncode == 0
        assert counting.exists()
        sprite.destroy()


def test_a_checkpoint_and_a_restore_of_one_that_is_warm(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("cut")
        sprite.run("sh", "-c", "echo good > ~/file", check=True)
        _until(lambda: _state(pilotd, "warm", "cut"), pilotd)
        list(sprite.create_checkpoint("c"))
        assert _state(pilotd, "warm", "cut"), "the host freezes the filesystem: nobody has to wake"
        sprite.run("sh", "-c", "echo bad > ~/file", check=True)
        _until(lambda: _state(pilotd, "warm", "cut"), pilotd)
        list(sprite.restore_checkpoint("v1"))
        assert sprite.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"good\n"
        sprite.destroy()
