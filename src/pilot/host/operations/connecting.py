"""Which connectors a machine has: its own (of a sprite), or those of the app that it is a Machine of.

What is an app's is sealed for the app in the store, and for each of its Machines in what is told of that one
(`network.connectors.grants`). Each has an authority of its own, for the hosts that there are now and for no others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...ids import MachineId
from ..fly.vault import Vault
from ..network.connectors import authority as authorities
from ..network.connectors import grants
from ..network.connectors.authority import Authority
from ..network.connectors.connector import Connector
from ..store import connectors as rows
from ..store.database import Reader, Transaction
from .context import Host


def hosts(reader: Reader, machine: MachineId) -> tuple[str, ...]:
    """Of all its connectors."""
    return tuple(host for _, each in _found(reader, machine) for host in each.hosts)


def granted(host: Host, machine: MachineId) -> tuple[Connector, ...]:
    """As they are told of it, with secrets that are sealed for it. `HostError` for what was sealed with another key;
    `StateError` where no key is."""
    found = _found(host.database, machine)
    return tuple(each if owner == machine else _lent(host, owner, machine, each) for owner, each in found)


def authority(host: Host, machine: MachineId) -> Authority | None:
    """What is to be believed of them; made where there is none for these hosts. None for one that never had any."""
    wanted, found = hosts(host.database, machine), rows.authority(host.database, machine)
    if not wanted or (found is not None and authorities.names_of(found) == frozenset(wanted)):
        return found
    with host.database.transaction() as tx:
        return renew_authority(tx, host.require_vault("secrets"), machine)


def renew_authority(tx: Transaction, vault: Vault, machine: MachineId) -> Authority | None:
    """For the hosts that there are by now; the serial of its network is the next one. `NotFound`: it has none."""
    wanted, before = hosts(tx, machine), rows.authority(tx, machine)
    is_same = before is not None and authorities.names_of(before) == frozenset(wanted)
    made = authorities.make(vault, machine, wanted, before) if wanted and not is_same else before
    rows.changed(tx, machine, made)
    return made


def _found(reader: Reader, machine: MachineId) -> Sequence[tuple[str, Connector]]:
    """Each with whose it is."""
    app = rows.app_of(reader, machine)
    owners = (machine,) if app is None else (machine, app)
    return [(owner, each.connector) for owner in owners for each in rows.every(reader, owner)]


def _lent(host: Host, owner: str, machine: MachineId, connector: Connector) -> Connector:
    vault = host.require_vault("secrets")
    secret = grants.opened(vault, owner, connector).decode()
    return msgspec.structs.replace(connector, sealed=grants.seal(vault, machine, connector.name, secret))
