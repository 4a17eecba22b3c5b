"""Names of secret keys: a label, and behind it perhaps a version, as in `orders`, and `ordersv2`. Pure.

A ciphertext begins with the version that it was made with, so that whoever has it needs no more than the label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...wire import faults

MOST_VERSION = 0x1000_0000 - 2
_MOST_CHARACTERS = 100
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VERSIONED = re.compile(r"(.+)v(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Name:
    """`version` None: the newest one to make something with, and whichever it was made with to read it."""

    label: str
    version: int | None = None


def parse(text: str) -> Name:
    """`InvalidRequest` for what is no name of a file."""
    if not _NAME.fullmatch(text) or len(text) > _MOST_CHARACTERS:
        raise faults.InvalidRequest(
            f"key {text[:50]!r}: a name has letters, digits and ._- and at most {_MOST_CHARACTERS} of them"
        )
    found = _VERSIONED.fullmatch(text)
    if found is None:
        return Name(text)
    version = int(found[2])
    if version > MOST_VERSION:
        raise faults.InvalidRequest(f"key {text[:50]!r}: there is no version after {MOST_VERSION}")
    return Name(found[1], version)


def joined(label: str, version: int) -> str:
    return f"{label}v{version}"


def mark(version: int) -> bytes:
    """A varint; 0 is left for no version."""
    value, out = version + 1, bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def marked(data: bytes) -> tuple[int, bytes]:
    """The version, and what is behind it. `ValueError` for what begins with none, or spells it otherwise."""
    value = 0
    for place, byte in enumerate(data[:4]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            version, rest = value - 1, data[place + 1 :]
            if version >= 0 and mark(version) == data[: place + 1]:
                return version, rest
            break
    raise ValueError("no version of a key")
