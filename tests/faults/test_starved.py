"""pilotd runs out of descriptors, volumed of them or of memory, in the middle of anything: what is asked is done or
refused in words, nothing of it is left half, and once there is room again all is as before, without a restart."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest
from tests.support import leftovers, starved
from tests.support.pilotd import Pilotd
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import VolumeId
from pilot.volume.client import VolumeClient

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space"),
    pytest.mark.slow,
]

MIB = 1 << 20
SIZE = 1 << 30
A = VolumeId("a")
# All of them in `make adversary`.
ALL = bool(os.environ.get("PILOT_ADVERSARY"))
SPARE_DESCRIPTORS = range(1, 9) if ALL else (1, 5)
SPARE_MEMORY = [0, 0, 0, MIB // 16, MIB, 9 * MIB] if ALL else [0]
Starving = Callable[[int], AbstractContextManager[None]]
KINDS: dict[str, list[Starving]] = {
    "descriptors": [lambda pid, n=n: starved.of_descriptors(pid, n) for n in SPARE_DESCRIPTORS],  # type: ignore[misc]
    "memory": [lambda pid, n=n: starved.of_memory(pid, n) for n in SPARE_MEMORY],  # type: ignore[misc]
}


# ---- volumed


@pytest.fixture
def volumed(tmp_path: pathlib.Path) -> Iterator[Volumed]:
    before = leftovers.observe()
    daemon = Volumed(tmp_path)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
    assert leftovers.left_since(before) == {}


def _life_of_a_fork(client: VolumeClient, name: VolumeId) -> None:
    """A word of each kind."""
    client.fork(A, name)
    os.close(client.attach_file(name))
    client.checkpoint(name)
    client.detach(name)
    client.list()
    client.delete(name)


def _remove(client: VolumeClient, name: VolumeId) -> None:
    """Whatever was reached of its life."""
    for step in (client.detach, client.delete):
        with contextlib.suppress(errors.NotFound, errors.StateError):
            step(name)


@pytest.mark.parametrize("kind", KINDS)
def test_volumed_says_so_and_goes_on(volumed: Volumed, kind: str) -> None:
    client = volumed.client
    client.create(A, SIZE)
    fd = client.attach_file(A)
    os.pwrite(fd, b"kept", 0)
    os.fsync(fd)
    assert volumed.process is not None
    pid = volumed.process.pid
    impatient = VolumeClient(volumed.socket, timeout_s=3)
    refused = 0
    for number, starving in enumerate(KINDS[kind]):
        name = VolumeId(f"fork-{number}")
        with starving(pid):
            try:
                _life_of_a_fork(impatient, name)
            except errors.PilotError:
                refused += 1
        _remove(client, name)
        _life_of_a_fork(client, name)
        assert os.pread(fd, 4, 0) == b"kept"
    assert refused, "it was never felt"
    assert volumed.process.poll() is None
    os.close(fd)
    client.detach(A)
    assert [row.volume for row in client.list()] == [A]


# ---- pilotd


@pytest.fixture
def pilotd(tmp_path: pathlib.Path) -> Iterator[Pilotd]:
    with leftovers.nothing(), Pilotd(tmp_path / "state").running() as daemon:
        yield daemon


def _http(pilotd: Pilotd, timeout_s: float) -> httpx.Client:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.Client(base_url=f"{pilotd.url}/v1", headers=headers, timeout=timeout_s)


def _life_of_a_sprite(http: httpx.Client, name: str) -> Iterator[httpx.Response]:
    yield http.post("/sprites", json={"name": name})
    yield http.post(f"/sprites/{name}/exec", params={"cmd": ["sh", "-c", "echo said > ~/file"]})
    yield http.get(f"/sprites/{name}/fs/read", params={"path": "/home/sprite/file"})
    yield http.post(f"/sprites/{name}/checkpoint")
    yield http.post(f"/sprites/{name}/checkpoints/v1/restore")
    yield http.delete(f"/sprites/{name}")


def _is_told(answer: httpx.Response) -> bool:
    """Whether it is an error; which says what it is."""
    if answer.headers.get("content-type", "").startswith("application/x-ndjson"):
        last = json.loads(answer.text.splitlines()[-1])
        return bool(last["type"] == "error" and last["error"])
    if answer.status_code < 400:
        return False
    assert answer.json()["error"]
    return True


def test_pilotd_says_so_and_goes_on(pilotd: Pilotd) -> None:
    assert pilotd.process is not None
    pid, told = pilotd.process.pid, 0
    with pilotd.client() as client:
        kept = client.create_sprite("kept")
        kept.run("sh", "-c", "echo kept > ~/file; sync", check=True)
        for number, starving in enumerate(KINDS["descriptors"]):
            name = f"starved-{number}"
            with starving(pid):
                try:
                    with _http(pilotd, 3) as http:
                        told += sum(map(_is_told, _life_of_a_sprite(http, name)))
                except httpx.TransportError:
                    told += 1  # hung up on, or not taken: nothing was acknowledged
            with _http(pilotd, 120) as http:
                assert http.delete(f"/sprites/{name}").status_code in (204, 404)
                assert not any(map(_is_told, _life_of_a_sprite(http, f"{name}-after")))
            assert kept.run("cat", "/home/sprite/file", capture_output=True).stdout == b"kept\n"
    assert told, "it was never felt"
    assert pilotd.process.poll() is None
