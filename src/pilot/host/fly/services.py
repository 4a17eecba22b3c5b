"""Services of a Machine, as values: where they are reached, what is done to a connection, how much each Machine takes.

client ─ an external port ─ handlers ─ a Machine of the app that has the service ─ its internal port
                            none         bytes as they are, or with the protocol udp datagrams
                            tls          ends TLS
                            http         reads requests, each of which goes to a Machine by itself
                            proxy_proto  says first who the client is (HAProxy's PROXY protocol, version 1)
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence

from ... import errors
from . import checks
from . import config as configs
from .config import Config

# Fly's, where a service says none. There is no hard one then.
SOFT_LIMIT = 20
MOST_SERVICES = 256
MOST_PORTS = 1024  # of all services together


class Protocol(enum.Enum):
    """What comes to a port: TCP and UDP have each their own."""

    TCP = "tcp"
    UDP = "udp"


class Handler(enum.Enum):
    """What is done to a connection."""

    HTTP = "http"
    TLS = "tls"
    PROXY_PROTO = "proxy_proto"


class Rest(enum.Enum):
    """What becomes of a Machine that nobody needs."""

    OFF = "off"
    STOP = "stop"
    SUSPEND = "suspend"


_RESTS: dict[bool | str | None, Rest] = {
    None: Rest.OFF, False: Rest.OFF, True: Rest.STOP, "": Rest.OFF, **{each.value: each for each in Rest},
}  # fmt: skip
_POSSIBLE = frozenset(
    {
        frozenset[Handler](),
        frozenset({Handler.HTTP}),
        frozenset({Handler.TLS}),
        frozenset({Handler.TLS, Handler.HTTP}),
        frozenset({Handler.PROXY_PROTO}),
        frozenset({Handler.TLS, Handler.PROXY_PROTO}),
    }
)


@dataclasses.dataclass(frozen=True)
class Ports:
    """From `first` to `last`."""

    first: int
    last: int
    handlers: frozenset[Handler]
    force_https: bool = False
    protocol: Protocol = Protocol.TCP

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    @property
    def is_http(self) -> bool:
        return Handler.HTTP in self.handlers

    @property
    def is_tls(self) -> bool:
        return Handler.TLS in self.handlers


@dataclasses.dataclass(frozen=True)
class Service:
    """`number`: among those of its Machine. `hard_limit` None: however many. `checks`: their names."""

    number: int
    internal_port: int
    ports: tuple[Ports, ...] = ()
    soft_limit: int = SOFT_LIMIT
    hard_limit: int | None = None
    autostart: bool = True
    autostop: Rest = Rest.OFF
    least_running: int = 0
    checks: tuple[str, ...] = ()
    protocol: Protocol = Protocol.TCP

    def at(self, port: int) -> Ports | None:
        """What it has at that external port."""
        return next((each for each in self.ports if port in each), None)


def plan(config: Config) -> tuple[Service, ...]:
    """`SpecError` with the place for what cannot be served."""
    if len(config.services or ()) > MOST_SERVICES:
        raise errors.SpecError("config.services", f"more than {MOST_SERVICES}")
    checked = checks.names_of_services(config)
    found: list[Service] = []
    ports = 0
    for number, names in enumerate(checked):
        found.append(_service(config, number, names))
        ports += sum(each.last - each.first + 1 for each in found[-1].ports)
        if ports > MOST_PORTS:
            raise errors.SpecError(f"config.services[{number}].ports", f"more than {MOST_PORTS} ports of all services")
    return tuple(found)


def served(services: Sequence[Service]) -> Iterator[tuple[Service, Ports]]:
    """Each way in that they have."""
    for service in services:
        for ports in service.ports:
            yield service, ports


def _service(config: Config, number: int, checked: tuple[str, ...]) -> Service:
    wanted = (config.services or ())[number]
    place = f"config.services[{number}]"
    protocol = _protocol(wanted.protocol, place)
    if isinstance(wanted.autostop, str) and wanted.autostop not in _RESTS:
        raise errors.SpecError(f"{place}.autostop", "is off, stop or suspend")
    ports = tuple(_ports(each, protocol, f"{place}.ports[{index}]") for index, each in enumerate(wanted.ports or ()))
    if ports and wanted.internal_port is None:
        raise errors.SpecError(f"{place}.internal_port", "is required")
    limits = wanted.concurrency or configs.Concurrency()
    soft, hard = limits.soft_limit or limits.hard_limit or SOFT_LIMIT, limits.hard_limit or None
    return Service(
        number=number,
        internal_port=wanted.internal_port or 0,
        ports=ports,
        soft_limit=soft if hard is None else min(soft, hard),
        hard_limit=hard,
        autostart=wanted.autostart is not False,
        autostop=_RESTS[wanted.autostop],
        least_running=wanted.min_machines_running or 0,
        checks=checked,
        protocol=protocol,
    )


def _protocol(wanted: str | None, place: str) -> Protocol:
    if (wanted or "tcp") not in {each.value for each in Protocol}:
        raise errors.SpecError(f"{place}.protocol", f"only tcp and udp are possible, not {str(wanted)[:20]!r}")
    return Protocol(wanted or "tcp")


def _ports(wanted: configs.Port, protocol: Protocol, place: str) -> Ports:
    first = wanted.port or wanted.start_port
    last = wanted.port or wanted.end_port
    if first is None or last is None:
        raise errors.SpecError(place, "has a port, or a start_port and an end_port")
    if last < first:
        raise errors.SpecError(place, f"ends at {last}, before it begins at {first}")
    unknown = [each for each in wanted.handlers or () if each not in {known.value for known in Handler}]
    if unknown:
        raise errors.SpecError(f"{place}.handlers", f"{unknown[0][:20]!r} is not there; http, tls and proxy_proto are")
    handlers = frozenset(map(Handler, wanted.handlers or ()))
    if handlers not in _POSSIBLE:
        raise errors.SpecError(f"{place}.handlers", "http and proxy_proto do not go together")
    if protocol is Protocol.UDP and handlers:
        raise errors.SpecError(f"{place}.handlers", "nothing is done to datagrams on their way")
    return Ports(first, last, handlers, wanted.force_https is True, protocol)
