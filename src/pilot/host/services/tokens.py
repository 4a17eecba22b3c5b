"""What edges may ask of an organisation's keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from ..store import fly, sprites, tokens
from ..store.database import Database
from ..store.tokens import Organisation, Scope, Token, Wanted

log = logging.getLogger(__name__)

NOTE_S = 60.0


class Tokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    def scope(self, organisation: Organisation, *, app: str | None = None, sprite: str | None = None) -> Scope:
        """Of what is called so, or of all. `NotFound`."""
        if app is not None:
            return Scope.of_app(fly.app(self._database, organisation.id, app).id, app)
        if sprite is not None:
            return Scope.of_sprite(sprites.by_name(self._database, organisation.id, sprite).id, sprite)
        return tokens.WHOLE

    def issue(self, organisation: Organisation, wanted: Wanted) -> str:
        """The only time that it is seen. `Conflict` for a name that another one has."""
        return tokens.issue(self._database, organisation, wanted)

    def every(self, organisation: Organisation) -> list[Token]:
        return tokens.every(self._database, organisation)

    def revoke(self, organisation: Organisation, named: str) -> str:
        """Its id. `NotFound`; `Conflict` for the last one that is left: nobody could make another."""
        return tokens.revoke(self._database, organisation, named)


def watching(database: Database, uses: Callable[[], Mapping[str, int]]) -> AbstractContextManager[None]:
    """Write down now and then which keys were used, for as long as the block lasts."""
    noted: dict[str, int] = {}

    def note() -> None:
        found = dict(uses())
        try:
            tokens.note_uses(database, {key: at_us for key, at_us in found.items() if noted.get(key) != at_us})
            noted.update(found)
        except errors.PilotError as error:
            log.warning("uses of keys not written down", extra={"error": str(error)})

    return periodic.every(NOTE_S, "key-uses", note)
