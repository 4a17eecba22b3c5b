"""Tokens of clouds in files: written before they are needed, kept fresh by two clocks; the real agent's way to a host
of the test's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping

import pytest

from pilot import errors
from pilot.agent.application import Application
from pilot.agent.identity import broker, clouds
from pilot.agent.identity.broker import Broker, Held, Moment
from pilot.host.outward import rows
from pilot.host.outward.sockets import Outward
from pilot.ids import MachineId
from pilot.wire import outward, schema
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
VAULT = {"VAULT_ADDR": "https://vault.test", "VAULT_ROLE": "web"}
LIFE_S = 600.0


class Host:
    """Answers with tokens that are numbered; `refuses`: none."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.refuses = False
        self.refused: set[str | None] = set()
        self.outward = Outward([rows.answering(outward.CREATE_OIDC_TOKEN, self._create)])

    def _create(self, _: rows.Caller, asked: outward.OidcRequest, __: Mapping[str, str]) -> outward.OidcToken:
        if self.refuses or asked.aud in self.refused:
            raise errors.StateError("not now")
        self.asked.append(asked.aud)
        return outward.OidcToken(token=f"t{len(self.asked)}", issued_s=1000.0, expires_s=1000.0 + LIFE_S)


@pytest.fixture
def host(machine: FakeMachine) -> Iterator[Host]:
    made = Host()
    made.outward.ensure(MachineId("m1"), outward.socket_in(machine.paths.outward))
    yield made
    made.outward.close()


class Clock:
    def __init__(self) -> None:
        self.moment = Moment(50.0, 1_800_000_000.0)

    def __call__(self) -> Moment:
        return self.moment

    def pass_s(self, since_boot_s: float, wall_s: float | None = None) -> None:
        wall = since_boot_s if wall_s is None else wall_s
        self.moment = Moment(self.moment.since_boot_s + since_boot_s, self.moment.wall_s + wall)


Test = Callable[[Application, Broker, Clock], Awaitable[None]]


def run(machine: FakeMachine, wanted: Mapping[str, list[Mapping[str, str]]], test: Test) -> None:
    async def bounded() -> None:
        clock = Clock()
        async with asyncio.timeout(60), machine.agent() as app:
            made = Broker(app.outward, app.machine.paths, app.events, lambda: wanted, clock)
            try:
                await test(app, made, clock)
            finally:
                await made.close()

    asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - files and counters tell nobody
        await asyncio.sleep(0.01)


def read(app: Application, container: str, name: str = "oidc_token") -> str:
    with open(os.path.join(app.machine.paths.run, "fly", container, name)) as file:
        return file.read()


def token_of(environment: Mapping[str, str]) -> str:
    [found] = clouds.credentials(environment)
    return found.token


def test_it_is_there_before_it_is_needed_and_asked_for_once(host: Host, machine: FakeMachine) -> None:
    async def test(app: Application, made: Broker, clock: Clock) -> None:
        await asyncio.gather(*[made.before_use("app", ROLE) for _ in range(8)])
        assert (read(app, "app"), host.asked) == ("t1", ["sts.amazonaws.com"])
        place = os.path.join(app.machine.paths.run, "fly", "app")
        assert sorted(os.listdir(place)) == ["api", "oidc_token"], "nothing half written"
        assert os.stat(os.path.join(place, "oidc_token")).st_mode & 0o777 == 0o444
        clock.pass_s(LIFE_S * 2 / 3 - 1)
        await made.before_use("app", ROLE)
        assert len(host.asked) == 1

    run(machine, {}, test)


@pytest.mark.parametrize(
    ("since_boot_s", "wall_s"),
    [(LIFE_S * 2 / 3, None), (0, 3600), (0, -3600), (3600, None), (10, 10 + broker.JUMP_S)],
    ids=["two thirds have passed", "stopped meanwhile", "set back", "asleep", "a clock that was set"],
)
def test_what_is_not_fresh_is_replaced(
    host: Host, machine: FakeMachine, since_boot_s: float, wall_s: float | None
) -> None:
    async def test(app: Application, made: Broker, clock: Clock) -> None:
        await made.before_use("app", ROLE)
        with open(os.path.join(app.machine.paths.run, "fly", "app", "oidc_token")) as held:
            clock.pass_s(since_boot_s, wall_s)
            await made.before_use("app", ROLE)
            assert (held.read(), read(app, "app")) == ("t1", "t2"), "who reads the old one reads all of it"

    run(machine, {}, test)


