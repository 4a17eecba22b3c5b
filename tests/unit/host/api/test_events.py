"""GET /v1/events: everything in order, from where a client was; gaps told; nothing of anybody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import wire
from tests.support.host import HostUnderTest

from pilot.host.api.sprites.events import ndjson, sse
from pilot.host.services.feed import Beat, Gap
from pilot.host.store import events, tokens


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {host.token}"}, timeout=60) as client:
        yield client


def _until(http: httpx.Client, kind: str, path: str = "/v1/events?after=0", **headers: str) -> list[dict[str, Any]]:
    found = []
    with http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            told = line.removeprefix("data: ") if headers else line
            if told.startswith("{"):
                found.append(json.loads(told))
                assert found[-1]["type"] != "heartbeat", found
                if found[-1]["type"] == kind:
                    return found
    raise AssertionError(f"{kind} was not told")


def test_who_follows_knows_it_before_anything_happens(host: HostUnderTest) -> None:
    """Else a browser's EventSource is not open until the first event, or the first sign of life."""
    with wire.connected(host.url) as client:
        request = f"GET /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {host.token}\r\n\r\n"
        client.sendall(request.encode())
        told = b""
        while b"\r\n\r\n" not in told:
            told += client.recv(65536)
    head, _, body = told.partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"")


def test_the_head_alone(http: httpx.Client) -> None:
    answer = http.head("/v1/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_life_in_order(http: httpx.Client) -> None:
    http.post("/v1/sprites", json={"name": "web"})
    http.post("/v1/sprites/web/checkpoint", json={})
    http.post("/v1/sprites/web/sleep")
    http.delete("/v1/sprites/web")
    told = _until(http, "sprite.destroyed")
    kinds = [event["type"] for event in told]
    wanted = ["sprite.recorded", "create.decided", "checkpoint.published", "sprite.warm", "sprite.destroyed"]
    assert [kind for kind in kinds if kind in wanted] == wanted
    ids = [event["id"] for event in told]
    assert ids == sorted(ids)
    warm = next(event for event in told if event["type"] == "sprite.warm")
    assert (warm["sprite"]["name"], warm["detail"]) == ("web", {"why": "asked for"})


def test_from_where_it_was(http: httpx.Client) -> None:
    http.post("/v1/sprites", json={"name": "web"})
    seen = _until(http, "create.decided")[-1]["id"]
    http.post("/v1/sprites/web/sleep")
    (first, *_) = _until(http, "sprite.warm", "/v1/events", **{"last-event-id": str(seen)})
    assert first["id"] > seen
    streamed = _until(http, "sprite.warm", "/v1/events?after=0", accept="text/event-stream")
    assert streamed == _until(http, "sprite.warm")


def test_only_what_is_the_organisations_and_of_the_sprite(host: HostUnderTest, http: httpx.Client) -> None:
    other = tokens.issue(
        host.database, tokens.ensure_organisation(host.database, "other"), tokens.Wanted(description="theirs")
    )
    theirs = {"Authorization": f"Bearer {other}"}
    httpx.post(f"{host.url}/v1/sprites", json={"name": "theirs"}, headers=theirs, timeout=60)
    http.post("/v1/sprites", json={"name": "one"})
    http.post("/v1/sprites", json={"name": "two"})
    assert {event["sprite"]["name"] for event in _until(http, "create.decided", "/v1/events?after=0&sprite=two")} == {
        "two"
    }
    http.post("/v1/sprites/two/sleep")
    assert "theirs" not in json.dumps(_until(http, "sprite.warm"))


def test_what_is_forgotten_is_a_gap(host: HostUnderTest, http: httpx.Client) -> None:
    http.post("/v1/sprites", json={"name": "web"})
    last = events.latest(host.database)
    with host.database.transaction() as tx:
        events.forget(tx, 1 << 62)
    http.post("/v1/sprites/web/sleep")
    (gap, *_) = _until(http, "sprite.warm", "/v1/events?after=3")
    assert gap == {"type": "gap", "first": 4, "last": last}


@pytest.mark.parametrize("after", ["x", "-1", "1e3", "9" * 30])
def test_a_number_that_is_none(http: httpx.Client, after: str) -> None:
    assert http.get(f"/v1/events?after={after}").status_code == 400


def test_forms() -> None:
    assert sse(Beat(7)) == b"id: 7\n: heartbeat\n\n"
    assert sse(Gap(1, 6)) == b'id: 6\nevent: gap\ndata: {"type": "gap", "first": 1, "last": 6}\n\n'
    assert json.loads(ndjson(Beat(7))) == {"type": "heartbeat", "id": 7}
