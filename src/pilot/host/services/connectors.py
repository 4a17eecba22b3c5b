"""What the Sprites API may ask about connectors: all but their secrets, which no answer has.

put ─► checked ─► sealed ─► row, authority, event (one transaction) ─► in force ─► the machine is told
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ... import errors
from ...ids import MachineId
from ...wire import faults
from ..network.connectors import connector, grants
from ..network.connectors.connector import Attachment, Connector
from ..network.connectors.uses import Use
from ..operations import connecting, networks, world
from ..operations.context import Host
from ..store import connectors as rows
from ..store import events
from ..store.connectors import Stored
from ..store.database import Transaction
from ..store.sprites import Sprite

MOST = 32


@dataclasses.dataclass(frozen=True)
class Wanted:
    """`secret` None: the one that it has."""

    hosts: Sequence[str]
    attach: Attachment
    secret: str | None = dataclasses.field(default=None, repr=False)


class Connectors:
    """Every method may block: none is for an event loop. `StateError` for a sprite without a network."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def every(self, sprite: Sprite) -> list[Stored]:
        return rows.every(self._host.database, self._machine(sprite))

    def find(self, sprite: Sprite, name: str) -> Stored:
        return rows.find(self._host.database, self._machine(sprite), name)

    def uses(self, sprite: Sprite, name: str) -> Sequence[Use]:
        """What was last asked with it, oldest first. `NotFound`."""
        self.find(sprite, name)
        return networks.uses(self._host, self._machine(sprite), name)

    def put(self, sprite: Sprite, name: str, wanted: Wanted) -> Stored:
        """In force when it returns, for requests that begin from then on. `InvalidRequest`, `Conflict`."""
        machine, vault = self._machine(sprite), self._host.require_vault("secrets")
        hosts = checked(name, wanted)
        networks.ensure_row(self._host, machine)
        with self._host.database.transaction() as tx:
            before = kept(tx, machine, name, hosts) if wanted.secret is None else ""
            value = before if wanted.secret is None else grants.seal(vault, machine, name, wanted.secret)
            made = Connector(name=name, hosts=hosts, attach=wanted.attach, sealed=value)
            rows.put(tx, machine, made, MOST)
            self._change(tx, sprite, machine, "connector.set", {"connector": name, "hosts": list(hosts)})
        self._enforce(sprite, machine)
        return self.find(sprite, name)

    def delete(self, sprite: Sprite, name: str) -> None:
        """Its connections are cut when it returns. `NotFound`."""
        machine = self._machine(sprite)
        try:
            with self._host.database.transaction() as tx:
                rows.delete(tx, machine, name)
                self._change(tx, sprite, machine, "connector.deleted", {"connector": name})
        except errors.NotFound:
            if self._host.networks is not None:
                self._enforce(sprite, machine)  # whoever tries again was not told that it is in force
            raise
        self._enforce(sprite, machine)

    def _change(
        self, tx: Transaction, sprite: Sprite, machine: MachineId, kind: str, detail: dict[str, object]
    ) -> None:
        connecting.renew_authority(tx, self._host.require_vault("secrets"), machine)
        events.add(tx, kind, f"sprite/{sprite.id}", detail)

    def _enforce(self, sprite: Sprite, machine: MachineId) -> None:
        networks.renew(self._host, machine)
        world.tell(self._host, sprite)

    def _machine(self, sprite: Sprite) -> MachineId:
        return self._host.machine(sprite).id


def kept(tx: Transaction, owner: str, name: str, hosts: Sequence[str]) -> str:
    """The secret that it has, sealed. `InvalidRequest` for a host that is new: who does not know the secret could have
    it sent there."""
    try:
        before = rows.find(tx, owner, name).connector
    except errors.NotFound as error:
        raise faults.InvalidRequest(f"connector {name}: $.secret: it has none yet") from error
    if new := sorted(set(hosts) - set(before.hosts)):
        hint = "say the secret again"
        raise faults.InvalidRequest(f"connector {name}: $.hosts: {new[0]} does not have its secret", hint=hint)
    return before.sealed


def checked(name: str, wanted: Wanted) -> tuple[str, ...]:
    """Its hosts, as they are compared."""
    try:
        connector.check_name(name)
        wanted.attach.check()
        if wanted.secret is not None:
            connector.check_secret(wanted.secret)
        return connector.parse_hosts(wanted.hosts)
    except errors.SpecError as error:
        raise faults.InvalidRequest(f"connector {name[:80]!r}: {error}", hint=error.hint) from error
