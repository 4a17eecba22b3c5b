"""What a sprite is called on the web, and what a Host asks for. Pure.

    <name>-<suffix>.<domain>            the sprite's http service, else its port 8080
    <port>-<name>-<suffix>.<domain>     what listens at that port of it

A sprite may be named `3000-web`: where both could be meant, the name that there is comes before the port.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator

DEFAULT_PORT = 8080
DEFAULT_DOMAIN = "localhost"
_LABEL = re.compile(r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)-(?P<suffix>[0-9a-f]{4})")
_WITH_PORT = re.compile(r"(?P<port>[1-9][0-9]{0,4})-(?P<rest>.+)")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
MAX_PORT = 65535


def split_port(label: str) -> tuple[int, str] | None:
    """`PORT-REST` as these; None for what does not begin with a port."""
    split = _WITH_PORT.fullmatch(label)
    return (int(split["port"]), split["rest"]) if split and int(split["port"]) <= MAX_PORT else None


@dataclasses.dataclass(frozen=True)
class Address:
    """`port` None: whatever the sprite serves the web with."""

    name: str
    suffix: str
    port: int | None = None


@dataclasses.dataclass(frozen=True)
class Domain:
    """What all addresses of one pilotd end in."""

    name: str = DEFAULT_DOMAIN

    def __post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.name) or len(self.name) > 180:
            raise ValueError(f"{self.name!r} is no domain")

    def label(self, host: str) -> str | None:
        """What stands before it; None for a host that is not below it, or the domain itself."""
        before, dot, rest = host.removesuffix(".").partition(".")
        return before if dot and rest == self.name else None

    def is_below(self, host: str) -> bool:
        """Whether a host of that name is somebody's, or nobody's, but never the API's."""
        below, api = self._below
        host = host.removesuffix(".")
        return host.endswith(below) and host != api

    @functools.cached_property
    def _below(self) -> tuple[str, str]:
        """What hosts below it end in, and the one of them that is the API's."""
        return f".{self.name}", f"api.{self.name}"

    def host(self, name: str, suffix: str, port: int | None = None) -> str:
        """The host that leads to a sprite."""
        return f"{'' if port is None else f'{port}-'}{name}-{suffix}.{self.name}"


def readings(label: str) -> Iterator[Address]:
    """What `label` may mean, the likeliest first."""
    if whole := _LABEL.fullmatch(label):
        yield Address(whole["name"], whole["suffix"])
    split = _WITH_PORT.fullmatch(label)
    rest = _LABEL.fullmatch(split["rest"]) if split else None
    if split and rest and int(split["port"]) <= MAX_PORT:
        yield Address(rest["name"], rest["suffix"], int(split["port"]))
