"""Organisations and their keys. A key reads `org-slug/org-id/token-id/secret`; only the secret's digest is kept."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from ... import errors
from ...wire.permissions import Role
from . import events
from .database import Database, Reader, Row, Taken
from .journal import now_us

_VALID = """SELECT tokens.*, organisations.slug FROM tokens
    JOIN organisations ON organisations.id = tokens.organisation
    WHERE tokens.id = ? AND tokens.revoked_us IS NULL"""
# No digest, so no secret has it.
_NO_SECRET = ""


@dataclasses.dataclass(frozen=True)
class Organisation:
    id: str
    slug: str


class Kind(enum.Enum):
    """What a key can be for."""

    ORGANISATION = "organisation"
    APP = "app"
    SPRITE = "sprite"


@dataclasses.dataclass(frozen=True)
class Scope:
    """All of the organisation, or one app or sprite: by its id, so that another one of that `name` is not meant.

    `machine`, `volume`: of the app, what a request names; `feature`: of that machine; `command`: what is to be run in
    it, and `has_command` before it is known which.
    """

    kind: Kind = Kind.ORGANISATION
    id: str | None = None
    name: str | None = None
    machine: str | None = None
    volume: str | None = None
    feature: str | None = None
    command: tuple[str, ...] | None = None
    has_command: bool = False

    @classmethod
    def of_sprite(cls, id: str, name: str | None = None) -> Scope:
        return cls(Kind.SPRITE, id, name)

    @classmethod
    def of_app(cls, id: str, name: str | None = None) -> Scope:
        return cls(Kind.APP, id, name)

    @property
    def is_whole(self) -> bool:
        return self.kind is Kind.ORGANISATION


WHOLE = Scope()


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A key as it is asked for. `name`: unique among those of the organisation that are not revoked, or none."""

    name: str = ""
    description: str = ""
    role: Role = Role.ADMIN
    scope: Scope = WHOLE
    expires_us: int | None = None


@dataclasses.dataclass(frozen=True)
class Token:
    """A key without its secret, which nobody has but its owner. `used_us` may be a minute behind."""

    id: str
    wanted: Wanted
    created_us: int
    revoked_us: int | None
    used_us: int | None
    is_macaroon: bool = False

    @property
    def makes_others(self) -> bool:
        """Whether it can be counted on to make another one."""
        wanted = self.wanted
        lasts = self.revoked_us is None and wanted.expires_us is None
        return lasts and not self.is_macaroon and wanted.role is Role.ADMIN and wanted.scope.is_whole


@dataclasses.dataclass(frozen=True)
class Known:
    """Whose key it is, and which."""

    organisation: Organisation
    token: Token


def ensure_organisation(database: Database, slug: str) -> Organisation:
    """The organisation of that slug, made when there is none."""
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO organisations (id, slug, created_us) VALUES (?, ?, ?) ON CONFLICT (slug) DO NOTHING",
            (secrets.token_hex(4), slug, now_us()),
        )
        [row] = tx.query("SELECT id, slug FROM organisations WHERE slug = ?", (slug,))
    return Organisation(row["id"], row["slug"])


def organisation(reader: Reader, id: str) -> Organisation:
    """The one with that id. `NotFound`."""
    rows = reader.query("SELECT id, slug FROM organisations WHERE id = ?", (id,))
    if not rows:
        raise errors.NotFound("organisation not found")
    return Organisation(rows[0]["id"], rows[0]["slug"])


def issue(database: Database, organisation: Organisation, wanted: Wanted) -> str:
    """A new key; the only time that its secret is seen. `Conflict` for a name that another one has."""
    token, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    _add(database, organisation, wanted, token, _digest(secret))
    return f"{organisation.slug}/{organisation.id}/{token}/{secret}"


def record(database: Database, organisation: Organisation, wanted: Wanted, token: str) -> None:
    """One that is verified without a secret of ours, so that it can be listed and revoked. `Conflict` as above."""
    _add(database, organisation, wanted, token, _NO_SECRET)


