"""Tokens of a machine by its own sockets: the real agent, the real sockets of the host, its real rows; joserfc
verifies them."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from pilot import errors
from pilot.agent.inside import fly_places
from pilot.agent.outward import by_socket
from pilot.host.api.machines import own, own_keys, own_volumes
from pilot.host.api.sprites import own as own_sprite
from pilot.host.fly.containers import ImageOf
from pilot.host.identity.issuer import Issuer, Subject
from pilot.host.identity.machine_tokens import LIFE_S, MachineTokens
from pilot.host.identity.oidc import ALGORITHMS, Signer
from pilot.host.outward import identity_rows
from pilot.host.outward.rows import Row
from pilot.host.outward.sockets import Outward
from pilot.host.services import fly_volumes as fly_volume_service
from pilot.host.services import own_checkpoints
from pilot.host.services.showing import Showing
from pilot.host.services.spawning import Spawning
from pilot.host.store import fly, fly_volumes, tokens
from pilot.host.store.fly import App, Machine
from pilot.host.store.tokens import Wanted
from pilot.ids import MachineId
from pilot.kernel import fds
from pilot.server import client
from pilot.wire import operations, outward
from pilot.wire.macaroons import caveats, header, macaroon
from pilot.wire.operations import AnyOperation
from tests.support.fake_machine import FakeMachine
from tests.support.host import HostUnderTest

pytestmark = pytest.mark.requires("root", "private")

ME, BESIDE, THEIRS, NOBODYS = map(MachineId, ("m1", "m2", "m3", "m4"))


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer("https://pilot.test/oidc", Signer(str(tmp_path_factory.mktemp("identity")), bytes(32)))


class Site:
    """A host whose store has two Machines of an app `shop`, and another of an app `bank` of others."""

    def __init__(self, root: pathlib.Path, issuer: Issuer) -> None:
        self.whole = HostUnderTest(root)
        database = self.whole.database
        self.tokens = MachineTokens(self.whole.roots)
        for app, organisation, ids in (("shop", "acme", (ME, BESIDE)), ("bank", "other", (THEIRS,))):
            owner = tokens.ensure_organisation(database, organisation).id
            with database.transaction() as tx:
                fly.add_app(tx, App(number_of(app), owner, app, "default", 0))
                for id in ids:
                    fly.add(tx, machine_row(id, number_of(app)))
        self.outward = Outward(identity_rows.rows(database, issuer, self.tokens))
        self.rows: list[Row] = [
            row for each in (own, own_keys, own_volumes) for row in each.rows(self.whole.fly, self.tokens)
        ]
        spawning, shown = Spawning(self.whole.host, self.whole.sprites), Showing(self.whole.host)
        self.of_sprites = own_sprite.rows(self.whole.sprites, spawning, shown)
        self.outward.bring([*self.rows, *self.of_sprites])

    def ensure(self, machine: MachineId, path: str) -> None:
        self.outward.ensure(machine, path)

    def close(self) -> None:
        self.outward.close()
        self.whole.close()


def number_of(app: str) -> str:
    return app.encode().hex()


def machine_row(id: MachineId, app: str) -> Machine:
    image = ImageOf("app", "docker.io/library/box:1", "sha256:0f", "v")
    return Machine(
        id, app, "web" if id == ME else id, "local", "stopped", "v7", {"image": "box"}, {"colour": "red"}, (image,),
        cordoned=False, lease=None, created_us=0, updated_us=0,
    )  # fmt: skip


@pytest.fixture
def host(tmp_path: pathlib.Path, issuer: Issuer) -> Iterator[Site]:
    made = Site(tmp_path / "host", issuer)
    yield made
    made.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


async def ask(path: str, body: bytes, what: str = "POST /v1/tokens/oidc", headers: str = "") -> tuple[int, bytes]:
    """As curl does with `--data`, which calls JSON a form."""
    with fds.short_path(path) as short:
        reader, writer = await asyncio.open_unix_connection(short)
    head = f"{what} HTTP/1.1\r\nHost: flaps\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}"
    writer.write(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body)
    said = await reader.read()
    writer.close()
    first, _, text = said.partition(b"\r\n\r\n")
    return int(first.split()[1]), text


def claims_of(token: bytes, issuer: Issuer) -> dict[str, object]:
    keys: list[dict[str, str | list[str]]] = [{**key} for key in issuer.signer.published()]
    return jwt.decode(token.decode(), KeySet.import_key_set({"keys": keys}), algorithms=list(ALGORITHMS)).claims


def test_both_sockets_answer_the_bare_token(host: Site, issuer: Issuer, machine: FakeMachine) -> None:
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            of_root = os.path.join(fly_places.ensure(machine.paths.run, machine.paths.inside, "app"), "api")
            for path in (of_root, os.path.join(machine.paths.inside, "api.sock")):
                status, token = await ask(path, b'{"aud": "sts.amazonaws.com"}')
                assert status == 200, token
                claims = claims_of(token, issuer)
                assert (claims["iss"], claims["sub"]) == ("https://pilot.test/oidc/acme", "acme:shop:web")
                assert (claims["aud"], claims["machine_id"]) == ("sts.amazonaws.com", ME)
                assert (claims["image"], claims["image_digest"]) == ("docker.io/library/box:1", "sha256:0f")
            _, token = await ask(of_root, b'{"aws_principal_tags": true}')
            claims = claims_of(token, issuer)
            assert claims["aud"] == claims["iss"]
            assert "https://aws.amazon.com/tags" in claims
            assert os.stat(of_root).st_mode & 0o777 == 0o600, "for its root alone"

    run(test)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 200), (b'{"aud": null}', 200), (b'{"aud": ""}', 400), (b'{"aud": 1}', 400), (b"[]", 400), (b"aud=x", 400),
     (json.dumps({"aud": "x" * 256}).encode(), 400), (b'{"aud": "x"', 400)],
)  # fmt: skip
def test_what_can_be_asked(host: Site, machine: FakeMachine, body: bytes, status: int) -> None:
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            assert (await ask(os.path.join(machine.paths.inside, "api.sock"), body))[0] == status

    run(test)


def test_a_machine_that_is_nobodys_is_nobody(host: Site, machine: FakeMachine) -> None:
    host.ensure(NOBODYS, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            status, said = await ask(os.path.join(machine.paths.inside, "api.sock"), b'{"aud": "x"}')
            assert (status, json.loads(said)["error"]) == (409, "POST /v1/tokens/oidc: this machine is nobody's yet")

    run(test)


def test_no_app_is_called_as_sprites_are(host: Site) -> None:
    """Who trusts the sprite `web` does not trust the Machine `web` of whatever app."""
    made = Subject("acme", "1", identity_rows.SPRITES, "", "web", "s")
    assert made.text == "acme:_sprites:web"
    with pytest.raises(errors.PilotError, match="invalid"):
        host.whole.fly.create_app("acme", identity_rows.SPRITES, "default")


def of_root(machine: FakeMachine) -> str:
    return os.path.join(machine.paths.inside, fly_places.SOCKET)


def test_a_machine_asks_about_itself_and_the_token_is_added_on_the_way(host: Site, machine: FakeMachine) -> None:
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            metadata = "/v1/apps/shop/machines/m1/metadata"
            assert await ask(of_root(machine), b"", f"GET {metadata}") == (200, b'{"colour":"red"}')
            assert (await ask(of_root(machine), b'{"value": "L"}', f"POST {metadata}/size"))[0] == 204
            assert await ask(of_root(machine), b"", f"GET {metadata}/size") == (200, b'{"value":"L"}')
            assert (await ask(of_root(machine), b"", f"DELETE {metadata}/colour"))[0] == 204
            assert await ask(of_root(machine), b"", f"GET {metadata}") == (200, b'{"size":"L"}')
            assert (await ask(of_root(machine), b"", f"GET {metadata}/colour"))[0] == 404
            stop = "POST /v1/apps/shop/machines/m1/stop"
            for body, status in (
                (b"", 200),
                (b'{"signal": "SIGINT"}', 200),
                (b"[]", 400),
            ):
                assert (await ask(of_root(machine), body, stop))[0] == status, "of one that is stopped already"
            shown = "Authorization: FlyV1 fm2_AAAA\r\nConnection: authorization\r\n"
            assert (await ask(of_root(machine), b"", f"GET {metadata}", shown))[0] == 200, (
                "what it shows is not looked at"
            )

    run(test)


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("GET /v1/apps/shop/machines/m2/metadata", 403),
        ("POST /v1/apps/shop/machines/m2/stop", 403),
        ("GET /v1/apps/bank/machines/m3/metadata", 404),
        ("GET /v1/apps/shop/machines/m3/metadata", 404),
        ("GET /v1/apps/none/machines/m1/metadata", 404),
        ("GET /v1/apps/shop/machines/m1", 404),
        ("GET /v1/apps/shop/machines", 405),
        ("DELETE /v1/apps/shop/machines/m1", 404),
        ("POST /v1/tokens/machine", 404),
        ("GET /v1/apps/shop/machines/m1/%2e%2e/m2/metadata", 404),
    ],
)
def test_and_about_nothing_else(host: Site, machine: FakeMachine, what: str, status: int) -> None:
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            assert (await ask(of_root(machine), b"{}", what))[0] == status
            assert (await ask(os.path.join(machine.paths.inside, "api.sock"), b"{}", what))[0] == 404

    run(test)


async def shown_by(machine: FakeMachine, token: str) -> int:
    """As an agent with that token is answered, which is whatever somebody has stolen."""
    stream = await by_socket(machine.paths.outward)(outward.PORT_HOST_API)
    target = "/v1/apps/shop/machines/m1/metadata"
    async with await client.request(stream, "GET", target, headers={"Authorization": token}) as answer:
        return answer.status


def test_a_stolen_token_is_of_no_use_elsewhere(host: Site, machine: FakeMachine) -> None:
    """Not to the machine beside it, not at pilotd's own listeners; nor one that was changed, is over, or is a key."""
    minted = host.tokens.mint(identity_rows.holder_of(host.whole.database, ME)).token
    key, _ = host.whole.authority.mint(tokens.ensure_organisation(host.whole.database, "acme"), Wanted())
    locked = macaroon.decode(header.parse_tokens(key)[0]).attenuate(caveats.FromMachineSource(ME))

    async def by(caller: MachineId, token: str) -> int:
        await asyncio.to_thread(host.ensure, caller, outward.socket_in(machine.paths.outward))
        try:
            return await shown_by(machine, token)
        finally:
            await asyncio.to_thread(host.outward.remove, caller)

    async def test() -> None:
        assert await by(ME, minted) == 200
        assert await by(BESIDE, minted) == 403
        assert await by(THEIRS, minted) == 404
        for none in (
            "",
            "FlyV1 fm2_AAAA",
            minted[:-8],
            f"{minted},{minted.partition(' ')[2]}",
            key,
            header.write([locked]),
        ):
            assert await by(ME, none) == 401, none
        host.tokens.now_s = lambda: time.time() + LIFE_S + 1
        assert await by(ME, minted) == 403

    run(test)
    for path in ("/v1/apps", "/v1/apps/shop", "/v1/sprites", "/v1/tokens/current"):
        answer = httpx.get(f"{host.whole.url}{path}", headers={"Authorization": minted})
        assert answer.status_code == 401


