"""Who may ask what: each row of the table refuses the principal who may do all but what it wants."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from pilot.host.api.machines import calls as machine_calls
from pilot.host.api.sprites import calls
from pilot.host.identity.authenticator import CACHE_S, Authenticator
from pilot.host.identity.principal import Only, Principal
from pilot.host.relay import facade
from pilot.host.relay.table import Row
from pilot.host.store.tokens import Organisation
from pilot.wire import faults
from pilot.wire.permissions import GRANTABLE, Permission
from tests.support import wire
from tests.support.host import HostUnderTest

ROWS: list[Row[Any]] = [
    row for row in (*calls.CALLS, *calls.MACHINE, *machine_calls.CALLS) if row.permission is not None
]


@dataclasses.dataclass
class Tokens:
    """Principals by token; what a test puts here is believed."""

    known: dict[str, Principal]


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens({})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, tokens: Tokens) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"), Authenticator(tokens.known.get))
    organisation = under_test.organisation
    tokens.known["all"] = Principal(organisation)
    for permission in GRANTABLE:
        tokens.known[f"but {permission.value}"] = Principal(organisation, (Only(GRANTABLE - {permission}),))
        tokens.known[f"only {permission.value}"] = Principal(organisation, (Only(frozenset({permission})),))
    yield under_test
    under_test.close()


def _request(row: Row[Any], token: str) -> bytes:
    path = re.sub(r"\{.*?\}", "nobody", row.path)
    path += "?after=none" if row.path == "/v1/events" else ""  # whose good answer never ends
    head = f"{row.method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    if row.websocket:
        head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: k\r\n"
    else:
        head += "Connection: close\r\n"
    return (head + "\r\n").encode()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}{' ws' if row.websocket else ''}")
def test_a_row_refuses_who_may_do_all_but_that(host: HostUnderTest, row: Row[Any]) -> None:
    assert row.permission is not None

    def status(token: str) -> int:
        (answer,) = wire.parse_answers(wire.exchange(host.url, _request(row, token)), row.method)
        return answer.status

    assert status("nobody's") == 401
    assert status(f"but {row.permission.value}") == 403
    allowed = status(f"only {row.permission.value}")
    assert allowed not in (401, 403)
    assert allowed < 500


def test_metrics_want_a_token_or_a_process_of_this_host(host: HostUnderTest) -> None:
    assert httpx.get(f"{host.url}/metrics").status_code == 200, "this host's own"
    row = next(row for row in calls.OPEN if row.loopback)
    assert row.permission is Permission.METRICS
    ours, others = ("127.0.0.1", "::1", "::ffff:127.8.9.1"), ("10.0.0.1", "1270.0.0.1", "::", "::ffff:10.0.0.1", "")
    assert all(facade.is_loopback(peer) for peer in ours)
    assert not any(facade.is_loopback(peer) for peer in others)


def test_no_caveat_adds_anything_and_pilotds_own_is_nobodys() -> None:
    organisation = Organisation("1", "o")
    assert not Principal(organisation).may(Permission.HOST)
    assert not Principal(organisation, (Only(frozenset({Permission.HOST})),)).may(Permission.HOST)
    both = Principal(organisation, (Only(frozenset({Permission.EXEC})), Only(frozenset({Permission.PORTS}))))
    assert not any(both.may(permission) for permission in Permission)
    with pytest.raises(faults.PermissionDenied, match="exec"):
        both.asking(Permission.EXEC)


def test_a_token_is_believed_for_a_short_while_and_a_wrong_one_never() -> None:
    now, asked = [0.0], []
    known = {"good": Principal(Organisation("1", "o"))}

    def ask(token: str) -> Principal | None:
        asked.append(token)
        return known.get(token)

    async def test() -> None:
        authenticator = Authenticator(ask, lambda: now[0])
        assert await authenticator.authenticate("good") is known["good"]
        assert await authenticator.authenticate("good") is known["good"]
        assert await authenticator.authenticate("bad") is None
        assert await authenticator.authenticate("bad") is None
        assert asked == ["good", "bad", "bad"]
        del known["good"]  # revoked
        now[0] = CACHE_S
        assert await authenticator.authenticate("good") is None

    asyncio.run(test())


def test_a_store_that_does_not_answer_stops_no_other_request(host: HostUnderTest) -> None:
    let_go, asked = threading.Event(), threading.Event()
    find = host.sprites.find

    def slow(organisation: str, name: str) -> object:
        if name == "slow":
            asked.set()
            assert let_go.wait(wire.WAIT_S)
        return find(organisation, name)

    host.sprites.find = slow  # type: ignore[method-assign,assignment]
    try:
        with wire.connected(host.url) as waiting:
            waiting.sendall(b"GET /v1/sprites/slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n\r\n")
            assert asked.wait(wire.WAIT_S)
            for _ in range(20):
                assert httpx.get(f"{host.url}/healthz").status_code == 200
                answer = httpx.get(f"{host.url}/v1/sprites", headers={"Authorization": "Bearer all"})
                assert answer.status_code == 200
            let_go.set()
            assert waiting.recv(100).startswith(b"HTTP/1.1 404 ")
    finally:
        let_go.set()
        host.sprites.find = find  # type: ignore[method-assign]
