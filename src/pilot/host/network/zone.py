"""What the resolver is told of one machine, as a file: `<directory>/zones/<machine>.json` (`told`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from ...ids import MachineId
from .policy import Action, Effective
from .told import Told

INTERNAL = "internal"  # the top of the names that machines have for each other


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """`gateway`: its namespace; `listen`: addresses there. `rules` None: open. A greater `serial` is newer.

    `log`: where decisions are written. `internal`: names below `internal.` that this machine may know: its peers'.
    `connected`: names that lead to its connectors, at `listen`.
    """

    machine: str
    gateway: str
    listen: tuple[str, ...]
    serial: int
    rules: dict[str, str] | None
    queries_per_s: int
    log: str
    internal: dict[str, tuple[str, ...]] = {}
    connected: tuple[str, ...] = ()

    @property
    def mark(self) -> int:
        """What the policy is called in the kernel: other rules have another, also when the operator's list is why."""
        content = msgspec.json.encode((self.serial, self.rules), order="sorted")
        return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") >> 1 or 1

    def effective(self) -> Effective:
        """What decides."""
        return effective_of(self.rules)


def rules_of(effective: Effective) -> dict[str, str] | None:
    """As `Zone.rules` has them."""
    return None if effective.rules is None else {name: action.value for name, action in effective.rules.items()}


def effective_of(rules: Mapping[str, str] | None) -> Effective:
    """And back."""
    return Effective(None if rules is None else {name: Action(text) for name, text in rules.items()})


ZONES = Told("zones", Zone)


def write(directory: str, zone: Zone) -> None:
    """Whole or not at all."""
    ZONES.write(directory, MachineId(zone.machine), zone)


read, remove = ZONES.read, ZONES.remove