def test_a_machine_uses_the_keys_of_its_app_and_no_others(host: Site, machine: FakeMachine) -> None:
    for id in (ME, THEIRS):
        app = fly.app_of(host.whole.database, fly.by_id(host.whole.database, id))
        host.whole.fly.keys.add(app, "orders", "xaes256gcm")
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            fly_api = os.path.join(machine.paths.inside, fly_places.SOCKET)

            async def use(app: str, what: str, body: object) -> tuple[int, bytes]:
                what = f"POST /v1/apps/{app}/secretkeys/{what}"
                return await ask(fly_api, json.dumps(body).encode(), what)

            for app in ("shop", outward.OWN_APP):
                status, said = await use(app, "orders/encrypt", {"plaintext": "aGVsbG8="})
                assert status == 200, said
                status, said = await use(app, "ordersv0/decrypt", json.loads(said))
                assert (status, json.loads(said)) == (200, {"plaintext": "aGVsbG8="})
                status, said = await ask(fly_api, b"", f"GET /v1/apps/{app}/secretkeys")
                assert [each["name"] for each in json.loads(said)["secret_keys"]] == ["ordersv0"]
            assert (await use("bank", "orders/encrypt", {"plaintext": ""}))[0] == 404, "of others"
            assert (await use("shop", "orders/generate", {"type": "hs256"}))[0] == 404, "they are made by people alone"
            assert (await use("shop", "nothing/encrypt", {"plaintext": ""}))[0] == 404
            assert (await ask(fly_api, b"", "DELETE /v1/apps/shop/secretkeys/orders"))[0] in (404, 405)

    run(test)


