"""A limit of sprites that run at once: what it lets pass, what it says, and that the official client reads it so."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import httpx
import pytest
from sprites.exceptions import parse_api_error
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services.running_limit import RunningLimit, TooManyRun


def test_what_is_begun_counts_until_it_has_ended() -> None:
    limit, running = RunningLimit(2), set[str]()
    give_back = limit.take("o", ["a"], lambda: running)
    limit.take("o", ["a"], lambda: running)()  # once more, for the same: it has its place
    limit.take("other", ["x", "y"], set)
    with pytest.raises(TooManyRun) as caught:
        limit.take("o", ["b", "c"], lambda: running)
    assert (caught.value.limit, caught.value.current) == (2, 1)
    limit.take("o", ["b"], lambda: running)()
    running.add("a")
    give_back()
    limit.take("o", ["a"], lambda: running)()  # it runs
    running.add("b")
    with pytest.raises(TooManyRun):
        limit.take("o", ["c"], lambda: running)
    running.discard("a")
    limit.take("o", ["c"], lambda: running)()


def test_without_a_limit_nobody_is_asked() -> None:
    def running() -> set[str]:
        raise AssertionError

    RunningLimit().take("o", list(map(str, range(1000))), running)()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    under_test.sprites.running_limit = RunningLimit(2)
    yield under_test
    under_test.close()


def test_the_client_knows_what_it_is_told(host: HostUnderTest) -> None:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as http:
        for name in ("one", "two"):
            assert http.post("/v1/sprites", json={"name": name}).status_code == 201
        refused = http.post("/v1/sprites", json={"name": "three"})
        error = parse_api_error(refused.status_code, refused.content, dict(refused.headers))
        assert error is not None
        assert error.is_concurrent_limit_exceeded()
        assert (error.status_code, error.limit, error.current_count) == (429, 2, 2)
        assert http.get("/v1/sprites").json()["running_limit"] == 2
        assert http.get("/v1/sprites/three").status_code == 404
        forked = http.post("/v1/sprites/one/fork", json={"names": ["a"]})
        assert (forked.status_code, forked.json()["error"]) == (429, "concurrent_sprite_limit_exceeded")

        assert http.post("/v1/sprites/two/stop").status_code == 200
        assert http.post("/v1/sprites", json={"name": "three"}).status_code == 201
        for call in ("wake", "restart"):
            again = http.post(f"/v1/sprites/two/{call}")
            assert (again.status_code, again.json()["error"]) == (429, "concurrent_sprite_limit_exceeded")
        assert http.post("/v1/sprites/one/restart").status_code == 200, "it has its place"
        used = http.get("/v1/sprites/two/fs/list?path=/")
        assert (used.status_code, used.json()["error"]) == (429, "concurrent_sprite_limit_exceeded")
        assert http.delete("/v1/sprites/three").status_code == 204
        assert http.post("/v1/sprites/two/wake").status_code == 200


def test_what_cannot_be_begun_gives_its_place_back(host: HostUnderTest) -> None:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as http:
        assert http.post("/v1/sprites", json={"name": "one"}).status_code == 201
        assert http.post("/v1/sprites/one/checkpoint").status_code == 200
    one = host.sprites.find(host.organisation.id, "one")
    with pytest.raises(errors.NotFound):
        host.sprites.restore(one, "v9")
    assert host.sprites.restore(one, "v1").result(WAIT_S).done
    assert host.sprites._running(one.organisation) == {"one"}
    assert host.sprites.running_limit._begun == {}