def test_a_machine_that_goes_on_has_fresh_ones_before_it_is_said_to(
    host: Host, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host tells it (`adopt`) after a suspension: whoever is let in then meets no old one."""
    monkeypatch.setattr(broker, "LOOK_S", 3600.0)  # not because it happens to look
    wanted: dict[str, list[Mapping[str, str]]] = {"app": [ROLE], "b": [VAULT]}

    async def test(app: Application, _: Broker, clock: Clock) -> None:
        app.broker._clock, app.broker._wanted = clock, lambda: wanted
        await app.machine_api.adopt(schema.AdoptRequest(name="m1"))
        first = {name: read(app, name, token_of(env[0])) for name, env in wanted.items()}
        await app.machine_api.adopt(schema.AdoptRequest(name="m1"))
        assert {name: read(app, name, token_of(env[0])) for name, env in wanted.items()} == first
        clock.pass_s(3600)
        await app.machine_api.adopt(schema.AdoptRequest(name="m1"))
        then = {name: read(app, name, token_of(env[0])) for name, env in wanted.items()}
        assert not set(first.values()) & set(then.values())

    run(machine, {}, test)


def test_each_container_has_its_own(host: Host, machine: FakeMachine) -> None:
    async def test(app: Application, made: Broker, _: Clock) -> None:
        await made.before_use("a", ROLE)
        await made.before_use("b", {**ROLE, **VAULT})
        await made.before_use("c", {"PATH": "/bin"})
        assert (read(app, "a"), read(app, "b"), read(app, "b", token_of(VAULT))) == ("t1", "t2", "t3")
        assert not os.path.exists(os.path.join(app.machine.paths.run, "fly", "c"))
        assert host.asked[2] == "https://vault.test"

    run(machine, {}, test)


def test_another_account_is_there_before_its_first_process(host: Host, machine: FakeMachine) -> None:
    """Though the token of its provider is fresh."""
    google = {"GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/p/providers/q"}

    async def test(app: Application, made: Broker, _: Clock) -> None:
        for account in ("one@b.test", "two@b.test"):
            environment = {**google, "GCP_SERVICE_ACCOUNT": account}
            await made.before_use("app", environment)
            place = clouds.variables(environment, "m1")["GOOGLE_APPLICATION_CREDENTIALS"]
            assert account in read(app, "app", os.path.basename(place))

    run(machine, {}, test)


def test_one_that_is_refused_keeps_no_other_from_its_token_and_is_told_once(host: Host, machine: FakeMachine) -> None:
    host.refused.add("https://vault.test")
    other = {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"}

    async def test(app: Application, made: Broker, _: Clock) -> None:
        for environment in [{**VAULT, **ROLE}] * 3:
            await made.before_use("app", environment)
        await made.before_use("b", VAULT)
        await made.before_use("app", {**other, **VAULT})
        assert (read(app, "app"), read(app, "app", token_of(other))) == ("t1", "t2")
        told = [each.container for each in app.events.since(0) if each.type == "credentials.stale"]
        assert told == ["app", "b"]

    run(machine, {"app": [VAULT]}, test)


def test_it_is_kept_fresh_while_it_is_wanted(host: Host, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by an agent that finds containers of another one."""
    monkeypatch.setattr(broker, "LOOK_S", 0.01)
    wanted: dict[str, list[Mapping[str, str]]] = {"app": [ROLE]}

    async def test(app: Application, made: Broker, clock: Clock) -> None:
        made.open()
        await until(lambda: len(host.asked) >= 1)
        clock.pass_s(LIFE_S)
        await until(lambda: len(host.asked) >= 2)
        del wanted["app"]
        assert made._looking is not None
        await made._looking
        assert read(app, "app") == "t2"

    run(machine, wanted, test)


def test_a_host_that_refuses_keeps_nothing_from_starting_and_is_told(
    host: Host, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "RETRY_S", 0.01)
    host.refuses = True
    wanted: dict[str, list[Mapping[str, str]]] = {"app": [ROLE]}

    async def test(app: Application, made: Broker, _: Clock) -> None:
        await made.before_use("app", ROLE)
        (told,) = [each for each in app.events.since(0) if each.type == "credentials.stale"]
        assert (told.container, told.message) == ("app", "POST /v1/tokens/oidc: not now")
        host.refuses = False
        await until(lambda: os.path.exists(os.path.join(app.machine.paths.run, "fly", "app", "oidc_token")))
        wanted.clear()

    run(machine, wanted, test)


def test_when_a_token_is_fresh() -> None:
    held = Held("a", Moment(100.0, 1000.0), 600.0)
    assert held.is_fresh(Moment(100.0, 1000.0))
    assert held.is_fresh(Moment(499.0, 1399.0))
    assert not held.is_fresh(Moment(500.0, 1400.0))
    assert not held.is_fresh(Moment(99.0, 999.0)), "another boot"
