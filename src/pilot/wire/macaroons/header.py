"""`Authorization: FlyV1 fm2_<base64>,fm2_<base64>`: a token and its discharges, in any order, among others' perhaps."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Iterable

from . import macaroon, packing
from .macaroon import Macaroon

SCHEME = "FlyV1"
MAX_HEADER_BYTES = 1 << 16
MAX_TOKENS = 64
_SCHEMES = frozenset({"flyv1", "bearer"})
_LABELS = frozenset({"fm1r", "fm1a", "fm2"})
_FOREIGN = frozenset({"fo1"})  # of OAuth: not ours to look at


@dataclasses.dataclass(frozen=True)
class Bundle:
    """The tokens of one location, and all others: discharges of theirs, or nobody's."""

    permissions: tuple[Macaroon, ...]
    others: tuple[Macaroon, ...]


def strip_scheme(header: str) -> str:
    """The tokens alone. Clients put a scheme before what has one already."""
    text = header.strip()
    while True:
        scheme, space, rest = text.partition(" ")
        if not space or scheme.lower() not in _SCHEMES:
            return text
        text = rest.strip()


def parse_tokens(header: str) -> list[bytes]:
    """Each token's bytes; `Malformed` where one is none."""
    if len(header) > MAX_HEADER_BYTES:
        raise packing.Malformed("header: too long")
    words = [word.strip() for word in strip_scheme(header).split(",")]
    if len(words) > MAX_TOKENS:
        raise packing.Malformed(f"header: more than {MAX_TOKENS} tokens")
    found = [_token(word) for word in words if word.partition("_")[0] not in _FOREIGN]
    if not found:
        raise packing.Malformed("header: no token in it")
    return found


def _token(word: str) -> bytes:
    label, mark, text = word.partition("_")
    if not mark or label not in _LABELS:
        raise packing.Malformed("header: a token of an unknown kind")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise packing.Malformed("header: a token that is not base64") from error
    if not data:
        raise packing.Malformed("header: an empty token")
    return data


def parse(header: str, location: str) -> Bundle:
    """What `header` carries. Tokens that are none of a known format are left out: they are others' business."""
    permissions: list[Macaroon] = []
    others: list[Macaroon] = []
    for data in parse_tokens(header):
        try:
            found = macaroon.decode(data)
        except packing.Malformed:
            continue
        (permissions if found.location == location else others).append(found)
    return Bundle(tuple(permissions), tuple(others))


def write(tokens: Iterable[Macaroon]) -> str:
    """The header's value."""
    return f"{SCHEME} " + ",".join("fm2_" + base64.b64encode(token.encode()).decode() for token in tokens)
