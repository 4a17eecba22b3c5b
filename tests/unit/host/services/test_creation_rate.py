"""A limit of creations: what it lets pass, what it says, and that the official client reads it so."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import httpx
import pytest
from sprites import SpritesClient
from sprites.exceptions import SpriteError, parse_api_error
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services import creation_rate
from pilot.host.services.creation_rate import CreationRate, RateLimited


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_window_slides() -> None:
    clock = Clock()
    rate = CreationRate(3, 60.0, clock)
    rate.take("a")
    clock.now_s += 10
    rate.take("a", 2)
    with pytest.raises(RateLimited) as caught:
        rate.take("a")
    assert (caught.value.limit, caught.value.remaining, caught.value.retry_after_s) == (3, 0, 50.0)
    with pytest.raises(RateLimited) as caught:
        rate.take("a", 2)
    assert caught.value.retry_after_s == 60.0, "when two have gone"
    rate.take("b", 3)
    clock.now_s += 50
    rate.take("a")
    left = rate.left("a")
    assert left is not None
    assert (left.remaining, left.more_in_s) == (0, 10.0)


def test_what_is_refused_takes_nothing() -> None:
    rate = CreationRate(3, 60.0, Clock())
    for count in (4, 50):
        with pytest.raises(RateLimited):
            rate.take("a", count)
    rate.take("a", 3)


def test_without_a_limit() -> None:
    rate = CreationRate()
    rate.take("a", 10_000)
    assert rate.left("a") is None


@pytest.mark.parametrize("text", ["", "30", "30/", "/60", "0/60", "30/0", "-1/60", "x/y", "30/nan", "30/1e9", "1.5/60"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(errors.PilotError, match="--create-limit"):
        creation_rate.parse(text)


def test_what_is_one() -> None:
    assert (creation_rate.parse("30/60"), creation_rate.parse("off")[0]) == ((30, 60.0), 0)


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    under_test.sprites.creation_rate = CreationRate(3, 3600.0)
    yield under_test
    under_test.close()


def test_the_client_knows_what_it_is_told(host: HostUnderTest) -> None:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as http:
        made = http.post("/v1/sprites", json={"name": "one"})
        assert (made.status_code, made.headers["x-ratelimit-limit"], made.headers["x-ratelimit-remaining"]) == (
            201,
            "3",
            "2",
        )
        assert time.time() < int(made.headers["x-ratelimit-reset"]) < time.time() + 3700
        assert http.post("/v1/sprites", json={"name": "one"}).status_code == 409, "which counts nothing"
        forked = http.post("/v1/sprites/one/fork", json={"names": ["a", "b", "c"]})
        assert (forked.status_code, forked.json()["error"]) == (429, "sprite_creation_rate_limited")
        forked = http.post("/v1/sprites/one/fork", json={"names": ["a", "b"]})
        assert (forked.status_code, forked.headers["x-ratelimit-remaining"]) == (201, "0")
        refused = http.post("/v1/sprites", json={"name": "four"})
    error = parse_api_error(refused.status_code, refused.content, dict(refused.headers))
    assert error is not None
    assert error.is_creation_rate_limited()
    seen = (error.status_code, error.limit, error.window_seconds, error.rate_limit_limit, error.rate_limit_remaining)
    assert seen == (429, 3, 3600, 3, 0)
    assert 3000 < (error.get_retry_after_seconds() or 0) <= 3600
    with SpritesClient(host.token, base_url=host.url) as client, pytest.raises(SpriteError, match="429"):
        client.create_sprite("four")
