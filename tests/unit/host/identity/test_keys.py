"""Keys that people ask for: what each may reach, by the tables themselves; and that a revoked one opens nothing."""

from __future__ import annotations

import asyncio
import pathlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import httpx
import pytest
from tests.support import wire
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.api.machines import calls as machine_calls
from pilot.host.api.sprites import calls
from pilot.host.api.sprites import tokens as token_calls
from pilot.host.identity import principal
from pilot.host.identity.authenticator import Authenticator
from pilot.host.identity.principal import Principal
from pilot.host.relay.table import Reach, Row
from pilot.host.services import tokens as services
from pilot.host.store import networks, tokens
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.store.tokens import WHOLE, Organisation, Scope, Wanted
from pilot.wire import faults
from pilot.wire.macaroons import caveats, header, macaroon, own
from pilot.wire.macaroons.caveats import Caveat
from pilot.wire.permissions import GRANTABLE, ROLES, Permission, Role

ROWS: list[Row[Any]] = [
    row for row in (*calls.CALLS, *calls.MACHINE, *machine_calls.CALLS) if row.permission is not None
]
NAMED = [row for row in ROWS if row.reach is Reach.NAMED]
WHOLES = [row for row in ROWS if row.reach is Reach.ORGANISATION]
NARROWED = [row for row in ROWS if row.reach is Reach.NARROWED]


def _id(row: Row[Any]) -> str:
    return f"{row.method} {row.path}{' ws' if row.websocket else ''}"


def attenuated(token: str, *added: Caveat) -> str:
    """By who holds it: nobody is asked."""
    (data,) = header.parse_tokens(token)
    return header.write([macaroon.decode(data).attenuate(*added)]).removeprefix("FlyV1 ")


class Keys:
    """One host with a sprite and an app called mine and another, and a key for each of what there can be."""

    def __init__(self, under_test: HostUnderTest) -> None:
        self.host = under_test
        self.all = under_test.token
        for name in ("mine", "another"):
            assert self.call("POST", "/v1/sprites", {"name": name}).status_code == 201
            assert self.call("POST", "/v1/apps", {"app_name": f"{name}-app", "org_slug": "local"}).status_code == 201
        self.sprite = self.made(sprite="mine")
        self.app = self.made(app="mine-app")
        self.sprite_macaroon = self.attenuated(own.Sprites([self.call("GET", "/v1/sprites/mine").json()["id"]]))
        app = self.call("GET", "/v1/apps/mine-app").json()["id"]
        self.app_macaroon = self.attenuated(caveats.Apps({int(app, 16): 31}))
        elsewhere = tokens.ensure_organisation(under_test.database, "elsewhere")
        self.elsewhere = tokens.issue(under_test.database, elsewhere, Wanted())

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.all}"}
        return httpx.request(method, self.host.url + path, json=body, headers=headers, timeout=60)

    def made(self, **wanted: object) -> str:
        return self.made_with_id(**wanted)[0]

    def made_with_id(self, **wanted: object) -> tuple[str, str]:
        answer = self.call("POST", "/v1/tokens", wanted)
        assert answer.status_code == 201, answer.text
        return answer.json()["token"], answer.json()["id"]

    def attenuated(self, *added: Caveat) -> str:
        """A macaroon that may everything, but for these."""
        return attenuated(self.made(form="macaroon"), *added)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield Keys(under_test)
    under_test.close()


def _head(row: Row[Any], names: str, token: str) -> bytes:
    path = row.path.replace("{name}", names).replace("{app}", names)
    path = re.sub(r"\{.*?\}", "7", path)
    head = f"{row.method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    if row.websocket:
        return f"{head}{UPGRADE}\r\n".encode()
    body = "" if row.method in ("GET", "HEAD", "DELETE") else "{}"
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def _asked(keys: Keys, row: Row[Any], names: str, token: str) -> tuple[int, bytes]:
    (answer,) = wire.parse_answers(wire.exchange(keys.host.url, _head(row, names, token)), row.method)
    return answer.status, answer.body