def test_keys_are_used_with_the_machines_own_token_alone(host: Site, machine: FakeMachine) -> None:
    """By the host's own socket, where a container never is: also with the token of another Machine of the app."""
    app = fly.app_of(host.whole.database, fly.by_id(host.whole.database, ME))
    host.whole.fly.keys.add(app, "orders", "xaes256gcm")
    for id in (ME, BESIDE):
        host.ensure(id, outward.socket_in(f"{machine.paths.outward}-{id}"))

    async def test() -> None:
        reach = {id: by_socket(f"{machine.paths.outward}-{id}") for id in (ME, BESIDE)}

        async def made(id: MachineId) -> str:
            stream = await reach[id](outward.PORT_HOST_API)
            answer = await client.request(stream, "POST", outward.CREATE_MACHINE_TOKEN.path)
            async with answer:
                return (await answer.json(outward.MachineToken)).token

        async def encrypt(headers: dict[str, str]) -> int:
            stream = await reach[ME](outward.PORT_HOST_API)
            path = outward.ENCRYPT.target({"app": "shop", "key": "orders"})
            answer = await client.request(stream, "POST", path, body=b'{"plaintext": ""}', headers=headers)
            async with answer:
                await answer.body(1 << 16)
                return answer.status

        assert await encrypt({}) == 401
        assert await encrypt({"Authorization": await made(BESIDE)}) == 403
        assert await encrypt({"Authorization": await made(ME)}) == 200

    run(test)


