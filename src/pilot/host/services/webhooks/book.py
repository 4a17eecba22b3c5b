"""What the edge may ask about webhooks. They are of the organisation: no key of one sprite sees them."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Sequence

from .... import errors
from ...fly.vault import Vault
from ...network.destinations import Destinations
from ...store import events, webhooks
from ...store.database import Database
from ...store.journal import now_us
from ...store.webhooks import Webhook
from . import sending, signature
from .delivering import Deliveries, Message

MOST = 16
BY_REQUEST = "asked for"
_VAULT = "webhook"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """See `store.webhooks.Webhook`."""

    url: str
    kinds: Sequence[str] = ()
    sprite: str | None = None
    description: str = ""


class Webhooks:
    """Every method but `ping` is quick, and reads or writes the store. `NotFound` for one of somebody else."""

    def __init__(self, database: Database, vault: Vault | None, destinations: Destinations) -> None:
        self._database = database
        self._vault = vault
        self._destinations = destinations
        self.deliveries = Deliveries(database, self._opened, destinations)

    def create(self, organisation: str, wanted: Wanted) -> tuple[Webhook, str]:
        """With its secret, which is told this once. It is told what happens from now on. `Conflict`: too many."""
        sending.check_url(wanted.url, self._destinations)
        id, secret = secrets.token_hex(8), signature.new_secret()
        made = Webhook(
            id,
            organisation,
            wanted.url,
            self._key().seal(_VAULT, id, secret),
            wanted.sprite,
            tuple(wanted.kinds),
            wanted.description,
            now_us(),
            events.latest(self._database),
        )
        with self._database.transaction() as tx:
            webhooks.insert(tx, made, MOST)
        return made, secret

    def every(self, organisation: str) -> list[Webhook]:
        return webhooks.every(self._database, organisation)

    def find(self, organisation: str, id: str) -> Webhook:
        return webhooks.find(self._database, organisation, id)

    def delete(self, organisation: str, id: str) -> None:
        with self._database.transaction() as tx:
            webhooks.delete(tx, organisation, id)

    def set_enabled(self, organisation: str, id: str, *, enabled: bool) -> Webhook:
        """Enabled, also one that waits for its next attempt goes on at once."""
        found = self.find(organisation, id)
        with self._database.transaction() as tx:
            if enabled:
                webhooks.enable(tx, found)
            else:
                webhooks.disable(tx, found, BY_REQUEST)
        return self.find(organisation, id)

    async def ping(self, webhook: Webhook) -> str | None:
        """Why a message that says nothing is not taken; None: it is."""
        body = json.dumps({"type": "ping", "id": webhook.seq}).encode()
        try:
            await self.deliveries.send(webhook, Message(f"msg_{webhook.id}-ping-{now_us()}", webhook.seq, body))
        except sending.NotDelivered as error:
            return str(error)
        return None

    def _opened(self, webhook: Webhook) -> str:
        return self._key().opened(_VAULT, webhook.id, webhook.sealed)

    def _key(self) -> Vault:
        if self._vault is None:
            raise errors.StateError("this pilotd keeps no secrets")
        return self._vault
