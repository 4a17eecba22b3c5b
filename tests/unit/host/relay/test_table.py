"""What a facade's table leads to: the spellings of a path, the operations that machines answer, who may ask."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.host.api.sprites import calls
from pilot.host.relay import heads, paths
from pilot.host.relay.heads import Head
from pilot.host.relay.table import Match, Row, Table
from pilot.wire import faults, operations
from pilot.wire.operations import Operation
from pilot.wire.permissions import Permission

ROWS = (*calls.CALLS, *calls.OPEN, *calls.MACHINE)


def _asked(target: str, method: str = "GET", *, websocket: bool = True) -> tuple[str, str]:
    head = Head(method, target.encode(), ())
    match: Match[calls.Answer] = Table(ROWS).find(method, paths.split(head.path), websocket=websocket)
    assert isinstance(match.row.call, Operation)
    query = head.query.decode()
    return match.parameters["name"], match.row.call.target(match.parameters) + (f"?{query}" if query else "")


@pytest.mark.parametrize(
    ("target", "name", "asked"),
    [
        ("/v1/sprites/web/exec?cmd=ls&cmd=%2F", "web", "/v1/exec?cmd=ls&cmd=%2F"),
        ("/v1/sprites/web/exec/12", "web", "/v1/exec/12"),
        ("/v1/sprites/w%65b/proxy", "web", "/v1/proxy"),
        ("/v1/sprites/web/%65xec", "web", "/v1/exec"),
        ("http://pilotd/v1/sprites/web/exec?a", "web", "/v1/exec?a"),
    ],
)
def test_upgrades_keep_their_query(target: str, name: str, asked: str) -> None:
    assert _asked(target) == (name, asked)


@pytest.mark.parametrize(
    "target",
    ["/v1/sprites/web/control", "/v1/sprites/web/world", "/v1/sprites/web/exec/1/kill", "/v1/sprites/web/exec/../world",
     "/v1/sprites/web/exec/..%2Fworld", "/v1/sprites/web/exec%2F7", "/v1/sprites/web/exec/..",
     "/v1/sprites/web/exec/%2e%2e",
     "/v1/sprites/web/exec/7%00", "/v1/sprites/web/exec/%ff", "/v1/sprites/web%2Fexec", "/v1/sprites/web/exec/7%0d%0ax",
     "/v1/sprites/web/exec/7%zz", "/v1/sprites/web/exec/..%5Cworld", "/v1/sprites/web/exec/7%", "a:1", "*",
     "/v1/exec", "/", "/v1/sprites//exec"],
)  # fmt: skip
def test_nothing_else_of_the_machine_can_be_upgraded(target: str) -> None:
    with pytest.raises(errors.NotFound):
        _asked(target)


def test_another_method_is_told_from_nothing_at_all() -> None:
    with pytest.raises(faults.MethodNotAllowed) as refused:
        _asked("/v1/sprites/web/exec", "PUT", websocket=False)
    assert refused.value.hint == "use GET or HEAD or POST"
    with pytest.raises(faults.MethodNotAllowed):
        _asked("/v1/sprites/web/fs/read", "HEAD", websocket=False)
    with pytest.raises(faults.MethodNotAllowed) as without_upgrade:
        _asked("/v1/sprites/web/exec/7", websocket=False)
    assert list(without_upgrade.value.allowed) == ["DELETE", "GET"], "its WebSocket is a GET"
    for path in ("proxy", "fs/watch", "ports/watch"):
        with pytest.raises(faults.MethodNotAllowed) as only_upgraded:
            _asked(f"/v1/sprites/web/{path}", websocket=False)
        assert list(only_upgraded.value.allowed) == ["GET"]


def test_only_what_somebody_beside_pilotd_may_do_has_a_row() -> None:
    reached = {row.call.id for row in calls.MACHINE if isinstance(row.call, Operation)}
    hosts_own = {row.id for row in operations.OPERATIONS if row.permission is Permission.HOST}
    assert hosts_own >= {"getStatus", "adopt", "startWorld", "stopWorld", "freezeWorld", "thawWorld", "shutdown"}
    assert reached == {row.id for row in operations.OPERATIONS} - hosts_own


def test_every_row_wants_a_permission_that_can_be_given() -> None:
    assert {row.path for row in ROWS if row.permission is None} == {
        "/healthz",
        "/oidc/{organization}/.well-known/openid-configuration",
        "/oidc/{organization}/.well-known/jwks.json",
        "/v1/audit/key",
    }
    assert {row.path for row in ROWS if row.loopback} == {"/metrics"}
    assert Permission.HOST not in {row.permission for row in ROWS}


def test_a_literal_segment_is_preferred_to_a_name() -> None:
    table = Table((Row("GET", "/a/{x}", None, "name"), Row("GET", "/a/b", None, "literal")))
    assert table.find("GET", ("a", "b"), websocket=False).row.call == "literal"
    assert table.find("GET", ("a", "c"), websocket=False).parameters == {"x": "c"}
    assert table.find("HEAD", ("a", "b"), websocket=False).row.call == "literal"


def _head(*headers: tuple[bytes, bytes], method: str = "GET") -> Head:
    return Head(method, b"/v1/sprites/web/exec?cmd=x", ((b"host", b"pilotd"), *headers))


def test_a_replayed_request_has_no_token_and_all_else() -> None:
    head = _head(
        (b"authorization", b"Bearer secret"), (b"cookie", b"c"), (b"connection", b"Upgrade, x-own"), (b"x-own", b"1"),
        (b"upgrade", b"websocket"), (b"sec-websocket-key", b"k:k"), (b"x-forwarded-for", b"elsewhere"), (b"te", b"x"),
    )  # fmt: skip
    assert head.wants_upgrade
    assert heads.for_machine(head, "/v1/exec?cmd=x", "10.0.0.1") == (
        b"GET /v1/exec?cmd=x HTTP/1.1\r\nhost: machine\r\nx-forwarded-for: 10.0.0.1\r\n"
        b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k:k\r\n\r\n"
    )


def test_the_length_of_a_request_is_what_it_was() -> None:
    sized = heads.for_machine(_head((b"content-length", b"3"), method="PUT"), "/", "p")
    assert sized.count(b"content-length: 3\r\n") == 1
    chunked = heads.for_machine(_head((b"transfer-encoding", b"chunked"), method="PUT"), "/", "p")
    assert chunked.count(b"transfer-encoding: chunked\r\n") == 1
    assert b"content-length" not in chunked


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"other")],
        [(b"transfer-encoding", b"gzip, chunked")],
        [(b"expect", b"money")],
        [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"content-length", b"1")],
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(faults.InvalidRequest):
        heads.check(_head(*headers))


@pytest.mark.parametrize(
    ("target", "host", "name"),
    [(b"/", b"Web.Example:8080", "web.example"), (b"/", b"[::1]:80", "[::1]"), (b"http://a.b:1/x", b"c", "a.b")],
)
def test_whom_a_client_takes_us_for(target: bytes, host: bytes, name: str) -> None:
    assert Head("GET", target, ((b"host", host),)).host == name
