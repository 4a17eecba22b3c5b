"""Tokens of a machine by its own sockets: the real agent, the real sockets of the host, its real rows; joserfc
verifies them."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
from collections.abc import Awaitable, Callable, Iterator

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from pilot.agent.inside import fly_places
from pilot.host.fly.containers import ImageOf
from pilot.host.identity.issuer import Issuer
from pilot.host.identity.oidc import ALGORITHMS, Signer
from pilot.host.outward import identity_rows
from pilot.host.outward.sockets import Outward
from pilot.host.store import fly, tokens
from pilot.host.store.fly import App, Machine
from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import MachineId
from pilot.kernel import fds
from pilot.wire import outward
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

ME, NOBODYS = MachineId("m1"), MachineId("m2")


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer("https://pilot.test/oidc", Signer(str(tmp_path_factory.mktemp("identity")), bytes(32)))


@pytest.fixture
def host(tmp_path: pathlib.Path, issuer: Issuer) -> Iterator[Outward]:
    """Its store has one Machine, of an app `shop`."""
    database = SqliteDatabase(str(tmp_path / "state.db"))
    organisation = tokens.ensure_organisation(database, "acme")
    image = ImageOf("app", "docker.io/library/box:1", "sha256:0f", "v")
    row = Machine(
        ME, "1a", "web", "local", "created", "v7", {"image": "box"}, {}, (image,), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip
    with database.transaction() as tx:
        fly.add_app(tx, App("1a", organisation.id, "shop", "default", 0))
        fly.add(tx, row)
    made = Outward(identity_rows.rows(database, issuer))
    yield made
    made.close()
    database.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


async def ask(path: str, body: bytes) -> tuple[int, bytes]:
    """As curl does with `--data`, which calls JSON a form."""
    with fds.short_path(path) as short:
        reader, writer = await asyncio.open_unix_connection(short)
    head = f"POST /v1/tokens/oidc HTTP/1.1\r\nHost: flaps\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body)
    said = await reader.read()
    writer.close()
    first, _, text = said.partition(b"\r\n\r\n")
    return int(first.split()[1]), text


def claims_of(token: bytes, issuer: Issuer) -> dict[str, object]:
    keys: list[dict[str, str | list[str]]] = [{**key} for key in issuer.signer.published()]
    return jwt.decode(token.decode(), KeySet.import_key_set({"keys": keys}), algorithms=list(ALGORITHMS)).claims


def test_both_sockets_answer_the_bare_token(host: Outward, issuer: Issuer, machine: FakeMachine) -> None:
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
def test_what_can_be_asked(host: Outward, machine: FakeMachine, body: bytes, status: int) -> None:
    host.ensure(ME, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            assert (await ask(os.path.join(machine.paths.inside, "api.sock"), body))[0] == status

    run(test)


def test_a_machine_that_is_nobodys_is_nobody(host: Outward, machine: FakeMachine) -> None:
    host.ensure(NOBODYS, outward.socket_in(machine.paths.outward))

    async def test() -> None:
        async with machine.agent():
            status, said = await ask(os.path.join(machine.paths.inside, "api.sock"), b'{"aud": "x"}')
            assert (status, json.loads(said)["error"]) == (409, "POST /v1/tokens/oidc: this machine is nobody's yet")

    run(test)
