"""Bodies of requests as values; unknown keys are ignored, wrong types are refused with their JSON path."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .access import Invalid

_T = TypeVar("_T", bound="Body")


class Body(msgspec.Struct, frozen=True):
    """What all bodies have in common: how they are parsed."""


class UrlSettings(Body, frozen=True):
    auth: str = "sprite"
    private_access: str | None = None


class Source(Body, frozen=True):
    """Our extension: a fork of `sprite`, as it is or as it was at `checkpoint`."""

    sprite: str
    checkpoint: str | None = None


class CreateSprite(Body, frozen=True):
    name: str
    config: dict[str, Any] | None = None
    environment: dict[str, str] | None = None
    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    source: Source | None = msgspec.field(default=None, name="from")


class UpdateSprite(Body, frozen=True):
    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    clear_labels: bool = False


class CreateCheckpoint(Body, frozen=True):
    comment: str | None = None


def parse(kind: type[_T], data: bytes) -> _T:
    """`Invalid` when the body is not JSON or does not fit; an empty body is an empty object."""
    try:
        return msgspec.json.decode(data.strip() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise Invalid(f"body: {_lower(str(error))}") from error


def as_json(body: Body) -> dict[str, Any]:
    """Without what was left out."""
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return {key: value for key, value in fields.items() if value is not None}


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
