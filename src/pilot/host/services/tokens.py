"""What edges may ask of an organisation's tokens."""

from __future__ import annotations

from ..store import tokens
from ..store.database import Database
from ..store.tokens import Organisation, Token


class Tokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, organisation: Organisation, description: str) -> str:
        """The only time that it is seen."""
        return tokens.issue(self._database, organisation, description)

    def every(self, organisation: Organisation) -> list[Token]:
        return tokens.every(self._database, organisation)

    def revoke(self, organisation: Organisation, token: str) -> None:
        """`NotFound`; `Conflict` for the last one that is left: nobody could make another."""
        tokens.revoke(self._database, organisation, token)
