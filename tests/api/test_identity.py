"""Tokens of a machine by its own sockets: the real agent, the real sockets of the host, its real rows; joserfc
verifies them."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import time
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from pilot import errors
from pilot.agent.inside import fly_places
from pilot.agent.outward import by_socket
from pilot.host.api.machines import own, own_keys
from pilot.host.fly.containers import ImageOf
from pilot.host.identity.issuer import Issuer, Subject
from pilot.host.identity.machine_tokens import LIFE_S, MachineTokens
from pilot.host.identity.oidc import ALGORITHMS, Signer
from pilot.host.outward import identity_rows
from pilot.host.outward.sockets import Outward
from pilot.host.store import fly, tokens
from pilot.host.store.fly import App, Machine
from pilot.host.store.tokens import Wanted
from pilot.ids import MachineId
from pilot.kernel import fds
from pilot.server import client
from pilot.wire import outward
from pilot.wire.macaroons import caveats, header, macaroon
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
        rows = (*own.rows(self.whole.fly, self.tokens), *own_keys.rows(self.whole.fly, self.tokens))
        self.outward.bring(rows)

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
        ("GET /v1/apps/shop/machines", 404),
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