NAMES = {"app": "shop", "machine": ME, "key": "orders", "volume": "vol_0", "name": "web-1", "checkpoint": "v1"}


class Callers:
    """Each machine's own way to the host, and what is answered to whoever takes it with whatever token."""

    def __init__(self, host: Site, directory: str) -> None:
        self._host = host
        self._reach = {}
        for id in (ME, BESIDE, THEIRS, NOBODYS):
            host.ensure(id, outward.socket_in(f"{directory}-{id}"))
            self._reach[id] = by_socket(f"{directory}-{id}")

    def minted(self, id: MachineId) -> str:
        return self._host.tokens.mint(identity_rows.holder_of(self._host.whole.database, id)).token

    async def ask(self, caller: MachineId, operation: AnyOperation, token: str | None, **names: str) -> tuple[int, str]:
        stream = await self._reach[caller](outward.PORT_HOST_API)
        headers = {} if token is None else {"Authorization": token}
        target = operation.target({**NAMES, **names})
        answer = await client.request(stream, operation.method, target, body=b"{}", headers=headers)
        async with answer:
            return answer.status, (await answer.body(1 << 16)).decode()


@pytest.mark.parametrize("operation", outward.PASSED_ON, ids=lambda each: each.id)
def test_each_row_that_is_passed_on_refuses_whoever_it_is_not_for(
    host: Site, machine: FakeMachine, operation: AnyOperation
) -> None:
    callers = Callers(host, machine.paths.outward)
    key, _ = host.whole.authority.mint(tokens.ensure_organisation(host.whole.database, "acme"), Wanted())
    own_token = callers.minted(ME)

    async def test() -> None:
        for token in (None, "", "Bearer x", key, own_token[:-8]):
            assert (await callers.ask(ME, operation, token))[0] == 401, token
        for stolen in (callers.minted(BESIDE), callers.minted(THEIRS)):
            assert (await callers.ask(ME, operation, stolen))[0] == 403
        beside, theirs, nobodys = [await callers.ask(id, operation, own_token) for id in (BESIDE, THEIRS, NOBODYS)]
        assert (beside[0], theirs[0], nobodys[0]) == (403, 404, 404)
        assert (await callers.ask(ME, operation, own_token, app="bank"))[0] == 404, "of others"
        if "{machine}" in operation.path:
            assert (await callers.ask(ME, operation, own_token, machine=BESIDE))[0] == 403
        said = await callers.ask(ME, operation, own_token)
        assert said[0] not in (401, 500), said
        assert said[0] != 403 or "by itself" in said[1], said

    run(test)


