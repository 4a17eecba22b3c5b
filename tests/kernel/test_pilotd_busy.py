"""An agent that stands still, under many calls: nothing that runs in its machine ends for that."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import pathlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

CALLS = 200


@pytest.fixture
def pilotd(tmp_path: pathlib.Path) -> Iterator[Pilotd]:
    with Pilotd(tmp_path / "state").running() as made:
        yield made


def _agents() -> list[int]:
    """Of the machines in this namespace, and what they have forked."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"/usr/bin/python3", b"-ISE"]:
            found.append(int(entry))
    return found


def _began(sprite: Any) -> bytes:
    """When the world's init was started."""
    stat: bytes = sprite.run("cat", "/proc/1/stat", capture_output=True, check=True).stdout
    return stat.rpartition(b")")[2].split()[19]


def test_it_stands_still_for_seconds_under_200_calls(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("busy")
        kept = sprite.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!", capture_output=True, check=True)
        pid = kept.stdout.decode().strip()
        began = _began(sprite)
        agents = _agents()
        assert agents
        statuses: collections.Counter[int] = collections.Counter()
        refused = threading.Event()
        headers = {"Authorization": f"Bearer {pilotd.token()}"}

        def call(number: int) -> None:
            answer = httpx.get(
                f"{pilotd.url}/v1/sprites/busy/fs/read?path=/etc/os-release", headers=headers, timeout=120
            )
            statuses[answer.status_code] += 1
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                refused.set()

        for agent in agents:
            os.kill(agent, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(CALLS, "caller") as pool:
                calls = [pool.submit(call, number) for number in range(CALLS)]
                assert refused.wait(60), statuses
                for agent in agents:
                    os.kill(agent, signal.SIGCONT)
                for ended in calls:
                    ended.result(120)
        finally:
            for agent in agents:
                os.kill(agent, signal.SIGCONT)
        assert set(statuses) <= {200, 502, 503}, statuses
        assert httpx.get(f"{pilotd.url}/v1/sprites/busy", headers=headers).json()["status"] == "running"
        assert _began(sprite) == began
        assert sprite.run("kill", "-0", pid).returncode == 0, "what ran before runs on"
        assert set(agents) <= set(_agents()), pilotd.tail()
