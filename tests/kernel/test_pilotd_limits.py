"""What one sprite takes is taken from nobody else: machines have limits, and a world that reaches them stays usable."""

from __future__ import annotations

import glob
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

MIB = 1 << 20


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path_factory.mktemp("limits") / "state")
    daemon.stop_machines_on_exit = True
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def client(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        yield client


def _create(pilotd: Pilotd, client: Any, name: str, config: dict[str, int]) -> Any:
    import httpx

    body = {"name": name, "config": config}
    answer = httpx.post(
        f"{pilotd.url}/v1/sprites", json=body, headers={"Authorization": f"Bearer {pilotd.token()}"}, timeout=120
    )
    assert answer.status_code == 201, answer.text
    return client.sprite(name)


def _limits(kind: str, v1: str, v2: str) -> set[str]:
    found = glob.glob(f"/sys/fs/cgroup/{kind}/pilot-*/machines/*/{v1}")
    found += glob.glob(f"/sys/fs/cgroup/pilot-*/machines/*/{v2}")
    return {pathlib.Path(path).read_text().strip() for path in found}


def test_memory_is_limited_and_a_full_tmpfs_ends_nothing(pilotd: Pilotd, client: Any) -> None:
    small = _create(pilotd, client, "small", {"ram_mb": 192, "cpus": 1})
    assert str(192 * MIB) in _limits("memory", "memory.limit_in_bytes", "memory.max")
    agent = small.run("sh", "-c", "echo before > ~/before; sync", check=True)
    assert agent.returncode == 0
    # Memory that no process holds: ending processes would not give it back.
    filled = small.run("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=400", capture_output=True)
    assert (filled.returncode, b"No space left" in filled.stderr) == (1, True)
    assert small.run("sh", "-c", "rm -f /dev/shm/x; cat ~/before", capture_output=True).stdout == b"before\n"
    small.destroy()


def test_processes_are_limited(pilotd: Pilotd, client: Any) -> None:
    crowd, calm = _create(pilotd, client, "crowd", {"ram_mb": 256}), _create(pilotd, client, "calm", {})
    assert _limits("pids", "pids.max", "pids.max") == {"4096"}
    # Bounded by memory before it is by number; either way every process of it dies within the sprite.
    crowd.run("timeout", "-s", "KILL", "3", "sh", "-c", "b() { b | b & }; b; sleep 3", capture_output=True)
    assert calm.run("echo", "calm", capture_output=True).stdout == b"calm\n"
    crowd.destroy()
    calm.destroy()
