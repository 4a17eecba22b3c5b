"""What a daemon is told of each machine, as a file: `<directory>/<folder>/<machine>.json`.

pilotd writes it and then says so (`control`). A daemon that starts reads all of them, so it needs nobody to be alive.
"""

from __future__ import annotations

import os
from typing import Generic, TypeVar

import msgspec

from ... import errors
from ...ids import MachineId
from ...kernel import files

_SUFFIX = ".json"
T = TypeVar("T", bound=msgspec.Struct)


class Told(Generic[T]):
    """Files of structs of that kind, in that folder of each directory."""

    def __init__(self, folder: str, kind: type[T]) -> None:
        self._folder, self._kind = folder, kind

    def write(self, directory: str, machine: MachineId, value: T) -> None:
        """Whole or not at all."""
        path = self._path(directory, machine)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        files.replace(path, msgspec.json.encode(value))

    def read(self, directory: str, machine: MachineId) -> T | None:
        """None when there is none. `HostError` for one that is none of these: the machine stays without answers."""
        path = self._path(directory, machine)
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=self._kind)
        except FileNotFoundError:
            return None
        except errors.UNREADABLE as error:
            raise errors.HostError(f"read {path}: {error}") from error

    def has(self, directory: str, machine: MachineId) -> bool:
        """Whether there is one."""
        return os.path.exists(self._path(directory, machine))

    def remove(self, directory: str, machine: MachineId) -> None:
        """Gone already is fine."""
        try:
            os.unlink(self._path(directory, machine))
        except FileNotFoundError:
            pass  # removed already

    def every(self, directory: str) -> list[MachineId]:
        """The machines that have one."""
        try:
            names = os.listdir(os.path.join(directory, self._folder))
        except FileNotFoundError:
            return []
        return [MachineId(name.removesuffix(_SUFFIX)) for name in sorted(names) if name.endswith(_SUFFIX)]

    def _path(self, directory: str, machine: MachineId) -> str:
        return os.path.join(directory, self._folder, machine + _SUFFIX)
