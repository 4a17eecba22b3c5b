"""The ports that apps are listened at: so many of each, so that one app, or one organisation, leaves others some."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import cast

import pytest

from pilot.host.fly.services import Ports, Protocol
from pilot.host.ingress.apps import listeners
from pilot.host.ingress.apps.facade import Apps
from pilot.host.ingress.apps.listeners import Listeners, Wanted
from pilot.host.relay.crowd import Crowd, limits
from pilot.host.relay.server import Listening
from pilot.host.services.fly_ways import Way
from pilot.host.store import fly, tokens
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from tests.support.host import HostUnderTest


def _add_app(host: HostUnderTest, name: str, organisation: str, created_us: int) -> None:
    owner = tokens.ensure_organisation(host.database, organisation)
    with host.database.transaction() as tx:
        fly.add_app(tx, App(name, owner.id, name, "default", created_us))


def _add(host: HostUnderTest, app: str, id: str, first: int, last: int) -> None:
    config = {
        "image": "box",
        "services": [{"internal_port": 80, "ports": [{"start_port": first, "end_port": last}]}],
    }
    machine = Machine(
        MachineId(id), app, id, "local", "created", "1", config, {}, (), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)


def test_an_app_and_an_organisation_have_so_many(host: HostUnderTest) -> None:
    for number, (app, organisation) in enumerate([("a", "one"), ("b", "one"), ("c", "one"), ("d", "other")]):
        _add_app(host, app, organisation, number)
        _add(host, app, f"{app}1", 1, 700)
        _add(host, app, f"{app}2", 1001, 1700)
    found, cut = listeners.wanted(host.fly.ways)
    assert Counter(each.way.app.name for each in found.values()) == {"a": 1024, "b": 1024, "d": 1024}
    assert cut == {"a", "b", "c", "d"}


def test_all_that_is_within_the_bounds_is_wanted(host: HostUnderTest) -> None:
    _add_app(host, "a", "one", 0)
    _add(host, "a", "a1", 80, 81)
    _add(host, "a", "a2", 443, 443)
    found, cut = listeners.wanted(host.fly.ways)
    assert sorted(port for _, port, _ in found) == [80, 81, 443]
    assert cut == frozenset()


def test_only_ports_of_http_are_others_when_the_app_gets_https(host: HostUnderTest) -> None:
    _add_app(host, "a", "one", 0)
    _add_services(host, "a1", _port(80, "http"), _port(22), _port(53, protocol="udp"))
    before, _ = listeners.wanted(host.fly.ways)
    _add_services(host, "a2", _port(443, "http", "tls"))
    after, _ = listeners.wanted(host.fly.ways)
    assert sorted(key[1] for key in before if after[key] != before[key]) == [80]


def _port(port: int, *handlers: str, protocol: str = "tcp") -> dict[str, object]:
    return {"protocol": protocol, "internal_port": 80, "ports": [{"port": port, "handlers": [*handlers]}]}


def _add_services(host: HostUnderTest, id: str, *services: dict[str, object]) -> None:
    machine = Machine(
        MachineId(id), "a", id, "local", "created", "1", {"image": "box", "services": list(services)}, {}, (),
        cordoned=False, lease=None, created_us=0, updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)


class Beside:
    """The part of a server that doors of datagrams use."""

    def __init__(self) -> None:
        self.crowd = Crowd(limits(8192))


def test_a_port_of_datagrams_stays_open_when_its_config_changes(
    host: HostUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket would be closed a moment after it has been told, and could not be made anew until then."""
    app = App("a", "one", "a", "default", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ports = [Ports(port, last, frozenset(), protocol=Protocol.UDP) for last in (port, port + 1)]
    told = [{("127.0.0.1", port, Protocol.UDP): Wanted(Way(app, port, each), None)} for each in ports]
    monkeypatch.setattr(listeners, "wanted", lambda _: (told[0], frozenset()))

    async def run() -> None:
        made = Listeners(host.fly.ways, cast(Apps, None), lambda: pytest.fail("nobody speaks TLS"))
        listening = cast(Listening, Beside())
        await made._look(listening)
        [(_, door)] = made._open.values()
        told.pop(0)
        await made._look(listening)
        [(wanted, same)] = made._open.values()
        assert (same is door, made._failed, wanted.way.ports) == (True, set(), ports[1])
        told[0] = {}
        await made._look(listening)
        assert made._open == {}

    asyncio.run(run())