@pytest.mark.parametrize("row", NAMED, ids=_id)
def test_a_row_of_another_sprite_or_app_is_as_if_there_were_none(keys: Keys, row: Row[Any]) -> None:
    ending = "-app" if "{app}" in row.path else ""
    absent, there = f"nobodys{ending}", f"another{ending}"
    for token in (keys.sprite, keys.app, keys.elsewhere, keys.sprite_macaroon, keys.app_macaroon):
        status, said = _asked(keys, row, there, token)
        assert status == 404 or (status == 400 and token == keys.elsewhere), "400: of the body, before anything else"
        assert (status, said.replace(there.encode(), absent.encode())) == _asked(keys, row, absent, token)
    # For its own, and of the other kind.
    for wrong in (keys.sprite, keys.sprite_macaroon) if ending else (keys.app, keys.app_macaroon):
        assert _asked(keys, row, f"mine{ending}", wrong)[0] == 404


@pytest.mark.parametrize("row", WHOLES, ids=_id)
def test_a_row_of_the_organisation_refuses_who_has_a_part_of_it(keys: Keys, row: Row[Any]) -> None:
    for token in (keys.sprite, keys.app, keys.sprite_macaroon, keys.app_macaroon):
        assert _asked(keys, row, "mine", token)[0] == 403


