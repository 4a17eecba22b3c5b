"""What the resolver is told of one machine, as a file: `<directory>/zones/<machine>.json`.

pilotd writes it and then says so (`control`). A resolver that starts reads all of them, so it needs nobody to be alive.
"""

from __future__ import annotations

import hashlib
import os

import msgspec

from ... import errors
from ...ids import MachineId
from ...kernel import files
from .policy import Action, Effective

_SUFFIX = ".json"
INTERNAL = "internal"  # the top of the names that machines have for each other


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """`gateway`: its namespace; `listen`: addresses there. `rules` None: open. A greater `serial` is newer.

    `log`: where decisions are written. `internal`: names below `internal.` that this machine may know: its peers'.
    """

    machine: str
    gateway: str
    listen: tuple[str, ...]
    serial: int
    rules: dict[str, str] | None
    queries_per_s: int
    log: str
    internal: dict[str, tuple[str, ...]] = {}

    @property
    def mark(self) -> int:
        """What the policy is called in the kernel: other rules have another, also when the operator's list is why."""
        content = msgspec.json.encode((self.serial, self.rules), order="sorted")
        return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") >> 1 or 1

    def effective(self) -> Effective:
        """What decides."""
        return Effective(None if self.rules is None else {name: Action(text) for name, text in self.rules.items()})


def rules_of(effective: Effective) -> dict[str, str] | None:
    """As `Zone.rules` has them."""
    return None if effective.rules is None else {name: action.value for name, action in effective.rules.items()}


def write(directory: str, zone: Zone) -> None:
    """Whole or not at all."""
    path = _path(directory, MachineId(zone.machine))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    files.replace(path, msgspec.json.encode(zone))


def read(directory: str, machine: MachineId) -> Zone | None:
    """None when there is none. `HostError` for one that is no zone: the machine stays without answers."""
    path = _path(directory, machine)
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Zone)
    except FileNotFoundError:
        return None
    except errors.UNREADABLE as error:
        raise errors.HostError(f"read zone {path}: {error}") from error


def remove(directory: str, machine: MachineId) -> None:
    """Gone already is fine."""
    try:
        os.unlink(_path(directory, machine))
    except FileNotFoundError:
        pass  # removed already


def every(directory: str) -> list[MachineId]:
    """The machines that have one."""
    try:
        names = os.listdir(os.path.join(directory, "zones"))
    except FileNotFoundError:
        return []
    return [MachineId(name.removesuffix(_SUFFIX)) for name in sorted(names) if name.endswith(_SUFFIX)]


def _path(directory: str, machine: MachineId) -> str:
    return os.path.join(directory, "zones", machine + _SUFFIX)
