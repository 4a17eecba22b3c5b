"""Ways in to Machines, as their configs have them now: of each app its external ports, and which Machines are behind.

What was read before a commit is not believed after it, as `ingress.sites` has it.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import socket
import threading
from collections.abc import Callable, Sequence

from ... import errors
from ...ids import MachineId
from ...wire import faults
from ..fly import config as configs
from ..fly import services
from ..fly.addresses import Range
from ..fly.services import Ports, Protocol, Service
from ..operations.context import Host
from ..operations.uses import Cut, Use, Uses
from ..store import fly, fly_addresses
from ..store.fly import App, Machine
from ..store.journal import now_us

log = logging.getLogger(__name__)

MOST_PARSED = 8192


@dataclasses.dataclass(frozen=True)
class Way:
    """An external port of an app."""

    app: App
    port: int
    ports: Ports


@dataclasses.dataclass(frozen=True)
class Backend:
    """A Machine that has a service there."""

    row: Machine
    service: Service

    @property
    def id(self) -> MachineId:
        return self.row.id


@dataclasses.dataclass(frozen=True)
class Served:
    """An app's Machines that are not destroyed, each with its services, in the order in which they were made."""

    app: App
    backends: tuple[Backend, ...]

    def at(self, port: int, protocol: Protocol = Protocol.TCP) -> tuple[Backend, ...]:
        """Those that are behind that port."""
        every = (each for each in self.backends if each.service.protocol is protocol)
        return tuple(each for each in every if each.service.at(port) is not None)

    def ways(self) -> Sequence[Ports]:
        """All that the app has; of two with the same ports the one of the Machine made last."""
        every = services.served([backend.service for backend in self.backends])
        return list({(each.first, each.last, each.protocol): each for _, each in every}.values())


class FlyWays:
    """Every method may block, but for `writes` and those about uses. `addresses`: from which apps get their own."""

    def __init__(self, host: Host, addresses: Range | None) -> None:
        self._host = host
        self._addresses = addresses
        self._parsed: dict[tuple[MachineId, str], tuple[Service, ...]] = {}
        self._parsing = threading.Lock()
        # Another number after each commit that says anything.
        self.writes = 0
        self._numbers = itertools.count(1)
        host.database.watch(self._note_write)

    def _note_write(self) -> None:
        self.writes = next(self._numbers)

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """As `Database.watch`."""
        return self._host.database.watch(tell)

    def app(self, name: str) -> App | None:
        """Of whatever organisation."""
        return fly.app_by_name(self._host.database, name)

    def every(self) -> list[Served]:
        """All apps that have a service."""
        found = (self.served(app) for app in fly.every_app(self._host.database))
        return [each for each in found if each.backends]

    def served(self, app: App) -> Served:
        rows = fly.undestroyed(self._host.database, app.id)
        return Served(app, tuple(Backend(row, service) for row in rows for service in self._services(row)))

    def address(self, served: Served) -> str | None:
        """The app's own, which it has from its first port on, or since it asked; None before, or where there are none.
        Errors as of `give_address`."""
        number = fly_addresses.find(self._host.database, served.app.id)
        if self._addresses is None or (number is None and not served.ways()):
            return None
        if number is None or number > self._addresses.capacity:  # there were more of them when it got it
            return self.give_address(served.app)
        return str(self._addresses.address(number))

    def give_address(self, app: App) -> str:
        """The app's own from here on. `HostError` when there are too many apps, `NotFound` when it has just gone,
        `Unsupported` where no app has one."""
        if self._addresses is None:
            raise faults.Unsupported(
                "ip_assignments: apps have no addresses here", hint="pilotd serve --service-addresses"
            )
        with self._host.database.transaction() as tx:
            fly.app_by_id(tx, app.id)
            return str(self._addresses.address(fly_addresses.assign(tx, app.id, self._addresses.capacity)))

    def _services(self, row: Machine) -> tuple[Service, ...]:
        key = row.id, row.version
        if (known := self._parsed.get(key)) is not None:
            return known
        try:
            found = services.plan(configs.parse(row.config))
        except errors.SpecError as error:  # of a build that let it pass
            log.warning("services not served", extra={"machine": row.id, "error": str(error)})
            found = ()
        with self._parsing:  # several threads look after each commit
            while len(self._parsed) >= MOST_PARSED:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[key] = found
        return found

    def is_leased(self, row: Machine) -> bool:
        """By anybody: nobody else may start it."""
        return row.lease is not None and row.lease.expires_us > now_us()

    def tcp_socket(self, backend: Backend, family: socket.AddressFamily) -> socket.socket | None:
        """As `Vmm.tcp_socket`."""
        return self._host.substrate(backend.id).tcp_socket(backend.id, family)

    def udp_socket(self, backend: Backend) -> socket.socket | None:
        """As `Vmm.udp_socket`."""
        return self._host.substrate(backend.id).udp_socket(backend.id)

    def dial_path(self, backend: Backend) -> str:
        return self._host.substrate(backend.id).dial_path(backend.id)

    # Uses: of a Machine, and of each of its services.

    @property
    def _uses(self) -> Uses:
        return self._host.uses

    def using(self, backend: Backend, cut: Cut) -> tuple[Use, Use]:
        """For as long as a connection lasts, or a flow of datagrams, which nobody ends: both are to be entered."""
        outlives = backend.service.protocol is Protocol.UDP
        return self._uses.using(backend.id, cut, outlives=outlives), self._uses.using(_key(backend))

    def idle_s(self, id: MachineId) -> float:
        """Seconds since somebody used the Machine, or it started."""
        return self._uses.idle_s(id)

    def connections(self, id: MachineId) -> int:
        """To all its services, that are open."""
        return self._uses.open_connections(id)

    def load(self, backend: Backend) -> int:
        """Connections to the service that are open."""
        return self._uses.open_connections(_key(backend))


def _key(backend: Backend) -> str:
    return f"{backend.id}/{backend.service.number}"
