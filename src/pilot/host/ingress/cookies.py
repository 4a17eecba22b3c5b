"""The Cookie header, as far as it is ours. Pure.

A host may have been given several cookies of our name (one for all of a domain, by a stranger's page): each is tried.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..relay.heads import Headers

VISIT = b"pilot-visit"
LOGIN = b"pilot-login"
_OURS = frozenset({VISIT, LOGIN})


def values(headers: Headers, name: bytes) -> Iterator[str]:
    """Of every cookie of that name."""
    for pair in _pairs(headers):
        key, found, value = pair.partition(b"=")
        if found and key.strip() == name:
            yield value.strip().strip(b'"').decode("latin-1")


def without_ours(value: bytes) -> bytes:
    """A Cookie header's value as a sprite is told it."""
    if b"pilot-" not in value:
        return value
    return b"; ".join(pair.strip() for pair in value.split(b";") if pair.partition(b"=")[0].strip() not in _OURS)


def made(name: bytes, value: str, *, secure: bool, lasts_s: int, path: str = "/") -> bytes:
    """A Set-Cookie of this host alone: without Domain, no other host is sent it (RFC 6265, 5.3)."""
    words = [f"{name.decode()}={value}", f"Path={path}", f"Max-Age={lasts_s}", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*words, *(["Secure"] if secure else [])]).encode()


def _pairs(headers: Headers) -> Iterator[bytes]:
    for key, value in headers:
        if key == b"cookie":
            yield from value.split(b";")
