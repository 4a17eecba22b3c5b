"""A size that is changed: at once where a machine can, else with its next start; refused, nothing has changed."""

from __future__ import annotations

import concurrent.futures
import pathlib
import threading
from collections.abc import Iterator

import httpx
import pytest
from tests.support.fake_vmm import FakeVmm
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host.fsm.documents import Document
from pilot.host.operations import requests
from pilot.host.operations.capacity import Capacity
from pilot.host.store.sprites import Config
from pilot.host.vmm import Isolation, Size


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
    return Size(spec.memory_bytes, spec.cpus, spec.pids)


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


@pytest.mark.parametrize("config", [{"ram_mb": 1}, {"pids": 127}, {"pids": (1 << 22) + 1}, {"pids": "many"}])
def test_a_size_that_cannot_be_meant(http: httpx.Client, config: dict[str, object]) -> None:
    assert http.put("/v1/sprites/web", json={"config": config}).status_code == 400


def test_two_changes_at_once_are_both_kept(host: HostUnderTest, http: httpx.Client) -> None:
    changing, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        changing.set()
        assert go_on.wait(WAIT_S)

    host.vmm.while_resizing = wait

    def put(config: dict[str, int]) -> httpx.Response:
        with httpx.Client(base_url=host.url, headers=http.headers, timeout=WAIT_S) as client:
            return client.put("/v1/sprites/web", json={"config": config})

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        first = pool.submit(put, {"ram_mb": 512})
        assert changing.wait(WAIT_S)
        others = [pool.submit(put, each) for each in ({"cpus": 1}, {"storage_gb": 5})]  # what they saw is of before
        go_on.set()
        assert [done.result().status_code for done in (first, *others)] == [200, 200, 200]
    assert http.get("/v1/sprites/web").json()["config"] == {"ram_mb": 512, "cpus": 1, "storage_gb": 5}
    assert _made(host) == Size(512 << 20, 1)


def test_what_is_null_is_the_hosts_again(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.put("/v1/sprites/web", json={"config": {"cpus": None, "ram_mb": 512}}).status_code == 200
    assert (http.get("/v1/sprites/web").json()["config"], _made(host)) == ({"ram_mb": 512}, Size(512 << 20))
    assert http.delete("/v1/sprites/web/policy/resources").status_code == 204
    assert _made(host) == Size()


def test_how_many_processes_it_may_have(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.get("/v1/sprites/web/usage").json()["size"] == {"ram_mb": 2048, "cpus": 3, "pids": Size.pids}
    assert http.put("/v1/sprites/web", json={"config": {"pids": 1000}}).json()["config"] == {"cpus": 3, "pids": 1000}
    assert host.machine("web").requests[-1][1] == "/v1/adopt", "its agent looks at what there is by now"
    assert (_made(host).pids, http.get("/v1/sprites/web/usage").json()["size"]["pids"]) == (1000, 1000)
    assert http.post("/v1/sprites", json={"name": "small", "config": {"pids": 256}}).status_code == 201
    assert sorted(spec.pids for spec in host.vmm.made.values()) == [256, 1000]


def test_more_processes_than_the_host_has_numbers_for(host: HostUnderTest, http: httpx.Client) -> None:
    object.__setattr__(host.host, "capacity", Capacity(lambda: 2 * Size.pids))
    assert http.post("/v1/sprites", json={"name": "beside"}).status_code == 201
    answer = http.put("/v1/sprites/web", json={"config": {"pids": Size.pids + 1}})
    assert (answer.status_code, "process numbers" in answer.json()["error"]) == (429, True)
    assert (_made(host).pids, http.get("/v1/sprites/web").json()["config"]) == (Size.pids, {"cpus": 3})
    assert http.put("/v1/sprites/beside", json={"config": {"pids": 128}}).status_code == 200
    assert http.put("/v1/sprites/web", json={"config": {"pids": Size.pids + 1}}).status_code == 200


def test_a_virtual_machine_counts_its_own(tmp_path: pathlib.Path) -> None:
    host = HostUnderTest(tmp_path, vmm=lambda root: FakeVmm(root, Isolation.VM))
    try:
        headers = {"Authorization": f"Bearer {host.token}"}
        with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as http:
            refused = http.post("/v1/sprites", json={"name": "guest", "config": {"pids": 256}})
            assert refused.status_code == 412
            assert http.post("/v1/sprites", json={"name": "guest"}).status_code == 201
            assert http.put("/v1/sprites/guest", json={"config": {"pids": 256}}).status_code == 412
            assert http.get("/v1/sprites/guest/usage").json()["size"]["pids"] is None
    finally:
        host.close()


def test_a_change_of_the_build_before_says_all_of_it() -> None:
    read = requests.RESIZE.request.read(Document(1, {"config": {"cpus": 3}}))
    assert Config(ram_mb=512, storage_gb=5, pids=256).merged(read.changes) == Config(cpus=3, pids=256)
