"""Bodies of requests as values (`services.wanted`).

Unknown keys are ignored, wrong types are refused with their JSON path.

A body is never kept beyond `MAX_BYTES`, nor waited for longer than `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal, TypeVar

import msgspec
from starlette.requests import Request

from .... import errors
from ....wire import bodies as wire_bodies
from ....wire.faults import InvalidRequest, TooLarge, TooSlow
from ....wire.permissions import Permission, Role
from ....wire.schema import Privileges
from ...network import policy
from ...network.connectors.connector import Attachment

MAX_BYTES = 64 << 10
# Ten thousand rules with names as long as names can be.
MAX_POLICY_BYTES = 4 << 20
PATIENCE_S = 30.0

EventKind = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40}|\.\*)\Z")]
T = TypeVar("T", bound=msgspec.Struct)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
_TOKEN_NAME = rf"^(?!(?:current|authenticate|authorize)\Z){_LABEL}"


class CreateCheckpoint(msgspec.Struct, frozen=True):
    comment: str | None = None
    name: str | None = None


class RestoreCheckpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path`: this alone, while the sprite runs on; without it the whole disk, so no misspelt one is let pass."""

    path: str | None = None


class RenameCheckpoint(msgspec.Struct, frozen=True):
    """`name`: null takes it away."""

    name: str | None


class CreateToken(msgspec.Struct, frozen=True):
    """`expires_in_s`: from now. Without `sprite` or `app` it is for all of the organisation.

    `name`: a label, but none of the words that follow `/v1/tokens/` in other calls.
    """

    description: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    name: Annotated[str, msgspec.Meta(pattern=_TOKEN_NAME)] | None = None
    role: Role = Role.ADMIN
    sprite: str | None = None
    app: str | None = None
    form: Literal["bearer", "macaroon"] = "bearer"
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86400)] | None = None

    def __post_init__(self) -> None:
        if self.sprite is not None and self.app is not None:
            raise ValueError("a sprite or an app, not both")


class ShownToken(msgspec.Struct, frozen=True):
    """What an Authorization header would have."""

    header: Annotated[str, msgspec.Meta(max_length=1 << 15)]


class Discharge(msgspec.Struct, frozen=True):
    """`ticket`: base64, as a third party's caveat has it."""

    ticket: Annotated[str, msgspec.Meta(max_length=1 << 14)]


class WantedAccess(msgspec.Struct, frozen=True):
    """As the Machines API names it; `action` by letters (`rwcdC`). `sprite` and `permission` are ours."""

    org_slug: str | None = None
    org_feature: str | None = None
    app_name: str | None = None
    app_feature: str | None = None
    machine_id: str | None = None
    machine_feature: str | None = None
    volume_id: str | None = None
    command: tuple[str, ...] | None = None
    mutation: str | None = None
    storage_object: str | None = None
    source_machine: str | None = None
    action: str = ""
    sprite: str | None = None
    permission: Permission | None = None


class AuthorizeToken(msgspec.Struct, frozen=True):
    header: Annotated[str, msgspec.Meta(max_length=1 << 15)]
    access: WantedAccess


class PutHold(msgspec.Struct, frozen=True):
    """`expire`: in so many seconds; None is when it is let go of."""

    expire: Annotated[float, msgspec.Meta(gt=0, le=365 * 86400)] | None = None


class MemoryPolicy(msgspec.Struct, frozen=True):
    limit_mb: Annotated[int, msgspec.Meta(ge=128, le=1 << 20)] | None = None
    autoscale: bool = False


class ResourcesPolicy(msgspec.Struct, frozen=True):
    memory: MemoryPolicy


class PrivilegesPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """As the official clients spell it; what it leaves out is the profile's. It says something: what says nothing is no
    reason to give a sprite more."""

    profile: Literal["", "minimal", "standard", "privileged"] | msgspec.UnsetType = msgspec.UNSET
    devices: Annotated[list[Literal["/dev/fuse", "/dev/net/tun"]], msgspec.Meta(max_length=16)] = []
    no_new_privileges: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.profile is msgspec.UNSET and self.no_new_privileges is msgspec.UNSET and not self.devices:
            raise ValueError("neither profile nor devices nor noNewPrivileges: DELETE is to have what nobody has set")

    def wanted(self) -> Privileges:
        return Privileges(
            profile=self.profile or "", devices=self.devices, no_new_privileges=bool(self.no_new_privileges)
        )


class PutPrivateNetwork(msgspec.Struct, frozen=True):
    """`network`: a name of the organisation's choice; null: none."""

    network: Annotated[str, msgspec.Meta(pattern=f"^{_LABEL}")] | None


class PutConnector(msgspec.Struct, frozen=True):
    """`secret`: without one it keeps what it has."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)]
    attach: Attachment
    secret: Annotated[str, msgspec.Meta(max_length=8192)] | None = None

    def __repr__(self) -> str:
        return "PutConnector(…)"  # whatever writes bodies down does not write this one


class CreateWebhook(msgspec.Struct, frozen=True):
    """`events`: kinds, or `sprite.*`; without them all. `sprite`: of the one of that name alone."""

    url: Annotated[str, msgspec.Meta(max_length=2048, pattern=r"^https?://[!-~]+\Z")]
    events: Annotated[tuple[EventKind, ...], msgspec.Meta(max_length=32)] = ()
    sprite: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    description: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ChangeWebhook(msgspec.Struct, frozen=True):
    enabled: bool


def said(body: msgspec.Struct) -> dict[str, object]:
    """As JSON has it again."""
    found = msgspec.to_builtins(body)
    assert isinstance(found, dict)
    return found


async def read(request: Request, most: int = MAX_BYTES) -> bytes:
    """The whole body, of `most` bytes. `TooLarge`, or `TooSlow` when it is not there in time."""
    data = bytearray()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for piece in request.stream():
                data += piece
                if len(data) > most:
                    raise TooLarge(f"body: more than {most} bytes")
    except TimeoutError as error:
        raise TooSlow(f"body: it did not come within {PATIENCE_S:.0f} s") from error
    return bytes(data)


def parse(kind: type[T], data: bytes) -> T:
    """`InvalidRequest` when the body is not JSON or does not fit; an empty body is an empty object."""
    try:
        return wire_bodies.decode(data, kind)
    except errors.UNREADABLE as error:
        raise InvalidRequest(f"body: {_lower(str(error))}") from error


def parse_policy(data: bytes) -> policy.Policy:
    """Network rules. `InvalidRequest` with the place of what is wrong."""
    try:
        return policy.parse(msgspec.json.decode(data))
    except errors.UNREADABLE as error:
        raise InvalidRequest(f"body: {_lower(str(error))}") from error
    except errors.SpecError as error:
        raise InvalidRequest(str(error), hint=error.hint) from error


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
