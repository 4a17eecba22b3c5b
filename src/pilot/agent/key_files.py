"""/.fly/kms, where there is somebody for it: a machine without containers of its own never loads what serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .identity.own_token import OwnToken
from .machine import Link
from .outward import Outward

if TYPE_CHECKING:
    from .keys.server import Server

STORE_NAME = "agent/kms"


class KeyFiles:
    def __init__(self, link: Link, run: str, host: Outward, token: OwnToken) -> None:
        self._link = link
        self._run = run
        self._host = host
        self._token = token
        self._server: Server | None = None

    def ensure_open(self) -> None:
        """For a container that is about to be started. On the running loop."""
        from .keys.server import Server
        from .keys.uses import Uses

        if self._server is None:
            self._server = Server(self._link, self._run, STORE_NAME, Uses(self._host, self._token))
        self._server.ensure_open()

    def restore(self) -> None:
        """Go on with a former agent's."""
        if STORE_NAME in self._link.inherited:
            self.ensure_open()

    def close(self) -> None:
        """Leave it to the next agent."""
        if self._server is not None:
            self._server.close()
