"""A size that is changed is that of the next start, however that comes about; what runs keeps its own."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import HostUnderTest

from pilot.host.vmm import Size


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    yield under_test
    under_test.close()


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as client:
        assert client.post("/v1/sprites", json={"name": "web", "config": {"cpus": 3}}).status_code == 201
        yield client


def _made(host: HostUnderTest) -> Size:
    row = host.sprites.find(host.organisation.id, "web")
    assert row.machine is not None
    spec = host.vmm.made[row.machine]
    return Size(spec.memory_bytes, spec.cpus)


@pytest.mark.parametrize("again", [("restart",), ("stop", "wake"), ("sleep", "stop", "wake")])
def test_it_is_of_the_next_start(host: HostUnderTest, http: httpx.Client, again: tuple[str, ...]) -> None:
    answer = http.put("/v1/sprites/web", json={"config": {"ram_mb": 512}})
    assert answer.json()["config"] == {"ram_mb": 512, "cpus": 3}, "what is not said stays"
    assert _made(host) == Size(Size.memory_bytes, 3), "what runs goes on as it is"
    for verb in again:
        assert http.post(f"/v1/sprites/web/{verb}").status_code == 200
    assert _made(host) == Size(512 << 20, 3)


def test_a_wake_from_warm_changes_nothing(host: HostUnderTest, http: httpx.Client) -> None:
    http.put("/v1/sprites/web", json={"config": {"ram_mb": 512}})
    for verb in ("sleep", "wake"):
        assert http.post(f"/v1/sprites/web/{verb}").status_code == 200
    assert _made(host) == Size(Size.memory_bytes, 3)


def test_a_size_that_cannot_be_meant(http: httpx.Client) -> None:
    assert http.put("/v1/sprites/web", json={"config": {"ram_mb": 1}}).status_code == 400
