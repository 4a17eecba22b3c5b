"""What the Machines API may ask about connectors of an app, which all of its Machines have: all but their secrets.

put ─► checked ─► sealed for the app ─► row, event (one transaction) ─► in force at each Machine's gateway, and told to
each that runs. One that is started later, or goes on later, finds what there is then.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence

import msgspec

from ... import errors
from ...ids import MachineId
from ..network.connectors import grants
from ..network.connectors.connector import Connector
from ..operations import disks, fly, networks
from ..operations.context import Host
from ..store import connectors as rows
from ..store import events
from ..store.connectors import Stored
from ..store.database import Transaction
from ..store.fly import App
from . import connectors
from .connectors import MOST, Wanted

MOST_USES = 100
log = logging.getLogger(__name__)


class AppConnectors:
    """Every method may block: none is for an event loop. `StateError` where Machines have no network."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def every(self, app: App) -> list[Stored]:
        return rows.every(self._host.database, rows.of_app(app.id))

    def find(self, app: App, name: str) -> Stored:
        return rows.find(self._host.database, rows.of_app(app.id), name)

    def uses(self, app: App, name: str) -> Sequence[Mapping[str, object]]:
        """What was last asked with it, oldest first, and by which Machine. `NotFound`."""
        self.find(app, name)
        found = [
            {"machine": str(machine), **msgspec.to_builtins(use)}
            for machine in rows.machines_of(self._host.database, app.id)
            for use in networks.uses(self._host, machine, name)
        ]
        return sorted(found, key=lambda use: str(use["at"]))[-MOST_USES:]

    def put(self, app: App, name: str, wanted: Wanted) -> Stored:
        """In force when it returns, for requests that begin from then on. `InvalidRequest`, `Conflict`."""
        owner, vault = rows.of_app(app.id), self._host.require_vault("secrets")
        self._require_networks()
        hosts = connectors.checked(name, wanted)
        with self._host.database.transaction() as tx:
            if wanted.secret is None:
                sealed = connectors.kept(tx, owner, name, hosts)
            else:
                sealed = grants.seal(vault, owner, name, wanted.secret)
            rows.put(tx, owner, Connector(name=name, hosts=hosts, attach=wanted.attach, sealed=sealed), MOST)
            self._changed(tx, app, "connector.set", {"connector": name, "hosts": list(hosts)})
        self._enforce(app)
        return self.find(app, name)

    def delete(self, app: App, name: str) -> None:
        """Its connections are cut when it returns. `NotFound`."""
        self._require_networks()
        try:
            with self._host.database.transaction() as tx:
                rows.delete(tx, rows.of_app(app.id), name)
                self._changed(tx, app, "connector.deleted", {"connector": name})
        finally:
            self._enforce(app)  # also for whoever tries again, and was not told that it is in force

    def _require_networks(self) -> None:
        if self._host.networks is None:
            raise errors.StateError("this pilotd's machines have no network")

    def _changed(self, tx: Transaction, app: App, kind: str, detail: Mapping[str, object]) -> None:
        rows.changed_of_app(tx, app.id)
        events.add(tx, kind, f"app/{app.id}", detail, app.organisation)

    def _enforce(self, app: App) -> None:
        """At each Machine, whatever comes of the others."""
        machines = rows.machines_of(self._host.database, app.id)
        disks.at_once([functools.partial(self._enforce_at, machine) for machine in machines])

    def _enforce_at(self, machine: MachineId) -> None:
        networks.renew(self._host, machine)
        try:
            fly.tell(self._host, machine)
        except errors.PilotError as error:
            log.warning("machine not told of its connectors", extra={"machine": machine, "error": str(error)})
