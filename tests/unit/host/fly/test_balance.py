"""Which Machine a connection goes to, which is started for it, and which is not needed any more."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.host.fly import balance, config, services
from pilot.host.fly.balance import Candidate, Choice, Running
from pilot.host.fly.services import Handler, Rest, Service
from pilot.ids import MachineId

A, B, C = (MachineId(name) for name in "abc")
WEB = Service(0, 8080, soft_limit=2, hard_limit=3)


def _one(id: MachineId, state: str = "started", load: int = 0, **more: bool) -> Candidate:
    return Candidate(id, state, WEB, load, **more)


@pytest.mark.parametrize(
    ("candidates", "choice"),
    [
        ([], Choice()),
        ([_one(A, load=1), _one(B)], Choice(B)),
        ([_one(A, load=1), _one(B, "stopped")], Choice(A)),
        ([_one(A, load=2), _one(B, "stopped")], Choice(A, start=B, waits=True)),
        ([_one(A, load=2), _one(B, "starting"), _one(C, "stopped")], Choice(A, waits=True)),
        ([_one(A, load=3), _one(B, "suspended")], Choice(start=B, waits=True)),
        ([_one(A, load=3)], Choice(waits=True)),
        ([_one(A, load=2), _one(B, load=3)], Choice(A, waits=True)),
        ([_one(A, is_healthy=False)], Choice(waits=True)),
        ([_one(A, is_healthy=False), _one(B, "stopped")], Choice(start=B, waits=True)),
        ([_one(A, is_cordoned=True), _one(B, "stopped", is_cordoned=True)], Choice()),
        ([_one(A, "stopped", may_start=False)], Choice()),
        ([_one(A, "stopping")], Choice(waits=True)),
        ([_one(A, "created"), _one(B, "failed"), _one(C, "destroying")], Choice()),
    ],
)
def test_choice(candidates: list[Candidate], choice: Choice) -> None:
    assert balance.choose(candidates) == choice


def test_what_was_tried_is_not_chosen_again() -> None:
    assert balance.choose([_one(A), _one(B)], without={A}) == Choice(B)
    assert balance.choose([_one(A)], without={A}) == Choice()


def _running(id: MachineId, load: int = 0, idle_s: float = 99.0, least: int = 0, rest: Rest = Rest.STOP) -> Running:
    return Running(id, rest, load, load > WEB.soft_limit, idle_s, least)


@pytest.mark.parametrize(
    ("running", "count"),
    [
        ([], 0),
        ([_running(A)], 1),
        ([_running(A, load=1)], 0),
        ([_running(A, least=1)], 0),
        ([_running(A, load=1), _running(B)], 1),
        ([_running(A, load=3), _running(B)], 0),
        ([_running(A, load=3), _running(B), _running(C)], 1),
        ([_running(A), _running(B), _running(C)], 2),
        ([_running(A), _running(B), _running(C, least=2)], 1),
    ],
)
def test_excess(running: list[Running], count: int) -> None:
    assert balance.excess(running) == count


def test_the_longest_idle_rests_and_none_that_is_used() -> None:
    assert balance.rests([_running(A, idle_s=10), _running(B, idle_s=20)], 5) == _running(B, idle_s=20)
    assert balance.rests([_running(A, idle_s=10), _running(B, idle_s=20)], 30) is None
    assert balance.rests([_running(A, load=1, idle_s=0), _running(B, load=1, idle_s=0)], 5) is None
    assert balance.rests([_running(A, rest=Rest.OFF)], 5) is None


def _plan(**service: object) -> Service:
    (found,) = services.plan(config.parse({"image": "box", "services": [{"internal_port": 80, **service}]}))
    return found


def test_services_as_values() -> None:
    (checked,) = services.plan(
        config.parse({"image": "x", "services": [{"internal_port": 80, "checks": [{"type": "tcp"}]}]})
    )
    assert checked.checks == ("servicecheck-00-tcp-80",)
    plain = _plan()
    assert (plain.soft_limit, plain.hard_limit, plain.autostart, plain.autostop) == (20, None, True, Rest.OFF)
    limited = _plan(concurrency={"type": "requests", "soft_limit": 9, "hard_limit": 5})
    assert (limited.soft_limit, limited.hard_limit) == (5, 5)
    assert [_plan(autostop=said).autostop.value for said in (True, False, "off", "stop", "suspend", None)] == [
        "stop", "off", "off", "stop", "suspend", "off",
    ]  # fmt: skip
    ranged = _plan(ports=[{"start_port": 5, "end_port": 7}, {"port": 443, "handlers": ["tls", "http"]}])
    assert [ranged.at(port) is not None for port in (4, 5, 7, 8, 443)] == [False, True, True, False, True]
    assert ranged.ports[1].handlers == {Handler.TLS, Handler.HTTP}


@pytest.mark.parametrize(
    ("service", "place"),
    [
        ({"protocol": "sctp"}, "services[0].protocol"),
        ({"protocol": "udp", "internal_port": 53, "ports": [{"port": 53, "handlers": ["tls"]}]}, "ports[0].handlers"),
        ({"autostop": "sometimes"}, "services[0].autostop"),
        ({"autostart": "true"}, "services[0].autostart"),
        ({"ports": [{}]}, "services[0].ports[0]"),
        ({"ports": [{"start_port": 9, "end_port": 8}]}, "services[0].ports[0]"),
        ({"ports": [{"start_port": 1, "end_port": 60000}]}, "services[0].ports"),
        ({"ports": [{"port": 0}]}, "services[0].ports[0].port"),
        ({"ports": [{"port": 80, "handlers": ["pg_tls"]}]}, "services[0].ports[0].handlers"),
        ({"ports": [{"port": 80, "handlers": ["http", "proxy_proto"]}]}, "services[0].ports[0].handlers"),
        ({"internal_port": None, "ports": [{"port": 80}]}, "services[0].internal_port"),
    ],
)
def test_services_that_cannot_be(service: dict[str, object], place: str) -> None:
    with pytest.raises(errors.SpecError) as raised:
        _plan(**service)
    assert place in str(raised.value)


@pytest.mark.parametrize(
    ("many", "ports", "place"),
    [(2, {"start_port": 1, "end_port": 600}, "services[1].ports"), (257, {"port": 80}, "config.services")],
)
def test_services_together_are_bounded(many: int, ports: dict[str, object], place: str) -> None:
    document = {"image": "x", "services": [{"internal_port": 80, "ports": [ports]}] * many}
    with pytest.raises(errors.SpecError) as raised:
        services.plan(config.parse(document))
    assert place in str(raised.value)
