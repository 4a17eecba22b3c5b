"""Networks of machines as rows: the number that addresses come from, the policy with its serial, whom they may see."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Set

from ... import errors
from ...ids import MachineId
from . import connectors
from .database import Database, Row, Transaction


@dataclasses.dataclass(frozen=True)
class Network:
    """`policy` is the document as it was given; `serial` grows with each change of it.

    `private`: the private network that it is in, among those of its organisation.
    """

    machine: MachineId
    number: int
    policy: Mapping[str, object]
    serial: int
    private: str | None = None


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another machine in the same private network, and the sprite that it is of, by name and id."""

    sprite: str
    network: Network
    sprite_id: str


def assign(tx: Transaction, machine: MachineId, capacity: int) -> Network:
    """The machine's row, with the lowest number that is free. Idempotent. `HostError` when none of them is.

    Another writer may take the number between looking and inserting; then the next one is tried.
    """
    while True:
        rows = tx.query("SELECT * FROM networks WHERE machine = ?", (machine,))
        if rows:
            return _network(rows[0])
        number = _within(_free(tx), machine, capacity)
        tx.execute(
            "INSERT INTO networks (machine, number, policy, serial) VALUES (?, ?, ?, 1) ON CONFLICT DO NOTHING",
            (machine, number, json.dumps({"rules": []})),
        )


def renumber(tx: Transaction, machine: MachineId, capacity: int, taken: Set[int]) -> Network:
    """Another number, which is free here and not `taken` elsewhere on the host. `NotFound`; `HostError` as `assign`."""
    used = taken | {row["number"] for row in tx.query("SELECT number FROM networks")}
    number = _within(next(number for number in itertools.count(1) if number not in used), machine, capacity)
    rows = tx.query("UPDATE networks SET number = ? WHERE machine = ? RETURNING *", (number, machine))
    if not rows:
        raise errors.NotFound(f"machine {machine} has no network")
    return _network(rows[0])


def _within(number: int, machine: MachineId, capacity: int) -> int:
    if number > capacity:
        raise errors.HostError(f"number machine {machine}: all {capacity} are taken", hint="see --network-range")
    return number


def _free(tx: Transaction) -> int:
    """One more than a number that is taken (or 0), and not taken itself."""
    rows = tx.query(
        """SELECT min(candidate) AS number FROM (SELECT 1 AS candidate UNION SELECT number + 1 FROM networks) AS c
           WHERE candidate NOT IN (SELECT number FROM networks)"""
    )
    return int(rows[0]["number"])


def set_policy(tx: Transaction, machine: MachineId, policy: Mapping[str, object]) -> Network:
    """With the next serial. `NotFound`."""
    update = "UPDATE networks SET policy = ?, serial = serial + 1 WHERE machine = ? RETURNING *"
    rows = tx.query(update, (json.dumps(policy), machine))
    if not rows:
        raise errors.NotFound(f"machine {machine} has no network")
    return _network(rows[0])


def set_private(tx: Transaction, machine: MachineId, private: str | None) -> Network:
    """In that private network, or in none. `NotFound`."""
    rows = tx.query("UPDATE networks SET private = ? WHERE machine = ? RETURNING *", (private, machine))
    if not rows:
        raise errors.NotFound(f"machine {machine} has no network")
    return _network(rows[0])


def peers(database: Database, machine: MachineId) -> list[Peer]:
    """The other machines in its private network, by the names of their sprites; none without one."""
    rows = database.query(
        """SELECT other.name AS sprite, other.id AS sprite_id, theirs.*
           FROM networks AS ours JOIN sprites AS own ON own.machine = ours.machine
           JOIN networks AS theirs ON theirs.private = ours.private AND theirs.machine <> ours.machine
           JOIN sprites AS other ON other.machine = theirs.machine AND other.organisation = own.organisation
           WHERE ours.machine = ? ORDER BY other.name""",
        (machine,),
    )
    return [Peer(row["sprite"], _network(row), row["sprite_id"]) for row in rows]


@dataclasses.dataclass(frozen=True)
class Sibling:
    """A Machine of an app; `runs` as its row says. `network` None: it has not been started yet."""

    machine: MachineId
    app: str
    runs: bool
    network: Network | None


def siblings(database: Database, machine: MachineId) -> list[Sibling]:
    """All Machines of the app that the machine is one of, also itself: these alone see each other. None for others."""
    rows = database.query(
        """SELECT other.id, other.state, apps.name AS app, networks.machine, networks.number, networks.policy,
                  networks.serial, networks.private
           FROM fly_machines AS own JOIN apps ON apps.id = own.app JOIN fly_machines AS other ON other.app = own.app
           LEFT JOIN networks ON networks.machine = other.id
           WHERE own.id = ? AND other.state NOT IN ('destroying', 'destroyed') ORDER BY other.created_us, other.id""",
        (machine,),
    )
    return [
        Sibling(MachineId(row["id"]), row["app"], row["state"] == "started", _network(row) if row["machine"] else None)
        for row in rows
    ]


def find(database: Database, machine: MachineId) -> Network | None:
    rows = database.query("SELECT * FROM networks WHERE machine = ?", (machine,))
    return _network(rows[0]) if rows else None


def every(database: Database) -> list[Network]:
    return [_network(row) for row in database.query("SELECT * FROM networks ORDER BY number")]


def delete(tx: Transaction, machine: MachineId | None) -> None:
    """The number is free from now on: only when nothing of the network is left. Connectors go with it."""
    connectors.forget(tx, machine)
    tx.execute("DELETE FROM networks WHERE machine = ?", (machine,))


def _network(row: Row) -> Network:
    return Network(MachineId(row["machine"]), row["number"], json.loads(row["policy"]), row["serial"], row["private"])
