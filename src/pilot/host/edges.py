"""Which facade serves which Host and path: the one place where another one joins.

sprites   everything, as long as it is the only one
"""

from __future__ import annotations

from .api.sprites import calls
from .relay.access import Access
from .relay.edge import Facade, Route


def route(access: Access) -> Route:
    """Asked for each request, so that what shares a connection shares no more than that."""
    sprites = calls.facade(access)

    def to_facade(_host: str, _path: bytes) -> Facade:
        return sprites

    return to_facade
