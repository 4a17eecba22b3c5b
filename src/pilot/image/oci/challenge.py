"""`WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants of us, as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCHEME = re.compile(r"\s*([A-Za-z]+)\s+")
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_LONGEST = 8192


@dataclass(frozen=True)
class Challenge:
    """`scheme` in small letters; of its parameters those that a registry sends."""

    scheme: str
    realm: str
    service: str = ""
    scope: str = ""


def parse(header: str) -> Challenge | None:
    """The first challenge of the header; None for one that is not understood."""
    match = _SCHEME.match(header[:_LONGEST])
    if match is None:
        return None
    at, found = match.end(), dict[str, str]()
    while parameter := _PARAMETER.match(header, at):
        quoted, bare = parameter[2], parameter[3]
        found.setdefault(parameter[1].lower(), bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = parameter.end()
    return Challenge(match[1].lower(), found.get("realm", ""), found.get("service", ""), found.get("scope", ""))
