"""kill -9 of pilotd while it writes audit logs: each goes on whole, and says that it was not closed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

KILLS = 2


@pytest.fixture
def pilotd(tmp_path: pathlib.Path) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path / "state")
    daemon.store = f"file://{tmp_path}/store"
    with daemon.running():
        yield daemon


def _sprite(pilotd: Pilotd, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "pilot.client.main", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _log(pilotd: Pilotd, to: pathlib.Path) -> list[dict[str, Any]]:
    """As the command line reads and verifies it."""
    read = _sprite(pilotd, "audit", "web", "--json")
    assert read.returncode == 0, read.stderr
    to.write_text(read.stdout)
    verified = _sprite(pilotd, "audit", "verify", str(to))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert ": whole: " in verified.stdout
    return [json.loads(line) for line in read.stdout.splitlines()[:-1]]


def _change(pilotd: Pilotd, http: httpx.Client, answered: list[str], reached: threading.Event) -> None:
    """One after the other, until nobody answers."""
    for number in range(100_000):
        label = f"n{len(answered)}-{number}"
        try:
            http.put(f"{pilotd.url}/v1/sprites/web", json={"labels": [label]}).raise_for_status()
        except httpx.TransportError:
            return
        answered.append(label)
        if number == 20:
            reached.set()


def test_what_was_decided_survives_pilotds_that_are_killed(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(headers=headers, timeout=60) as http:
        assert http.post(f"{pilotd.url}/v1/sprites", json={"name": "web"}).status_code == 201
        before: list[dict[str, Any]] = []
        for _ in range(KILLS):
            answered: list[str] = []
            reached = threading.Event()
            asking = threading.Thread(target=_change, args=(pilotd, http, answered, reached), name="asking")
            asking.start()
            assert reached.wait(60)
            pilotd.kill()
            asking.join(60)
            pilotd.start()
            found = _log(pilotd, tmp_path / "web.ndjson")
            assert found[: len(before)] == before, "what was there is as it was"
            new = found[len(before) :]
            assert (new[-1]["what"], new[-1]["detail"]["was_closed"]) == ("opened", False)
            written = sum(each["what"] == "updateSprite" and each["decision"] == "allowed" for each in new)
            # The last that was answered may have been told in the very moment of the kill.
            assert written >= len(answered) - 1
            before = found
    command = _sprite(pilotd, "exec", "-s", "web", "--", "echo", "hello")
    assert (command.returncode, command.stdout) == (0, "hello\n")
    last = _log(pilotd, tmp_path / "web.ndjson")[-1]
    assert (last["kind"], last["detail"]["cmd"]) == ("exec", ["echo", "hello"])
    pilotd.stop()
    shipped = sorted((tmp_path / "store" / "audit").glob("*/sprites/*/*.ndjson"))
    assert [json.loads(line)["what"] for line in shipped[0].read_bytes().splitlines()][-1] == "closed"
