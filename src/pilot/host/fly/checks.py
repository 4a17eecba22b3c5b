"""Checks of a Machine: those of its config and of its services, as checks of pilot, and what these have found.

Nothing follows from them but what is told of them: they are asked in a container of which no other one waits for its
health. Names are told as upstream has them: `servicecheck-<n>-<type>-<port>` for those of services.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from ... import errors
from ...wire import graph
from .config import Check, Config, Container, seconds

_INTERVAL_S, _TIMEOUT_S, _LEAST_INTERVAL_S = 15.0, 10.0, 1.0
# In pilot's name of one, so that it is none of a container's own.
_MARK = "machine/"
Status = Literal["passing", "warning", "critical"]
_STATUSES: Mapping[str, Status] = {"passing": "passing", "failing": "critical", "unknown": "warning"}


class Found(msgspec.Struct, frozen=True):
    """What a check has found. `warning`: nothing yet."""

    name: str
    status: Status
    output: str


def named(config: Config) -> Iterator[tuple[str, Check]]:
    """All that it has."""
    yield from (config.checks or {}).items()
    for _, name, check in _of_services(config):
        yield name, check


def names_of_services(config: Config) -> list[tuple[str, ...]]:
    """Of each of its services, in order: what its checks are called."""
    found: list[list[str]] = [[] for _ in config.services or ()]
    for number, name, _ in _of_services(config):
        found[number].append(name)
    return list(map(tuple, found))


def _of_services(config: Config) -> Iterator[tuple[int, str, Check]]:
    """With the number of the service."""
    names = itertools.count()
    for number, service in enumerate(config.services or ()):
        for check in service.checks or ():
            port = check.port or service.internal_port
            name = f"servicecheck-{next(names):02d}-{check.type}-{port}"
            yield number, name, msgspec.structs.replace(check, port=port)


def plan(config: Config) -> list[graph.Check]:
    """`SpecError` for what none can be."""
    return [_check(check, name) for name, check in named(config)]


def place(wanted: Sequence[Container]) -> str:
    """The container in which they are asked: the first one whose health no other one waits for."""
    awaited = {each.name for container in wanted for each in container.depends_on or () if each.condition == "healthy"}
    return next((each.name for each in wanted if each.name not in awaited), wanted[0].name)


def found(config: Config, told: graph.GraphStatus | None) -> list[Found]:
    """One for each, whatever the machine says; None: nothing, for it does not run."""
    known = {check.name: check for each in (told.containers if told else ()) for check in each.checks}
    return [_found(name, known.get(_MARK + name)) for name, _ in named(config)]


def _found(name: str, check: graph.CheckStatus | None) -> Found:
    if check is None:
        return Found(name, "critical", "the machine does not say how it is")
    return Found(name, _STATUSES[check.status], check.message)


def _check(wanted: Check, name: str) -> graph.Check:
    where = f"config.checks.{name}"
    if wanted.protocol not in (None, "", "http"):
        raise errors.SpecError(f"{where}.protocol", f"only http is possible, not {wanted.protocol[:20]!r}")
    if wanted.port is None:
        raise errors.SpecError(f"{where}.port", "is required")
    headers = {each.name: ", ".join(each.values) for each in wanted.headers or ()}
    is_http = wanted.type == "http"
    http = graph.HttpProbe(
        port=wanted.port, path=wanted.path or "/", method=(wanted.method or "GET").upper(), headers=headers
    )  # fmt: skip
    return graph.Check(
        name=_MARK + name,
        http=http if is_http else None,
        tcp=None if is_http else graph.TcpProbe(port=wanted.port),
        interval_s=max(seconds(wanted.interval, _INTERVAL_S, f"{where}.interval"), _LEAST_INTERVAL_S),
        timeout_s=seconds(wanted.timeout, _TIMEOUT_S, f"{where}.timeout") or _TIMEOUT_S,
        grace_period_s=seconds(wanted.grace_period, 0.0, f"{where}.grace_period"),
        failure_threshold=1,
    )
