"""Sprites whose disks are in S3: the host is lost with all that it had, another pilotd brings them back by URL."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from tests.support import leftovers, lost, store
from tests.support.pilotd import Pilotd

from pilot.ids import VolumeId
from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address, port = server.get_host_and_port()
        store.use_s3(monkeypatch, f"http://{address}:{port}", "sprites")
        yield "s3://sprites/prefix"
    finally:
        server.stop()


@contextlib.contextmanager
def _pilotd(state: pathlib.Path, url: str) -> Iterator[Pilotd]:
    """Stopped at the end, unless it was lost."""
    pilotd = Pilotd(state)
    pilotd.stop_machines_on_exit, pilotd.store = True, url
    pilotd.start()
    try:
        yield pilotd
    finally:
        if pilotd.process is not None:
            pilotd.stop()


def _call(pilotd: Pilotd, method: str, path: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.request(method, f"{pilotd.url}/v1{path}", headers=headers, timeout=60, **body)


def _bring(pilotd: Pilotd, name: str, url: str) -> httpx.Response:
    return _call(pilotd, "POST", "/sprites", json={"name": name, "from": {"url": url}})


def _lose(pilotd: Pilotd) -> None:
    """The host is gone: every process and network of it, its state directory."""
    lost.go_down(pilotd)
    shutil.rmtree(pilotd.state)


def _durable_after(pilotd: Pilotd, name: str, since: str) -> str | None:
    """The disk's URL, once the store has a state of it that is later than `since`."""
    disk = _call(pilotd, "GET", f"/sprites/{name}/disk").json()
    return str(disk["url"]) if (disk["durable_at"] or "") > since else None


def _content(sprite: Any) -> bytes:
    return bytes(sprite.run("cat", "/home/sprite/file", capture_output=True, check=True).stdout)


def test_a_lost_host_and_its_sprite_elsewhere(tmp_path: pathlib.Path, bucket: str) -> None:
    before = leftovers.observe()
    with _pilotd(tmp_path / "first", bucket) as first, first.client() as client:
        sprite = client.create_sprite("kept")
        sprite.run("sh", "-c", "echo early > ~/file; sync", check=True)
        assert [message.type for message in sprite.create_checkpoint("early")][-1] == "complete"
        sprite.run("sh", "-c", "echo late > ~/file; sync", check=True)
        made = sprite.run("date", "-u", "+%Y-%m-%dT%H:%M:%S.%6NZ", capture_output=True).stdout.decode().strip()
        url = store.wait_for(lambda: _durable_after(first, "kept", made))
        assert url.startswith(f"{bucket}/vol/")
        leftovers.note()
        _lose(first)

    with _pilotd(tmp_path / "second", bucket) as second, second.client() as client:
        assert _bring(second, "back", url).status_code == 201
        sprite = client.get_sprite("back")
        assert _content(sprite) == b"late\n"
        assert [point.id for point in sprite.list_checkpoints()] == ["Current", "v1"]
        assert _bring(second, "twice", url).status_code == 409
        assert _bring(second, "none", f"{bucket}/vol/{'0' * 16}").status_code == 404
        assert _bring(second, "other", f"s3://other/vol/{'0' * 16}").status_code == 400
        assert [row.name for row in client.list_all_sprites()] == ["back"]
        assert [message.type for message in sprite.restore_checkpoint("v1")][-1] == "complete"
        assert _content(sprite) == b"early\n"
        assert [message.type for message in sprite.create_checkpoint("next")][-1] == "complete"
        assert "v2" in [point.id for point in sprite.list_checkpoints()]
        leftovers.note()
        sprite.destroy()
        assert _bring(second, "again", url).status_code == 404, "destroyed is destroyed in the store, too"
    assert leftovers.left_since(before) == {}


def test_what_cannot_be_brought_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    """To destroy what is left of such a create, as of any other, would destroy it in the store."""
    url = f"file://{tmp_path}/store"
    with _pilotd(tmp_path / "first", url) as first, first.client() as client:
        client.create_sprite("kept").run("sh", "-c", "echo kept > ~/file; sync", check=True)
        disk = _call(first, "GET", "/sprites/kept/disk").json()["url"]
        assert _bring(first, "here", disk).status_code == 404, "it is here already, as another sprite's"
        assert client.sprite("kept").run("true").returncode == 0

        volumes = VolumeClient(str(first.state / "volumed.sock"))
        volumes.create(VolumeId("guest"), 1 << 30)
        os.close(volumes.attach_file(VolumeId("guest")))
        volumes.detach(VolumeId("guest"))
        guest = volumes.stat(VolumeId("guest")).url
        assert guest is not None

    with _pilotd(tmp_path / "second", url) as second, second.client() as client:
        for _ in range(2):
            answer = _bring(second, "guest", guest)
            assert (answer.status_code, "virtual machines" in answer.json()["error"]) == (400, True)
        assert client.list_all_sprites() == []
        volumes = VolumeClient(str(second.state / "volumed.sock"))
        assert [volume.attached for volume in volumes.list() if volume.url == guest] == [None]
        assert (tmp_path / "store" / "vol" / guest.rpartition("/")[2] / "HEAD.json").exists()
