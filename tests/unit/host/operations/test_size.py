"""A size that is changed: at once where a machine can, else with its next start; refused, nothing has changed."""

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


def _resizes(host: HostUnderTest) -> list[str]:
    return [what for what, _ in host.vmm.calls if what.startswith("resize")]


def test_what_runs_has_it_at_once_and_is_told(host: HostUnderTest, http: httpx.Client) -> None:
    answer = http.put("/v1/sprites/web", json={"config": {"ram_mb": 512}})
    assert answer.json()["config"] == {"ram_mb": 512, "cpus": 3}, "what is not said stays"
    assert _made(host) == Size(512 << 20, 3)
    assert host.machine("web").requests[-1][1] == "/v1/adopt", "its agent looks at what there is by now"
    for verb in ("stop", "wake"):
        assert http.post(f"/v1/sprites/web/{verb}").status_code == 200
    assert (_made(host), _resizes(host)) == (Size(512 << 20, 3), ["resize 512 MiB 3 cpus"])


def test_one_that_is_warm_has_it_when_it_goes_on(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.post("/v1/sprites/web/sleep").status_code == 200
    asked = len(host.machine("web").requests)
    assert http.put("/v1/sprites/web", json={"config": {"cpus": 1}}).status_code == 200
    assert (_made(host).cpus, len(host.machine("web").requests)) == (1, asked), "who is frozen hears nothing"
    assert http.post("/v1/sprites/web/wake").status_code == 200
    assert "/v1/adopt" in [target for _, target, _ in host.machine("web").requests[asked:]]


def test_the_same_size_is_nothing_to_do(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.put("/v1/sprites/web", json={"config": {"cpus": 3}, "labels": ["a"]}).json()["labels"] == ["a"]
    assert _resizes(host) == []


@pytest.mark.parametrize("who", ["kernel", "agent"])
def test_memory_that_is_in_use_is_not_taken(host: HostUnderTest, http: httpx.Client, who: str) -> None:
    if who == "kernel":
        host.vmm.refuse_below_bytes = 1 << 30
    else:
        host.machine("web").refused = {"size": "600 MiB are in use"}
    answer = http.put("/v1/sprites/web", json={"config": {"ram_mb": 512}, "labels": ["a"]})
    assert (answer.status_code, "are in use" in answer.json()["error"]) == (409, True)
    found = http.get("/v1/sprites/web").json()
    assert (found["config"], found["labels"], _made(host)) == ({"cpus": 3}, [], Size(Size.memory_bytes, 3))
    assert _resizes(host)[-1] == "resize 2048 MiB 3 cpus", "what had been changed is put back"


@pytest.mark.parametrize("again", [("restart",), ("stop", "wake"), ("sleep", "stop", "wake")])
def test_where_none_can_it_is_of_the_next_start(
    host: HostUnderTest, http: httpx.Client, again: tuple[str, ...]
) -> None:
    host.vmm.resizes = False
    assert http.put("/v1/sprites/web", json={"config": {"ram_mb": 512}}).status_code == 200
    assert _made(host) == Size(Size.memory_bytes, 3), "what runs goes on as it is"
    for verb in again:
        assert http.post(f"/v1/sprites/web/{verb}").status_code == 200
    assert _made(host) == Size(512 << 20, 3)


def test_a_disk_may_take_more_at_once(host: HostUnderTest, http: httpx.Client) -> None:
    volume = host.sprites.find(host.organisation.id, "web").volume
    assert http.put("/v1/sprites/web", json={"config": {"storage_gb": 5}}).status_code == 200
    assert host.volumes.quotas[volume] == 5 * 10**9
    assert _resizes(host) == []


def test_a_size_that_cannot_be_meant(http: httpx.Client) -> None:
    assert http.put("/v1/sprites/web", json={"config": {"ram_mb": 1}}).status_code == 400
