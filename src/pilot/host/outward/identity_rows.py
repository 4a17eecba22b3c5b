"""What a machine may ask for to say who it is: tokens for others to believe. Which machine asks, the socket says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ... import errors
from ...ids import MachineId
from ...wire import faults, outward
from ...wire.audit import Kind
from ..identity.issuer import MAX_AUDIENCE, Issuer, Subject
from ..identity.machine_tokens import Holder, MachineTokens
from ..store import fly, sprites, tokens
from ..store.database import Database
from .rows import Caller, Row, answering

SPRITES = "_sprites"  # for the app of all sprites, which have none; no app can be called so


def rows(database: Database, issuer: Issuer, machine_tokens: MachineTokens) -> Sequence[Row]:
    """All of them."""

    def create_token(caller: Caller, asked: outward.OidcRequest, _: Mapping[str, str]) -> outward.OidcToken:
        if asked.aud is not None and not 0 < len(asked.aud) <= MAX_AUDIENCE:
            raise faults.InvalidRequest(f"aud: 1 to {MAX_AUDIENCE} characters")
        issued = issuer.issue(
            subject_of(database, caller.machine), asked.aud, aws_principal_tags=asked.aws_principal_tags
        )
        return outward.OidcToken(token=issued.token, issued_s=issued.issued_s, expires_s=issued.expires_s)

    def create_machine_token(caller: Caller, _: None, __: Mapping[str, str]) -> outward.MachineToken:
        minted = machine_tokens.mint(holder_of(database, caller.machine))
        return outward.MachineToken(token=minted.token, issued_s=minted.issued_s, expires_s=minted.expires_s)

    return (
        answering(outward.CREATE_OIDC_TOKEN, create_token, Kind.TOKEN),
        answering(outward.CREATE_MACHINE_TOKEN, create_machine_token, Kind.TOKEN),
    )


def holder_of(database: Database, machine: MachineId) -> Holder:
    """A sprite's, or a Machine of an app. `StateError` for one that is nobody's yet."""
    sprite = sprites.of_machine(database, machine)
    if sprite is not None:
        return Holder(machine, sprite.organisation, sprite=sprite.id)
    app = _machine_of_app(database, machine)[1]
    return Holder(machine, app.organisation, app=app.id)


def subject_of(database: Database, machine: MachineId) -> Subject:
    """A sprite's, or a Machine of an app. `StateError` for one that is nobody's yet."""
    sprite = sprites.of_machine(database, machine)
    if sprite is not None:
        slug = tokens.organisation(database, sprite.organisation).slug
        return Subject(slug, sprite.organisation, SPRITES, "", sprite.name, sprite.id)
    row, app = _machine_of_app(database, machine)
    slug = tokens.organisation(database, app.organisation).slug
    first = next(iter(row.images), None)
    image, digest = (first.reference, first.digest) if first else ("", "")
    return Subject(slug, app.organisation, app.name, app.id, row.name, row.id, row.version, row.region, image, digest)


def _machine_of_app(database: Database, machine: MachineId) -> tuple[fly.Machine, fly.App]:
    try:
        row = fly.by_id(database, machine)
        return row, fly.app_of(database, row)
    except errors.NotFound as error:
        raise errors.StateError("this machine is nobody's yet") from error
