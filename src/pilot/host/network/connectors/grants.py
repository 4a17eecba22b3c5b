"""What the connectors' process is told of one machine, as a file: `<directory>/grants/<machine>.json` (`told`).

Secrets in it are sealed. The key is in a file of its own, of which the process is told the path.
"""

from __future__ import annotations

import msgspec

from ...fly.vault import Vault
from ..policy import Effective
from ..told import Told
from ..zone import effective_of
from .authority import Authority
from .connector import Connector

_VAULT = "connector"


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """`gateway`, `listen`, `serial`, `rules`: as its zone has them. `log`: where uses are written."""

    machine: str
    gateway: str
    listen: tuple[str, ...]
    serial: int
    rules: dict[str, str] | None
    log: str
    authority: Authority
    connectors: tuple[Connector, ...]

    def effective(self) -> Effective:
        """What decides whether the machine may speak to a name at all."""
        return effective_of(self.rules)


GRANTS = Told("grants", Grants)


def seal(vault: Vault, machine: str, connector: str, secret: str) -> str:
    """For that connector of that machine, and no other."""
    return vault.seal(f"{_VAULT}/{machine}", connector, secret)


def opened(vault: Vault, machine: str, connector: Connector) -> bytes:
    """`HostError` for what was not sealed so."""
    return vault.opened(f"{_VAULT}/{machine}", connector.name, connector.sealed).encode()
