"""Bodies of requests as values; unknown keys are ignored, wrong types are refused with their JSON path.

A body is never kept beyond `MAX_BYTES`, nor waited for longer than `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import Request

from .... import errors
from ....wire.faults import InvalidRequest, TooLarge, TooSlow
from ...network import policy

MAX_BYTES = 64 << 10
# Ten thousand rules with names as long as names can be.
MAX_POLICY_BYTES = 4 << 20
PATIENCE_S = 30.0

_T = TypeVar("_T", bound="Body")


class Body(msgspec.Struct, frozen=True):
    """What all bodies have in common: how they are parsed."""


class UrlSettings(Body, frozen=True):
    auth: Literal["sprite", "public"] = "sprite"
    private_access: str | None = None


class Source(Body, frozen=True):
    """Our extension: a fork of `sprite`, as it is or as it was at `checkpoint`; or the disk at `url`, in the store."""

    sprite: str | None = None
    checkpoint: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.sprite is None) == (self.url is None) or (self.url is not None and self.checkpoint is not None):
            raise ValueError("from: a sprite, perhaps with a checkpoint, or a url")


class Config(Body, frozen=True):
    """The size of a sprite's machine. `region` and `storage_gb` are accepted and mean nothing on one host."""

    ram_mb: Annotated[int, msgspec.Meta(ge=128, le=1 << 20)] | None = None
    cpus: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    region: str | None = None
    storage_gb: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None


class CreateSprite(Body, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=255)]
    config: Config | None = None
    environment: dict[str, str] | None = None
    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    source: Source | None = msgspec.field(default=None, name="from")

    def __post_init__(self) -> None:
        for name, value in (self.environment or {}).items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"environment: {name!r} cannot be the name of a variable, or its value has a NUL byte")


class UpdateSprite(Body, frozen=True):
    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    clear_labels: bool = False


class CreateCheckpoint(Body, frozen=True):
    comment: str | None = None


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


def parse(kind: type[_T], data: bytes) -> _T:
    """`InvalidRequest` when the body is not JSON or does not fit; an empty body is an empty object."""
    try:
        return msgspec.json.decode(data.strip() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"body: {_lower(str(error))}") from error


def parse_policy(data: bytes) -> policy.Policy:
    """Network rules. `InvalidRequest` with the place of what is wrong."""
    try:
        return policy.parse(msgspec.json.decode(data))
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"body: {_lower(str(error))}") from error
    except errors.SpecError as error:
        raise InvalidRequest(str(error), hint=error.hint) from error


def as_json(body: Body) -> dict[str, Any]:
    """Without what was left out."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return _said(fields)


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in fields.items() if value is not None}
    return {key: _said(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