def test_the_table_is_all_that_is_passed_on_and_sprites_rows_are_of_sprites(host: Site, machine: FakeMachine) -> None:
    assert {row.operation.id for row in host.rows} == {each.id for each in outward.PASSED_ON}
    callers = Callers(host, machine.paths.outward)

    async def test() -> None:
        for row in host.of_sprites:
            for id in (ME, NOBODYS):
                status, said = await callers.ask(id, row.operation, callers.minted(ME))
                nothing = (
                    row.operation is outward.HIDE_CHECKPOINT and status == 204
                )  # of what is not shown there is none
                assert nothing or status in (404, 409), (row.operation.id, status, said)

    run(test)


def test_each_socket_has_its_own_rows_and_nothing_of_the_pilot_api(host: Site, machine: FakeMachine) -> None:
    """Of the machine's own API those inside a sprite have what services are asked."""
    host.ensure(ME, outward.socket_in(machine.paths.outward))
    of_sprites: list[AnyOperation] = [row.operation for row in host.of_sprites]
    pilot_api: list[AnyOperation] = [
        each for each in operations.OPERATIONS if not each.websocket and not each.path.startswith("/v1/services")
    ]
    both = {("GET", "/v1/self"), ("POST", "/v1/tokens/oidc")}

    async def test() -> None:
        async with machine.agent():
            own_socket = os.path.join(machine.paths.inside, "api.sock")
            refused: list[tuple[str, AnyOperation]] = [(own_socket, each) for each in outward.PASSED_ON]
            refused += [(own_socket, each) for each in pilot_api]
            refused += [(of_root(machine), each) for each in (*of_sprites, *pilot_api, outward.CREATE_MACHINE_TOKEN)]
            for path, operation in refused:
                if (operation.method, operation.path) in both:
                    continue
                target = operation.target(dict.fromkeys(_names(operation.path), "m1") | NAMES)
                status, said = await ask(path, b"{}", f"{operation.method} {target}")
                assert status in (404, 405), (path, operation.id, said)

    run(test)


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def test_no_header_of_one_hop_and_no_other_passes_either_way(machine: FakeMachine) -> None:
    """Nor does the Host mean anything; a body that comes in pieces is passed on whole."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As a host that says more than it should."""
        assert await reader.readline() == b"CONNECT 10000\n"
        writer.write(b"OK 10000\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /v1/tokens/machine"):
            said = json.dumps({"token": "FlyV1 fm2_own", "issued_s": time.time(), "expires_s": time.time() + 3600})
        else:
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            heads.append(head + await reader.readexactly(int(length.split()[1])))
            said = "{}"
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=b\r\n"
            b"Proxy-Authenticate: x\r\nUpgrade: h2c\r\nAuthorization: FlyV1 fm2_own\r\nContent-Type: text/html\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(said), said.encode())
        )
        await writer.drain()
        writer.close()

    async def test() -> None:
        os.makedirs(machine.paths.outward, exist_ok=True)
        with fds.short_path(outward.socket_in(machine.paths.outward)) as short:
            server = await asyncio.start_unix_server(serve, short)
        async with server, machine.agent():
            with fds.short_path(of_root(machine)) as short:
                reader, writer = await asyncio.open_unix_connection(short)
            writer.write(
                b"POST /v1/apps/shop/secretkeys/k/sign HTTP/1.1\r\nHost: 169.254.169.254\r\nX-Forwarded-For: 1\r\n"
                b"Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nCookie: a=b\r\n"
                b"Authorization: Bearer mine\r\nProxy-Authorization: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b'4\r\n{"pl\r\na;ext=1\r\naintext":1\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n'
            )
            answer = await reader.read()
            writer.close()
        (passed,) = heads
        head, _, body = passed.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        assert (first, body) == (b"POST /v1/apps/shop/secretkeys/k/sign HTTP/1.1", b'{"plaintext":1}')
        names = {line.partition(b":")[0].lower() for line in lines}
        assert names <= {b"host", b"authorization", b"content-length", b"connection", b"accept", b"user-agent"}
        assert b"Authorization: FlyV1 fm2_own" in lines or b"authorization: FlyV1 fm2_own" in lines
        assert b"169.254" not in head
        came, _, content = answer.partition(b"\r\n\r\n")
        assert came.startswith(b"HTTP/1.1 200 ")
        assert content == b"{}"
        told = {line.partition(b":")[0].lower() for line in came.split(b"\r\n")[1:]}
        assert told <= {b"content-length", b"content-type", b"connection", b"date"}, told
        assert b"fm2_own" not in came
        assert b"text/html" not in came

    run(test)


