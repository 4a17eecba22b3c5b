"""What every verb is given."""

from __future__ import annotations

import os

from . import account as accounts
from .api import Api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .account import Account
    from .words import Words


class Context:
    """What a verb is given: what was said, and what follows from it."""

    def __init__(self, said: Words) -> None:
        self.said = said

    @property
    def account(self) -> Account:
        said = self.said
        return accounts.find(os.environ, said.option("api"), said.option("token"), said.option("org"))

    @property
    def api(self) -> Api:
        return Api(self.account)

    @property
    def sprite(self) -> str:
        """By its place, by -s, by SPRITE, or by a .sprite file."""
        return accounts.sprite(os.environ, self.said.argument("NAME") or self.said.option("sprite"))

    @property
    def wants_json(self) -> bool:
        return self.said.has("json")
