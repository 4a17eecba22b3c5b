"""Templates, several forks at once, and what is in a checkpoint, on real disks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

FILL = "mkdir ~/d; cd ~/d; echo one > file; ln -s ../d/file link; ln -s /etc/shadow out; mkfifo fifo; sync"


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path_factory.mktemp("templates") / "state")
    daemon.stop_machines_on_exit = True
    daemon.start()
    yield daemon
    daemon.stop()


def _call(pilotd: Pilotd, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.request(method, f"{pilotd.url}{path}", headers=headers, json=body, timeout=120)


def test_forks_begin_as_their_template_and_it_can_be_looked_into(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        base = client.create_sprite("base")
        base.run("sh", "-c", FILL, check=True)
        home = base.run("sh", "-c", "cd; pwd", capture_output=True).stdout.decode().strip()
        assert _call(pilotd, "POST", "/v1/sprites/base/checkpoint", {"name": "ready"}).status_code == 200
        base.run("sh", "-c", "echo two > ~/d/file; sync", check=True)
        inside = f"/v1/sprites/base/checkpoints/ready/fs/list?path={home}/d"
        entries = _call(pilotd, "GET", inside).json()["entries"]
        assert [(row["name"], row["type"]) for row in entries] == [
            ("fifo", "file"), ("file", "file"), ("link", "symlink"), ("out", "symlink"),
        ]  # fmt: skip
        read = f"/v1/sprites/base/checkpoints/ready/fs/read?path={home}/d"
        assert _call(pilotd, "GET", f"{read}/link").content == b"one\n"
        assert _call(pilotd, "GET", f"{read}/fifo").status_code == 400, "which would wait for a writer"
        shadow = _call(pilotd, "GET", f"{read}/out")
        mine = base.run("sh", "-c", "cat /etc/shadow 2>/dev/null", capture_output=True).stdout
        assert shadow.status_code == 404 or shadow.content == mine or not mine, "the sprite's own, never the host's"
        wanted = {"names": ["a", "b", "c"], "checkpoint": "ready"}
        assert _call(pilotd, "POST", "/v1/sprites/base/fork", wanted).status_code == 201
        assert _call(pilotd, "POST", "/v1/sprites", {"name": "d", "template": "base:ready"}).status_code == 201
        base.destroy()
        for name in ("a", "b", "c", "d"):
            sprite = client.get_sprite(name)
            assert sprite.run("sh", "-c", "cat ~/d/link", capture_output=True).stdout == b"one\n"
            sprite.destroy()
