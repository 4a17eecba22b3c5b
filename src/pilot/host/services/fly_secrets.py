"""What the Machines API may ask of pilotd about secrets of apps: all but their values, which no answer has.

As variables a Machine has those that there are when its containers are made: with its next start, restart or version.
As files it has those that there are (`fly_secret_files`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ... import errors
from ...wire import faults
from ..operations.context import Host
from ..store import fly_secrets
from ..store.fly import App
from ..store.fly_secrets import Secret

MOST_BYTES = 64 << 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


class FlySecrets:
    """Every method is quick."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def every(self, app: App) -> list[Secret]:
        return fly_secrets.every(self._host.database, app.id)

    def find(self, app: App, name: str) -> Secret:
        found = next((each for each in self.every(app) if each.name == name), None)
        if found is None:
            raise errors.NotFound(f"secret not found: {name[:100]}")
        return found

    def change(self, app: App, wanted: Mapping[str, str | None]) -> int:
        """All of them, or none: None takes one away. The version that this makes. `InvalidRequest`."""
        for name, value in wanted.items():
            _check(name, value)
        vault = self._host.require_vault("secrets")
        sealed = {
            name: None if value is None else (vault.seal(app.id, name, value), vault.digest(app.id, name, value))
            for name, value in wanted.items()
        }
        with self._host.database.transaction() as tx:
            return fly_secrets.change(tx, app.id, sealed)


def _check(name: str, value: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise faults.InvalidRequest(f"secret {name[:50]!r}: is no name of a variable")
    if value is not None and (len(value.encode()) > MOST_BYTES or "\0" in value):
        raise faults.InvalidRequest(f"secret {name}: at most {MOST_BYTES} bytes, none of them 0")
