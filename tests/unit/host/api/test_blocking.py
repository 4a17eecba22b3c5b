"""No request waits for what the store answers to another: calls that block are made in threads, enough of them."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.api.sprites import shapes
from pilot.host.fly.pulling import Images
from pilot.host.services.wanted import NewSprite
from pilot.host.store import fly, sprites, tokens, usage
from pilot.host.store.fly import App
from pilot.image.oci.documents import Image


class Gate:
    """Holds a call of the store until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, when: Any) -> None:
        self.entered, self._open = threading.Event(), threading.Event()
        real = getattr(module, name)

        def gated(*arguments: Any, **named: Any) -> Any:
            if when(*arguments):
                self.entered.set()
                assert self._open.wait(WAIT_S)
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, gated)

    def open(self) -> None:
        self._open.set()


def _get(host: HostUnderTest, path: str, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or host.token}"}
    return httpx.get(f"{host.url}{path}", headers=headers, timeout=WAIT_S)


def _held(host: HostUnderTest, gate: Gate, path: str, token: str | None = None, times: int = 8) -> None:
    """While requests for `path` are held, others are answered; then they are, too."""
    statuses: list[int] = []
    waiting = [
        threading.Thread(target=lambda: statuses.append(_get(host, path, token).status_code)) for _ in range(times)
    ]
    for thread in waiting:
        thread.start()
    assert gate.entered.wait(WAIT_S)
    try:
        assert _get(host, "/healthz").status_code == 200
        assert _get(host, "/v1/sprites/other").status_code == 200
        assert _get(host, "/v1/sprites").status_code == 200
        assert statuses == []
    finally:
        gate.open()
    for thread in waiting:
        thread.join(WAIT_S)
    assert len(set(statuses)) == 1, statuses
    assert len(statuses) == times


def test_all_that_was_ever_used_is_not_written_out_on_the_loop(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.sprites.create(host.organisation.id, NewSprite("other")).result(WAIT_S).done
    with host.database.transaction() as tx:
        usage.add(tx, usage.Day("2026-11-29", "gone", "gone", usage.Used(1)), host.organisation.id)
    gate = Gate(monkeypatch, shapes, "usage_day", lambda day: True)
    _held(host, gate, "/v1/usage/days")
    assert [each["sprite"]["name"] for each in _get(host, "/v1/usage/days").json()["days"]] == ["gone"]


def test_a_question_to_the_store_that_hangs_stops_no_other_request(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.sprites.create(host.organisation.id, NewSprite("other")).result(WAIT_S).done
    gate = Gate(monkeypatch, sprites, "by_name", lambda database, organisation, name: name == "slow")
    _held(host, gate, "/v1/sprites/slow")


def test_authentication_that_hangs_stops_nobody_who_is_known(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.sprites.create(host.organisation.id, NewSprite("other")).result(WAIT_S).done
    gate = Gate(monkeypatch, tokens, "authenticate", lambda database, token: token == "slow")
    _held(host, gate, "/v1/sprites/other", token="slow")


def _no_image(_images: Images, text: str) -> Image:
    raise errors.NotFound(f"no image {text}")


def test_a_registry_that_hangs_holds_up_nobody_else(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """More Machines are made of its images than there are threads for all else that blocks."""
    with host.database.transaction() as tx:
        fly.add_app(tx, App("app", host.organisation.id, "app", "default", 0))
    monkeypatch.setattr(Images, "find", _no_image)
    gate = Gate(monkeypatch, Images, "find", lambda _, text: text == "slow.test/box")
    statuses: list[int] = []

    def create() -> None:
        headers = {"Authorization": f"Bearer {host.token}"}
        body = {"config": {"image": "slow.test/box"}, "skip_launch": True}
        url = f"{host.url}/v1/apps/app/machines"
        statuses.append(httpx.post(url, headers=headers, json=body, timeout=2 * WAIT_S).status_code)

    asking = [threading.Thread(target=create) for _ in range(80)]
    for thread in asking:
        thread.start()
    assert gate.entered.wait(WAIT_S)
    try:
        for _ in range(20):  # whichever of them come before or after
            assert _get(host, "/v1/apps/app").status_code == 200
        assert statuses == []
    finally:
        gate.open()
    for thread in asking:
        thread.join(2 * WAIT_S)
    assert statuses == [404] * 80
