"""Who answers which operation of the pilot API: each module brings its own rows, and together they are all of the
table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..server.routing import Route


class Module(Protocol):
    """A part of the API."""

    def routes(self) -> list[Route]:
        """The operations that it answers."""


def routes(modules: Iterable[Module]) -> list[Route]:
    """All of them."""
    return [route for module in modules for route in module.routes()]
