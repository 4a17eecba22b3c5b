"""What may be asked for: the bodies of requests are these values, and so are the arguments of `Sprites`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..store.sprites import Config, UrlSettings


class Source(msgspec.Struct, frozen=True):
    """Our extension: a fork of `sprite`, as it is or as it was at `checkpoint`; or the disk at `url`, in the store."""

    sprite: str | None = None
    checkpoint: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.sprite is None) == (self.url is None) or (self.url is not None and self.checkpoint is not None):
            raise ValueError("from: a sprite, perhaps with a checkpoint, or a url")


class NewSprite(msgspec.Struct, frozen=True):
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


class SpriteChanges(msgspec.Struct, frozen=True):
    """What is None stays as it is."""

    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    clear_labels: bool = False
