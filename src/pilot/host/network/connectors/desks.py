"""The desks of all machines."""

from __future__ import annotations

import ssl

from ...fly.vault import Vault
from ..served import Served
from .desk import Desk, Places
from .grants import GRANTS, Grants
from .names import Names

MOST_CONNECTIONS = 2048  # of all machines; each holds some hundred KiB


def desks(directory: str, vault: Vault, names: Names, trusted: ssl.SSLContext) -> Served[Grants]:
    """`directory` is where the files are."""
    places = Places(MOST_CONNECTIONS)

    async def begin(given: Grants) -> Desk:
        return await Desk.open(given, vault, names, trusted, places)

    return Served(directory, GRANTS, lambda given: given.gateway, begin, "connectors")