def test_a_machine_of_a_sprites_disk_wants_a_key_that_may_read_it(keys: Keys) -> None:
    """As if there were no such sprite; with the right to, there is one."""
    assert keys.call("POST", "/v1/sprites/mine/checkpoint").status_code == 200
    body = {"config": {"image": "sprite://mine/v1"}, "skip_launch": True}
    machines = "/v1/apps/mine-app/machines"
    absent = {"config": {"image": "sprite://nobody/v1"}, "skip_launch": True}
    for token in (keys.app, keys.app_macaroon):
        answers = [keys.call("POST", machines, each, token) for each in (body, absent)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text == answers[1].text
    made = keys.call("POST", machines, body)
    assert (made.status_code, made.json()["image_ref"]["repository"]) == (200, "sprite/mine")
    changed = keys.call(
        "POST", f"{machines}/{made.json()['id']}", {"config": {"image": "sprite://another/v1"}}, keys.app
    )
    assert changed.status_code == 404


def test_rows_that_are_narrowed_tell_of_what_is_reached_alone(keys: Keys) -> None:
    """Each of them: one more of these has to be looked at here."""
    assert {row.path for row in NARROWED} == {
        "/v1/events",
        "/v1/sprites",
        "/v1/apps",
        "/v1/platform/regions",
        "/v1/tokens/current",
    }
    reached: list[tuple[str, list[str], list[str]]] = [
        (keys.sprite, ["mine"], []), (keys.app, [], ["mine-app"]),
        (keys.sprite_macaroon, ["mine"], []), (keys.app_macaroon, [], ["mine-app"]),
    ]  # fmt: skip
    for token, sprites, apps in reached:
        listed = keys.call("GET", "/v1/sprites", token=token).json()
        assert [row["name"] for row in listed["sprites"]] == sprites
        assert listed["running"] == len(sprites)
        assert [row["name"] for row in keys.call("GET", "/v1/apps", token=token).json()["apps"]] == apps
    for path, accept in (("/v1/events?after=0", "*/*"), ("/v1/sprites", "application/x-ndjson")):
        assert b"another" in _until_told(keys, path, accept, keys.all, b"another")
        assert b"another" not in _until_told(keys, path, accept, keys.sprite, b"mine")


def _until_told(keys: Keys, path: str, accept: str, token: str, wanted: bytes) -> bytes:
    """What a stream says up to `wanted` and a second change of that sprite, which the stream has to tell of too."""
    with wire.connected(keys.host.url) as stream:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nAuthorization: Bearer {token}\r\n\r\n"
        stream.sendall(head.encode())
        said = _read_until(stream, wanted)
        name = wanted.decode()
        for other in ("another", "mine"):
            keys.call("POST", f"/v1/sprites/{other}/sleep")
        return said + _read_until(stream, b'"' + name.encode() + b'"')


def _read_until(stream: socket.socket, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        piece = stream.recv(65536)
        assert piece, said
        said += piece
    return said


def test_its_own_is_reached(keys: Keys) -> None:
    for token in (keys.sprite, keys.sprite_macaroon):
        assert keys.call("GET", "/v1/sprites/mine", token=token).status_code == 200
    assert keys.call("GET", "/v1/sprites/mine/exec", token=keys.sprite).status_code == 200
    for token in (keys.app, keys.app_macaroon):
        assert keys.call("GET", "/v1/apps/mine-app/machines", token=token).status_code == 200


def test_nobody_forks_what_they_do_not_reach(keys: Keys) -> None:
    """Though they may make sprites."""
    mine = caveats.pack(own.Sprites([keys.call("GET", "/v1/sprites/mine").json()["id"]]))
    token = keys.attenuated(caveats.IfPresent((mine,), 31))
    for source, status in (("another", 404), ("mine", 201)):
        wanted = {"name": f"fork-of-{source}", "from": {"sprite": source}}
        assert keys.call("POST", "/v1/sprites", wanted, token=token).status_code == status
    assert keys.call("DELETE", "/v1/sprites/fork-of-mine").status_code == 204


def test_another_sprite_of_the_same_name_is_another_one(keys: Keys) -> None:
    assert keys.call("POST", "/v1/sprites", {"name": "brief"}).status_code == 201
    brief = keys.made(sprite="brief")
    assert keys.call("GET", "/v1/sprites/brief", token=brief).status_code == 200
    assert keys.call("DELETE", "/v1/sprites/brief").status_code == 204
    assert keys.call("POST", "/v1/sprites", {"name": "brief"}).status_code == 201
    assert keys.call("GET", "/v1/sprites/brief", token=brief).status_code == 404


@pytest.mark.parametrize("role", Role)
def test_roles(keys: Keys, role: Role) -> None:
    known = tokens.authenticate(keys.host.database, keys.made(role=role.value))
    assert known is not None
    who = principal.of_key(known)
    assert {permission for permission in Permission if who.may(permission)} == ROLES[role]


def test_a_disk_that_can_be_had_by_its_url_is_told_to_who_may_write(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To make a sprite of it is a write, here or on another host, and takes the disk away from the one that has it."""
    monkeypatch.setattr(keys.host.volumes, "stored", {})

    def told(token: str) -> str | None:
        answer = keys.call("GET", "/v1/sprites/mine/disk", token=token)
        assert answer.status_code == 200
        found: str | None = answer.json()["url"]
        return found

    for token in (keys.all, keys.made(role="operate"), keys.sprite, keys.sprite_macaroon):
        assert (told(token) or "").startswith("file:///store/vol/")
    for token in (keys.made(role="read"), keys.made(role="read", sprite="mine")):
        assert told(token) is None


def test_what_each_role_is() -> None:
    assert ROLES[Role.ADMIN] == GRANTABLE
    assert GRANTABLE - ROLES[Role.OPERATE] == {Permission.TOKENS}
    assert all(each.value.endswith(":read") for each in ROLES[Role.READ] - {Permission.SELF})
    assert ROLES[Role.EXEC] == {Permission.EXEC, Permission.SELF}


def test_a_key_is_listed_with_what_it_is_for_and_when_it_was_used(keys: Keys) -> None:
    token = keys.made(name="ci", role="exec", sprite="mine", expires_in_s=3600, description="builds")

    def row() -> dict[str, Any]:
        listed = keys.call("GET", "/v1/tokens").json()["tokens"]
        (found,) = [each for each in listed if each["id"] == token.split("/")[2]]
        return dict(found)

    first = row()
    assert (first["name"], first["role"], first["description"]) == ("ci", "exec", "builds")
    assert first["scope"] == {"kind": "sprite", "name": "mine"}
    assert first["created_at"] < first["expires_at"]
    assert first["last_used_at"] is first["revoked_at"] is None
    assert keys.call("GET", "/v1/sprites/mine/exec", token=token).status_code == 200
    assert row()["last_used_at"] is not None
    assert keys.call("POST", "/v1/tokens", {"name": "ci"}).status_code == 409
    assert keys.call("DELETE", "/v1/tokens/ci").status_code == 204
    assert row()["revoked_at"] is not None
    assert keys.call("DELETE", "/v1/tokens/ci").status_code == 404, "a name is free again"
    keys.made(name="ci")


@pytest.mark.parametrize(
    "wanted",
    [{"role": "owner"}, {"sprite": "mine", "app": "mine-app"}, {"name": "Not One"}, {"expires_in_s": 0},
     {"expires_in_s": 1e12}, {"expires_in_s": "soon"}],
)  # fmt: skip
def test_keys_that_cannot_be_meant(keys: Keys, wanted: dict[str, object]) -> None:
    assert keys.call("POST", "/v1/tokens", wanted).status_code == 400


def test_a_key_of_what_is_not_there(keys: Keys) -> None:
    assert keys.call("POST", "/v1/tokens", {"sprite": "nobodys"}).status_code == 404
    assert keys.call("POST", "/v1/tokens", {"app": "nobodys"}).status_code == 404


def test_nobody_makes_a_key_that_can_do_more_or_lasts_longer(keys: Keys) -> None:
    for token in (keys.sprite, keys.made(role="operate"), keys.made(role="read")):
        assert keys.call("POST", "/v1/tokens", {}, token=token).status_code == 403
    brief = keys.made(expires_in_s=600)
    assert keys.call("POST", "/v1/tokens", {"expires_in_s": 601}, token=brief).status_code == 403
    made = keys.call("POST", "/v1/tokens", {}, token=brief).json()["token"]
    rows = {row["id"]: row for row in keys.call("GET", "/v1/tokens").json()["tokens"]}
    assert rows[made.split("/")[2]]["expires_at"] == rows[brief.split("/")[2]]["expires_at"]


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
OPEN: dict[str, Callable[[str], str]] = {
    "a command": lambda token: (
        "GET /v1/sprites/mine/exec?cmd=cat&stdin=true HTTP/1.1\r\nHost: x\r\n"
        f"{UPGRADE}Authorization: Bearer {token}\r\n\r\n"
    ),
    "events": lambda token: f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
    "a watch": lambda token: (
        f"GET /v1/sprites HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\nAuthorization: Bearer {token}\r\n\r\n"
    ),
}


@pytest.mark.parametrize("opened", OPEN)
@pytest.mark.parametrize("form", ["bearer", "macaroon"])
def test_what_a_key_has_open_is_cut_off_when_it_is_revoked(keys: Keys, opened: str, form: str) -> None:
    (token, id), spared = keys.made_with_id(form=form), keys.made()
    if form == "macaroon":
        token = attenuated(token, caveats.ActionMask(31))  # what is made of it goes with it
    with wire.connected(keys.host.url) as stream, wire.connected(keys.host.url) as bystander:
        for each, whose in ((stream, token), (bystander, spared)):
            each.sendall(OPEN[opened](whose).encode())
            assert re.match(rb"HTTP/1.1 (101|200) ", _read_until(each, b"\r\n\r\n"))
        assert keys.call("DELETE", f"/v1/tokens/{id}").status_code == 204
        wire.read_all(stream)  # comes to an end
        assert keys.call("GET", "/v1/sprites", token=token).status_code == 401, "at once"
        assert keys.call("GET", "/v1/sprites", token=spared).status_code == 200
        assert not _has_ended(bystander)


def _has_ended(stream: socket.socket) -> bool:
    stream.settimeout(0)
    try:
        while stream.recv(65536):
            pass
    except BlockingIOError:
        return False
    return True


def test_who_revokes_their_own_key_is_answered(keys: Keys) -> None:
    token = keys.made(name="mine-own")
    assert keys.call("DELETE", "/v1/tokens/mine-own", token=token).status_code == 204
    assert keys.call("DELETE", "/v1/tokens/mine-own", token=token).status_code == 401


def _authenticator(who: Principal, now: list[float]) -> Authenticator:
    return Authenticator({"t": who}.get, now_s=lambda: now[0])


def test_what_an_expired_key_has_open_is_cut_off() -> None:
    now = [1000.0]
    who = Principal(Organisation("1", "o"), key="k", expires_us=1_000_010_000)
    authenticator = _authenticator(who, now)

    async def test() -> None:
        cut = asyncio.Event()
        assert await authenticator.authenticate("t") is who
        with authenticator.holding(who, cut.set):
            now[0] = 1001.0
            async with asyncio.timeout(60):
                await cut.wait()
        assert await authenticator.authenticate("t") is None, "though it is remembered"
        with pytest.raises(faults.Unauthenticated), authenticator.holding(who, cut.set):
            pass

    asyncio.run(test())


def test_a_key_that_is_revoked_while_it_is_looked_up_opens_nothing() -> None:
    who = Principal(Organisation("1", "o"), key="k")

    async def test() -> None:
        authenticator = _authenticator(who, [1000.0])
        found = await authenticator.authenticate("t")
        assert found is who
        authenticator.revoked("k")
        with pytest.raises(faults.Unauthenticated), authenticator.holding(found, lambda: None):
            pass
        authenticator.forget()
        assert await authenticator.authenticate("t") is None, "the store's answer is from before"

    asyncio.run(test())


def test_a_key_is_cut_off_also_when_who_revoked_it_has_gone_in_between() -> None:
    who, committing, gone = Principal(Organisation("1", "o"), key="k"), threading.Event(), threading.Event()

    def commit(*_: object) -> str:
        committing.set()
        assert gone.wait(60)
        return "k"

    async def test() -> None:
        authenticator, cut = _authenticator(who, [1000.0]), asyncio.Event()
        call: Any = mock.Mock(parameters={"token": "k"})
        call.access.authenticator = authenticator
        call.sprites.tokens.revoke = commit
        with authenticator.holding(who, cut.set):
            asking = asyncio.create_task(token_calls.revoke_token(call))
            assert await asyncio.to_thread(committing.wait, 60)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            gone.set()
            async with asyncio.timeout(60):
                await cut.wait()

    asyncio.run(test())


def test_peers_of_a_private_network_are_told_to_whom_they_are_within_reach(keys: Keys) -> None:
    database = keys.host.database
    with database.transaction() as tx:
        for name in ("mine", "another"):
            machine = keys.host.sprites.find(keys.host.organisation.id, name).machine
            assert machine is not None
            networks.assign(tx, machine, 16)
            networks.set_private(tx, machine, "shop")
    path = "/v1/sprites/mine/network/private"
    assert keys.call("GET", path).json() == {"network": "shop", "peers": ["another"]}
    for token in (keys.sprite, keys.sprite_macaroon):
        assert keys.call("GET", path, token=token).json() == {"network": "shop", "peers": []}


def _opened(tmp_path: pathlib.Path) -> tuple[SqliteDatabase, Organisation]:
    database = SqliteDatabase(str(tmp_path / "state.db"))
    return database, tokens.ensure_organisation(database, "acme")


def test_the_last_key_that_makes_others_is_left(tmp_path: pathlib.Path) -> None:
    database, organisation = _opened(tmp_path)
    last = tokens.issue(database, organisation, Wanted()).split("/")[2]
    later_us = time.time_ns() // 1000 + 3_600_000_000
    for wanted in (Wanted(role=Role.OPERATE), Wanted(scope=Scope.of_sprite("s")), Wanted(expires_us=later_us)):
        tokens.issue(database, organisation, wanted)
    with pytest.raises(errors.Conflict, match="the last one"):
        tokens.revoke(database, organisation, last)
    tokens.issue(database, organisation, Wanted(scope=WHOLE))
    assert tokens.revoke(database, organisation, last) == last
    database.close()


def test_an_expired_key_is_no_key(tmp_path: pathlib.Path) -> None:
    database, organisation = _opened(tmp_path)
    assert tokens.authenticate(database, tokens.issue(database, organisation, Wanted(expires_us=1))) is None
    database.close()


def test_uses_are_written_down_and_never_earlier_than_they_were(tmp_path: pathlib.Path) -> None:
    database, organisation = _opened(tmp_path)
    token = tokens.issue(database, organisation, Wanted()).split("/")[2]
    for at_us in (7, 5):
        tokens.note_uses(database, {token: at_us, "unknown": 9})
        assert [row.used_us for row in tokens.every(database, organisation)] == [7]
    database.close()


def test_the_watch_writes_uses_down(tmp_path: pathlib.Path) -> None:
    database, organisation = _opened(tmp_path)
    token = tokens.issue(database, organisation, Wanted()).split("/")[2]
    with services.watching(database, lambda: {token: 7}):
        deadline_s = time.monotonic() + 60
        while tokens.every(database, organisation)[0].used_us != 7:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    database.close()
