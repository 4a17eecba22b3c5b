"""Connectors of machines as rows: what each is for, and its secret, sealed; and what the sprite is to believe of them.

Every change makes the serial of the machine's network grow: who enforces an older state does not undo a newer one.
"""

from __future__ import annotations

import dataclasses

import msgspec

from ... import errors
from ...ids import MachineId
from ..network.connectors.authority import Authority
from ..network.connectors.connector import Attachment, Connector
from .database import Reader, Row, Taken, Transaction
from .journal import now_us


@dataclasses.dataclass(frozen=True)
class Stored:
    connector: Connector
    created_us: int
    updated_us: int


def every(reader: Reader, machine: MachineId) -> list[Stored]:
    """By name."""
    hosts = reader.query("SELECT host, connector FROM connector_hosts WHERE machine = ? ORDER BY place", (machine,))
    rows = reader.query("SELECT * FROM connectors WHERE machine = ? ORDER BY name", (machine,))
    return [_stored(row, tuple(each["host"] for each in hosts if each["connector"] == row["name"])) for row in rows]


def find(reader: Reader, machine: MachineId, name: str) -> Stored:
    """`NotFound`."""
    found = next((each for each in every(reader, machine) if each.connector.name == name), None)
    if found is None:
        raise errors.NotFound(f"connector not found: {name[:100]}")
    return found


def put(tx: Transaction, machine: MachineId, connector: Connector, most: int) -> None:
    """It is so from here on, whether there was one of that name or not. `Conflict`: there are `most` others, or one of
    its hosts is another one's."""
    now = now_us()
    tx.execute(
        """INSERT INTO connectors (machine, name, attach, sealed, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (machine, name) DO UPDATE SET attach = excluded.attach, sealed = excluded.sealed,
           updated_us = excluded.updated_us""",
        (machine, connector.name, msgspec.json.encode(connector.attach).decode(), connector.sealed, now, now),
    )
    [count] = tx.query("SELECT count(*) AS n FROM connectors WHERE machine = ?", (machine,))
    if count["n"] > most:
        raise errors.Conflict(f"there are {most} connectors", hint="delete one")
    tx.execute("DELETE FROM connector_hosts WHERE machine = ? AND connector = ?", (machine, connector.name))
    for place, host in enumerate(connector.hosts):
        try:
            tx.execute(
                "INSERT INTO connector_hosts (machine, host, connector, place) VALUES (?, ?, ?, ?)",
                (machine, host, connector.name, place),
            )
        except Taken as error:
            raise errors.Conflict(f"{host} is of another connector", hint="a host has one at most") from error


def delete(tx: Transaction, machine: MachineId, name: str) -> None:
    """`NotFound`."""
    tx.execute("DELETE FROM connector_hosts WHERE machine = ? AND connector = ?", (machine, name))
    if not tx.execute("DELETE FROM connectors WHERE machine = ? AND name = ?", (machine, name)):
        raise errors.NotFound(f"connector not found: {name[:100]}")


def authority(reader: Reader, machine: MachineId) -> Authority | None:
    """None for a machine that never had a connector."""
    rows = reader.query("SELECT authority FROM networks WHERE machine = ?", (machine,))
    if not rows or rows[0]["authority"] is None:
        return None
    return msgspec.json.decode(rows[0]["authority"], type=Authority)


def changed(tx: Transaction, machine: MachineId, wanted: Authority | None) -> None:
    """With what it is to believe of them from here on; the serial is the next one. `NotFound`: it has no network."""
    text = None if wanted is None else msgspec.json.encode(wanted).decode()
    update = "UPDATE networks SET authority = ?, serial = serial + 1 WHERE machine = ?"
    if not tx.execute(update, (text, machine)):
        raise errors.NotFound(f"machine {machine} has no network")


def forget(tx: Transaction, machine: MachineId | None) -> None:
    """Of a machine that goes."""
    tx.execute("DELETE FROM connector_hosts WHERE machine = ?", (machine,))
    tx.execute("DELETE FROM connectors WHERE machine = ?", (machine,))


def _stored(row: Row, hosts: tuple[str, ...]) -> Stored:
    attach = msgspec.json.decode(row["attach"], type=Attachment)
    connector = Connector(name=row["name"], hosts=hosts, attach=attach, sealed=row["sealed"])
    return Stored(connector, row["created_us"], row["updated_us"])