def test_a_machine_takes_snapshots_of_its_own_volumes(
    host: Site, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = fly.app_of(host.whole.database, fly.by_id(host.whole.database, ME))
    volumes = host.whole.fly.volumes
    made = []
    for owner in (ME, BESIDE):
        id, ended = volumes.create(shop, fly_volume_wanted(f"of_{owner}"))
        assert ended.result(60).done
        with host.whole.database.transaction() as tx:
            fly_volumes.hold(tx, owner, shop.id, [id])
        made.append(id)
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():

            async def own(what: str) -> tuple[int, Any]:
                method, _, path = what.partition(" ")
                status, said = await ask(of_root(machine), b"{}", f"{method} /v1/apps/shop/{path}")
                return status, json.loads(said)

            status, listed = await own("GET volumes")
            assert (status, [row["id"] for row in listed]) == (200, [made[0]]), "those that it has"
            assert await own(f"GET volumes/{made[0]}/snapshots") == (200, [])
            status, taken = await own(f"POST volumes/{made[0]}/snapshots")
            assert (status, taken["status"]) == (200, "created"), taken
            status, listed = await own(f"GET volumes/{made[0]}/snapshots")
            assert [row["id"] for row in listed] == [taken["id"]]
            assert [each.id for each in volumes.snapshots(volumes.find(shop, made[0]))] == [taken["id"]]
            for path in (f"volumes/{made[1]}/snapshots", "volumes/vol_none/snapshots"):
                assert [(await own(f"{how} {path}"))[0] for how in ("GET", "POST")] == [404, 404]
            monkeypatch.setattr(own_checkpoints.snapshot, "__defaults__", (1,))
            status, said = await own(f"POST volumes/{made[0]}/snapshots")
            assert (status, "1 snapshots" in said["error"]) == (429, True)
            status, said = await own("POST machines")
            assert (status, "makes no other by itself" in said["error"]) == (403, True)

    run(test)


def fly_volume_wanted(name: str) -> fly_volume_service.Wanted:
    return fly_volume_service.Wanted(name, "local", 1)
