"""What may be asked for: the bodies of requests are these values, and so are the arguments of `Sprites`."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec

from ..store.sprites import Config, ConfigChanges, Lifecycle, UrlSettings

MOST_FORKS = 50
Seconds = Annotated[float, msgspec.Meta(ge=0, le=365 * 86400)]


class Source(msgspec.Struct, frozen=True):
    """Our extension: a fork of `sprite`, as it is or as it was at `checkpoint`; or the disk at `url`, in the store; or
    a fork of the root of a Machine (`APP/ID`)."""

    sprite: str | None = None
    checkpoint: str | None = None
    url: str | None = None
    machine: Annotated[str, msgspec.Meta(pattern=r"^[^/]+/[^/]+\Z", max_length=200)] | None = None

    def __post_init__(self) -> None:
        if [self.sprite, self.url, self.machine].count(None) != 2 or (self.checkpoint and not self.sprite):
            raise ValueError("from: a sprite, perhaps with a checkpoint, or a url, or a machine")


def _can_be_told(moment: datetime.datetime) -> bool:
    """Whether answers can have it: they tell times in UTC, where the first and last hours of the format are others."""
    try:
        moment.astimezone(datetime.UTC)
    except OverflowError:
        return False
    return True


class LifecycleChanges(msgspec.Struct, frozen=True):
    """What is left out stays as it is; null is the host's default, or none. Times in seconds, 0 is never.

    `expires_in_s`: from now, for whoever refreshes a deadline without knowing the time; `expires_at`: RFC 3339.
    """

    warm_after_s: Seconds | msgspec.UnsetType | None = msgspec.UNSET
    cold_after_s: Seconds | msgspec.UnsetType | None = msgspec.UNSET
    terminal_idle_s: Seconds | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: datetime.datetime | msgspec.UnsetType | None = msgspec.UNSET
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86400)] | msgspec.UnsetType = msgspec.UNSET
    on_expiry: Literal["delete", "stop", "suspend"] | msgspec.UnsetType = msgspec.UNSET
    protected: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.expires_at is not msgspec.UNSET and self.expires_in_s is not msgspec.UNSET:
            raise ValueError("lifecycle: expires_at or expires_in_s, not both")
        if isinstance(self.expires_at, datetime.datetime) and self.expires_at.tzinfo is None:
            raise ValueError("lifecycle: expires_at: without a time zone")
        if isinstance(self.expires_at, datetime.datetime) and not _can_be_told(self.expires_at):
            raise ValueError("lifecycle: expires_at: not in the years 1 to 9999 of UTC")

    def applied(self, before: Lifecycle, now_us: int) -> Lifecycle:
        said = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}
        expires_at, expires_in_s = said.pop("expires_at", msgspec.UNSET), said.pop("expires_in_s", None)
        if expires_in_s is not None:
            said["expires_us"] = now_us + round(expires_in_s * 1e6)
        elif expires_at is not msgspec.UNSET:
            said["expires_us"] = None if expires_at is None else round(expires_at.timestamp() * 1e6)
        return msgspec.structs.replace(before, **said)


class NewSprite(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=255)]
    config: Config | None = None
    environment: dict[str, str] | None = None
    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    lifecycle: LifecycleChanges | None = None
    source: Source | None = msgspec.field(default=None, name="from")
    template: Annotated[str, msgspec.Meta(pattern=r"^[^:]+:[^:]+\Z", max_length=400)] | None = None

    @property
    def origin(self) -> Source | None:
        """`template` is `from`, in a word."""
        if self.template is None:
            return self.source
        sprite, _, checkpoint = self.template.partition(":")
        return Source(sprite, checkpoint)

    def __post_init__(self) -> None:
        if self.template is not None and self.source is not None:
            raise ValueError("from or template, not both")
        for name, value in (self.environment or {}).items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"environment: {name!r} cannot be the name of a variable, or its value has a NUL byte")


class Forks(msgspec.Struct, frozen=True):
    """Sprites of these names, each as `NewSprite` says, all on forks of one state: of `checkpoint`, or as it is."""

    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MOST_FORKS)]
    checkpoint: str | None = None
    config: Config | None = None
    environment: dict[str, str] | None = None
    labels: list[str] | None = None
    lifecycle: LifecycleChanges | None = None

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: each once")
        self.sprites()

    def sprites(self) -> list[NewSprite]:
        said = self.config, self.environment, None, self.labels, self.lifecycle
        return [NewSprite(name, *said) for name in self.names]


class SpriteChanges(msgspec.Struct, frozen=True):
    """What is None stays as it is. A size takes effect at once; in a virtual machine with its next start."""

    url_settings: UrlSettings | None = None
    labels: list[str] | None = None
    clear_labels: bool = False
    config: ConfigChanges | None = None
    lifecycle: LifecycleChanges | None = None
