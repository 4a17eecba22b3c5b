"""What root of a sprite may do is of its next world: what runs keeps what it has, and says so."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.support.host import HostUnderTest

PATH = "/v1/sprites/web/policy/privileges"
MINIMAL = {"profile": "minimal", "devices": ["/dev/fuse"], "noNewPrivileges": True}
UNSAID = {"profile": "", "devices": [], "noNewPrivileges": False, "pending": False}


def _started(host: HostUnderTest, name: str = "web") -> Any:
    """What its machine was last asked to start a world with."""
    return host.machine(name).privileges


def test_one_that_runs_keeps_what_it_has_until_it_is_started_anew(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.get(PATH).json() == UNSAID
    worlds = [target for _, target, _ in host.machine("web").requests].count("/v1/world")
    assert http.post(PATH, json=MINIMAL).status_code == 204
    assert http.get(PATH).json() == MINIMAL | {"pending": True}
    assert [target for _, target, _ in host.machine("web").requests].count("/v1/world") == worlds
    assert http.post("/v1/sprites/web/restart").status_code == 200
    assert _started(host) == {"profile": "minimal", "devices": ["/dev/fuse"], "no_new_privileges": True}
    assert http.get(PATH).json() == MINIMAL | {"pending": False}
    assert http.delete(PATH).status_code == 204
    assert http.get(PATH).json() == UNSAID | {"pending": True}


def test_one_that_is_cold_has_it_when_it_wakes(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.post("/v1/sprites/web/stop").status_code == 200
    assert http.post(PATH, json={"profile": "privileged"}).status_code == 204
    assert http.get(PATH).json()["pending"] is False
    assert http.post("/v1/sprites/web/wake").status_code == 200
    assert _started(host)["profile"] == "privileged"


def test_what_is_frozen_is_not_asked(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.post("/v1/sprites/web/sleep").status_code == 200
    assert http.post(PATH, json=MINIMAL).status_code == 204
    assert http.get(PATH).json()["pending"] is None


def test_standard_is_what_is_meant_where_nothing_is_said(http: httpx.Client) -> None:
    assert http.post(PATH, json={"profile": "standard"}).status_code == 204
    assert http.get(PATH).json() == UNSAID | {"profile": "standard"}


@pytest.mark.parametrize(
    "body",
    [{"profile": "root"}, {"profile": None}, {"devices": ["/dev/sda"]}, {"noNewPrivileges": 1}, [], {"devices": {}}],
)
def test_what_there_is_not_is_refused(http: httpx.Client, body: object) -> None:
    assert http.post(PATH, json=body).status_code == 400
    assert http.get(PATH).json() == UNSAID


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_what_says_nothing_gives_no_more(http: httpx.Client, content: bytes) -> None:
    assert http.post(PATH, json=MINIMAL).status_code == 204
    assert http.post(PATH, content=content).status_code == 400
    assert http.get(PATH).json() == MINIMAL | {"pending": True}
    assert http.post(PATH, json={"noNewPrivileges": False}).status_code == 204
    assert http.get(PATH).json()["profile"] == ""


def test_a_fork_has_no_more_than_its_source(host: HostUnderTest, http: httpx.Client) -> None:
    assert http.post(PATH, json=MINIMAL).status_code == 204
    assert http.post("/v1/sprites", json={"name": "copy", "from": {"sprite": "web"}}).status_code == 201
    assert _started(host, "copy")["profile"] == "minimal"
    assert http.post("/v1/sprites/web/fork", json={"names": ["one"]}).status_code == 201
    assert _started(host, "one") == _started(host, "copy")


def test_a_change_is_told_once(host: HostUnderTest, http: httpx.Client) -> None:
    for _ in range(2):
        assert http.post(PATH, json=MINIMAL).status_code == 204
    [told] = host.database.query("SELECT detail FROM events WHERE kind = 'sprite.privileges'")
    said = {"profile": "minimal", "devices": ["/dev/fuse"], "no_new_privileges": True}
    assert json.loads(told["detail"]) == {"privileges": said}