def _add(database: Database, organisation: Organisation, wanted: Wanted, token: str, digest: str) -> None:
    scope = wanted.scope
    try:
        with database.transaction() as tx:
            tx.execute(
                """INSERT INTO tokens (id, organisation, digest, description, created_us, name, role, scope, scope_id,
                   scope_name, expires_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (token, organisation.id, digest, wanted.description, now_us(), wanted.name, wanted.role.value,
                 scope.kind.value, scope.id, scope.name, wanted.expires_us),
            )  # fmt: skip
            told = {"organisation": organisation.slug, "name": wanted.name, "role": wanted.role.value}
            events.add(tx, "token.issued", f"token/{token}", told | {"description": wanted.description})
    except Taken as error:
        raise errors.Conflict(f"token {wanted.name} exists", hint="revoke it first, or choose another name") from error


def every(database: Database, organisation: Organisation) -> list[Token]:
    """Oldest first, also those that were revoked."""
    rows = database.query(
        "SELECT * FROM tokens WHERE organisation = ? ORDER BY created_us, id",
        (organisation.id,),
    )
    return [_token(row) for row in rows]


def revoke(database: Database, organisation: Organisation, named: str) -> str:
    """By id, or by the name of one that is not revoked; the id. Idempotent by id.

    `NotFound`; `Conflict` for the last one that is left to make others.
    """
    with database.transaction() as tx:
        rows = tx.query("SELECT * FROM tokens WHERE organisation = ?", (organisation.id,))
        known = {row["id"]: _token(row) for row in rows}
        by_name = {each.wanted.name: each for each in known.values() if each.wanted.name and each.revoked_us is None}
        token = known.get(named) or by_name.get(named)
        if token is None:
            raise errors.NotFound("token not found")
        if [each.id for each in known.values() if each.makes_others] == [token.id]:
            raise errors.Conflict(f"token {token.id} is the last one", hint="make another one first")
        if token.revoked_us is None:
            tx.execute("UPDATE tokens SET revoked_us = ? WHERE id = ?", (now_us(), token.id))
            events.add(tx, "token.revoked", f"token/{token.id}", {"organisation": organisation.slug})
    return token.id


def authenticate(database: Database, token: str) -> Known | None:
    """Whose key it is; None for any text that is not a valid one by now."""
    slug, _, rest = token.partition("/")
    organisation, _, rest = rest.partition("/")
    name, _, secret = rest.partition("/")
    rows = database.query(
        _VALID,
        (name,),
    )
    known = rows[0]["digest"] if rows else _digest("")
    # Compared even when there is no such token, so that the time taken says nothing.
    matches = hmac.compare_digest(known, _digest(secret))
    if not rows or not matches or (rows[0]["slug"], rows[0]["organisation"]) != (slug, organisation):
        return None
    return _known(rows[0])


def by_id(database: Database, token: str) -> Known | None:
    """Of one that has been verified otherwise: None when it was revoked, or has expired."""
    rows = database.query(
        _VALID,
        (token,),
    )
    return _known(rows[0]) if rows else None


def _known(row: Row) -> Known | None:
    found = _token(row)
    if found.wanted.expires_us is not None and found.wanted.expires_us <= now_us():
        return None
    return Known(Organisation(row["organisation"], row["slug"]), found)


def note_uses(database: Database, uses: Mapping[str, int]) -> None:
    """When each key was used last, by id. Nothing that a loss of power would make wrong."""
    if not uses:
        return
    with database.transaction(durable=False) as tx:
        for token, at_us in uses.items():
            tx.execute(
                "UPDATE tokens SET used_us = ? WHERE id = ? AND (used_us IS NULL OR used_us < ?)", (at_us, token, at_us)
            )


def _token(row: Row) -> Token:
    scope = Scope(Kind(row["scope"]), row["scope_id"], row["scope_name"])
    wanted = Wanted(row["name"], row["description"], Role(row["role"]), scope, row["expires_us"])
    times = (row["created_us"], row["revoked_us"], row["used_us"])
    return Token(row["id"], wanted, *times, is_macaroon=row["digest"] == _NO_SECRET)


def _digest(secret: str) -> str:
    # The secret is 256 random bits: a plain hash is enough, there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()
