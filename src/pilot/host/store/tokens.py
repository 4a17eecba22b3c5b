"""Organisations and API tokens. A token reads `org-slug/org-id/token-id/secret`; only the secret's digest is kept."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets

from ... import errors
from . import events
from .database import Database
from .journal import now_us


@dataclasses.dataclass(frozen=True)
class Organisation:
    id: str
    slug: str


def ensure_organisation(database: Database, slug: str) -> Organisation:
    """The organisation of that slug, made when there is none."""
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO organisations (id, slug, created_us) VALUES (?, ?, ?) ON CONFLICT (slug) DO NOTHING",
            (secrets.token_hex(4), slug, now_us()),
        )
        [row] = tx.query("SELECT id, slug FROM organisations WHERE slug = ?", (slug,))
    return Organisation(row["id"], row["slug"])


def issue(database: Database, organisation: Organisation, description: str) -> str:
    """A new token; the only time that its secret is seen."""
    token, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO tokens (id, organisation, digest, description, created_us) VALUES (?, ?, ?, ?, ?)",
            (token, organisation.id, _digest(secret), description, now_us()),
        )
        events.add(
            tx, "token.issued", f"token/{token}", {"organisation": organisation.slug, "description": description}
        )
    return f"{organisation.slug}/{organisation.id}/{token}/{secret}"


@dataclasses.dataclass(frozen=True)
class Token:
    """Without its secret, which nobody has but its owner."""

    id: str
    description: str
    created_us: int
    revoked_us: int | None


def every(database: Database, organisation: Organisation) -> list[Token]:
    """Oldest first, also those that were revoked."""
    rows = database.query(
        "SELECT id, description, created_us, revoked_us FROM tokens WHERE organisation = ? ORDER BY created_us, id",
        (organisation.id,),
    )
    return [Token(row["id"], row["description"], row["created_us"], row["revoked_us"]) for row in rows]


def revoke(database: Database, organisation: Organisation, token: str) -> None:
    """Idempotent. `NotFound`; `Conflict` for the last one that is left: nobody could make another."""
    with database.transaction() as tx:
        rows = tx.query("SELECT id, revoked_us FROM tokens WHERE organisation = ?", (organisation.id,))
        if token not in {row["id"] for row in rows}:
            raise errors.NotFound("token not found")
        left = {row["id"] for row in rows if row["revoked_us"] is None}
        if left == {token}:
            raise errors.Conflict(f"token {token} is the last one", hint="make another one first")
        if token in left:
            tx.execute("UPDATE tokens SET revoked_us = ? WHERE id = ?", (now_us(), token))
            events.add(tx, "token.revoked", f"token/{token}", {"organisation": organisation.slug})


def authenticate(database: Database, token: str) -> Organisation | None:
    """Whose token it is; None for any text that is not a valid token."""
    slug, _, rest = token.partition("/")
    organisation, _, rest = rest.partition("/")
    name, _, secret = rest.partition("/")
    rows = database.query(
        """SELECT tokens.digest, organisations.id, organisations.slug FROM tokens
           JOIN organisations ON organisations.id = tokens.organisation
           WHERE tokens.id = ? AND tokens.revoked_us IS NULL""",
        (name,),
    )
    known = rows[0]["digest"] if rows else _digest("")
    # Compared even when there is no such token, so that the time taken says nothing.
    matches = hmac.compare_digest(known, _digest(secret))
    if not rows or not matches or (rows[0]["slug"], rows[0]["id"]) != (slug, organisation):
        return None
    return Organisation(rows[0]["id"], rows[0]["slug"])


def _digest(secret: str) -> str:
    # The secret is 256 random bits: a plain hash is enough, there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()
