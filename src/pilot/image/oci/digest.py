"""Digests (image-spec, descriptor.md): the registered algorithms, in their one spelling."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NewType

import msgspec

from ... import errors

PATTERN = r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}"
_WHOLE = re.compile(PATTERN)

Digest = NewType("Digest", str)
# For documents: what does not look like one is refused by its JSON path.
DigestField = Annotated[Digest, msgspec.Meta(pattern=rf"\A(?:{PATTERN})\Z")]


def parse(text: str) -> Digest:
    """`ALGORITHM:HEX`; SpecError for another algorithm, capitals or a wrong length."""
    if not _WHOLE.fullmatch(text):
        raise errors.SpecError("digest", f"{text[:200]!r} is neither sha256:HEX nor sha512:HEX in small letters")
    return Digest(text)


def of(data: bytes) -> Digest:
    """The sha256 digest of `data`."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


class Check:
    """Feeds on a stream and says at its end whether that was what `expected` names."""

    def __init__(self, expected: Digest) -> None:
        self._expected = expected
        self._hash = hashlib.new(expected.partition(":")[0])

    def update(self, data: bytes | memoryview) -> None:
        """The next part of the stream."""
        self._hash.update(data)

    def finish(self, what: str) -> None:
        """PeerError unless all that came has the digest; `what` says what it was."""
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if found != self._expected:
            raise errors.PeerError(f"{what}: it should be {self._expected} and is {found}")


def fits(data: bytes, expected: Digest) -> bool:
    """Whether `data` is what `expected` names."""
    return hashlib.new(expected.partition(":")[0], data).hexdigest() == expected.partition(":")[2]


def verify(data: bytes, expected: Digest, what: str) -> bytes:
    """`data`, when it is what `expected` names; PeerError."""
    check = Check(expected)
    check.update(data)
    check.finish(what)
    return data
