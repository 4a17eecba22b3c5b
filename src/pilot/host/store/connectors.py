"""Connectors as rows: what each is for, and its secret, sealed; and what a machine is to believe of them.

`owner`: the machine that has it, or an app, all of whose Machines do (`of_app`). Every change makes the serial of
networks grow: who enforces an older state does not undo a newer one.
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


def of_app(app: str) -> str:
    """The owner of what all Machines of the app have."""
    return f"app/{app}"


def app_of(reader: Reader, machine: MachineId) -> str | None:
    """The app that owns for this machine; None for one that is no Machine of an app."""
    rows = reader.query("SELECT app FROM fly_machines WHERE id = ?", (machine,))
    return of_app(rows[0]["app"]) if rows else None


def machines_of(reader: Reader, app: str) -> list[MachineId]:
    """Those of its Machines that have a network."""
    rows = reader.query(
        "SELECT networks.machine FROM networks JOIN fly_machines ON fly_machines.id = networks.machine "
        "WHERE fly_machines.app = ? ORDER BY networks.machine",
        (app,),
    )
    return [MachineId(row["machine"]) for row in rows]


def every(reader: Reader, owner: str) -> list[Stored]:
    """By name."""
    hosts = reader.query("SELECT host, connector FROM connector_hosts WHERE machine = ? ORDER BY place", (owner,))
    rows = reader.query("SELECT * FROM connectors WHERE machine = ? ORDER BY name", (owner,))
    return [_stored(row, tuple(each["host"] for each in hosts if each["connector"] == row["name"])) for row in rows]


def find(reader: Reader, owner: str, name: str) -> Stored:
    """`NotFound`."""
    found = next((each for each in every(reader, owner) if each.connector.name == name), None)
    if found is None:
        raise errors.NotFound(f"connector not found: {name[:100]}")
    return found


def put(tx: Transaction, owner: str, connector: Connector, most: int) -> None:
    """It is so from here on, whether there was one of that name or not. `Conflict`: there are `most` others, or one of
    its hosts is another one's."""
    now = now_us()
    tx.execute(
        """INSERT INTO connectors (machine, name, attach, sealed, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (machine, name) DO UPDATE SET attach = excluded.attach, sealed = excluded.sealed,
           updated_us = excluded.updated_us""",
        (owner, connector.name, msgspec.json.encode(connector.attach).decode(), connector.sealed, now, now),
    )
    [count] = tx.query("SELECT count(*) AS n FROM connectors WHERE machine = ?", (owner,))
    if count["n"] > most:
        raise errors.Conflict(f"there are {most} connectors", hint="delete one")
    tx.execute("DELETE FROM connector_hosts WHERE machine = ? AND connector = ?", (owner, connector.name))
    for place, host in enumerate(connector.hosts):
        try:
            tx.execute(
                "INSERT INTO connector_hosts (machine, host, connector, place) VALUES (?, ?, ?, ?)",
                (owner, host, connector.name, place),
            )
        except Taken as error:
            raise errors.Conflict(f"{host} is of another connector", hint="a host has one at most") from error


def delete(tx: Transaction, owner: str, name: str) -> None:
    """`NotFound`."""
    tx.execute("DELETE FROM connector_hosts WHERE machine = ? AND connector = ?", (owner, name))
    if not tx.execute("DELETE FROM connectors WHERE machine = ? AND name = ?", (owner, name)):
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


def changed_of_app(tx: Transaction, app: str) -> None:
    """What is told of each of its Machines is the next one."""
    tx.execute(
        "UPDATE networks SET serial = serial + 1 WHERE machine IN (SELECT id FROM fly_machines WHERE app = ?)", (app,)
    )


def forget(tx: Transaction, owner: str | None) -> None:
    """Of a machine or an app that goes."""
    tx.execute("DELETE FROM connector_hosts WHERE machine = ?", (owner,))
    tx.execute("DELETE FROM connectors WHERE machine = ?", (owner,))


def _stored(row: Row, hosts: tuple[str, ...]) -> Stored:
    attach = msgspec.json.decode(row["attach"], type=Attachment)
    connector = Connector(name=row["name"], hosts=hosts, attach=attach, sealed=row["sealed"])
    return Stored(connector, row["created_us"], row["updated_us"])
