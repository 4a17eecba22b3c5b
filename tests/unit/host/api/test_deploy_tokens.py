"""Tokens of an app: good for that app and for nothing else, as long as is said."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import httpx
import pytest
from tests.support import machines_document
from tests.support.host import HostUnderTest

from pilot.host.store import fly
from pilot.host.store.fly import App


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    for id, name in (("0a" * 8, "shop"), ("0b" * 8, "other")):
        with under_test.database.transaction() as tx:
            fly.add_app(tx, App(id, under_test.organisation.id, name, "default", 0))
    yield under_test
    under_test.close()


def _ask(host: HostUnderTest, method: str, path: str, token: str, body: object = None) -> httpx.Response:
    answer = httpx.request(method, host.url + path, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    machines_document.check(method, path, answer.status_code, answer.json() if answer.content else None)
    return answer


def _made(host: HostUnderTest, expiry: str | None = None) -> str:
    answer = _ask(host, "POST", "/v1/apps/shop/deploy_token", host.token, {"expiry": expiry})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def test_it_is_for_its_app_alone(host: HostUnderTest) -> None:
    token = _made(host, "720h")
    assert token.startswith("fm2_")
    assert _ask(host, "GET", "/v1/apps/shop", token).status_code == 200
    assert _ask(host, "POST", "/v1/apps/shop/secrets/A", token, {"value": "b"}).status_code == 201
    assert _ask(host, "GET", "/v1/apps/other", token).status_code == 404
    assert [row["name"] for row in _ask(host, "GET", "/v1/apps", token).json()["apps"]] == ["shop"]
    assert _ask(host, "POST", "/v1/apps", token, {"name": "third"}).status_code == 403
    assert _ask(host, "GET", "/v1/sprites/any", token).status_code in (403, 404)
    # flyctl's spelling of a macaroon's header.
    shown = httpx.get(f"{host.url}/v1/apps/shop", headers={"Authorization": f"FlyV1 {token}"}, timeout=60)
    assert shown.status_code == 200


def test_it_makes_no_other(host: HostUnderTest) -> None:
    refused = _ask(host, "POST", "/v1/apps/shop/deploy_token", _made(host), {})
    assert refused.status_code == 403, refused.text


def test_of_an_app_that_there_is_not(host: HostUnderTest) -> None:
    assert _ask(host, "POST", "/v1/apps/none/deploy_token", host.token, {}).status_code == 404


@pytest.mark.parametrize("expiry", ["soon", "-1h", "1000000h", "0s"])
def test_no_time_that_it_can_be_good_for(host: HostUnderTest, expiry: str) -> None:
    assert _ask(host, "POST", "/v1/apps/shop/deploy_token", host.token, {"expiry": expiry}).status_code == 400
