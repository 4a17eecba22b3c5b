"""HTTP/1.1 as values: requests, query strings and ranges. No sockets, no clock.

h11 does the framing; this module turns its events into what endpoints work with.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib import parse

import h11
import msgspec

from . import faults

# Command lines and environments travel in the query: what execve takes of one argument (128 KiB), percent-encoded, and
# ten thousand of them. The edges of the host let the same through (host/relay/heads.py).
MAX_TARGET_BYTES = 1 << 20
MAX_HEADERS_BYTES = 64 << 10
MAX_HEAD_BYTES = MAX_TARGET_BYTES + MAX_HEADERS_BYTES
MAX_PARAMETERS = 1 << 16


class Request(msgspec.Struct, frozen=True):
    """The head of a request. `path` is percent-decoded, header names are lower-case."""

    method: str
    target: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is `true` or `false`; `InvalidRequest` for another text."""
        value = self.first(name).lower()
        if value not in _FLAGS:
            raise faults.InvalidRequest(f"{name}: {value!r} is neither true nor false")
        return default if value == "" else _FLAGS[value]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A decimal query parameter within bounds; `InvalidRequest` when it is not."""
        value = self.first(name) or str(default)
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise faults.InvalidRequest(f"{name}: {value!r} is not a number from {low} to {high}")
        return int(value)


_FLAGS = {"": False, "true": True, "1": True, "false": False, "0": False}


def parse_request(event: h11.Request) -> Request:
    """h11's event → our value; `InvalidRequest` when target or headers are not text."""
    try:
        target = event.target.decode("ascii")
        if target.count("&") >= MAX_PARAMETERS:
            raise faults.HeadTooLarge(f"request: more than {MAX_PARAMETERS} parameters")
        headers = {name.decode("ascii"): value.decode("utf-8") for name, value in event.headers}
        split = parse.urlsplit(target)
        query = parse.parse_qs(split.query, keep_blank_values=True, errors="strict")
        path = parse.unquote(split.path, errors="strict")
    except ValueError as error:
        raise faults.InvalidRequest(f"request: not valid text: {error}") from error
    return Request(event.method.decode("ascii"), target, path, query, headers)


def parse_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """`Range: bytes=…` → (start, length); None when there is none to honour; `RangeNotSatisfiable` if so."""
    unit, _, ranges = header.partition("=")
    first, dash, last = ranges.strip().partition("-")
    digits = first + last
    if unit.strip() != "bytes" or not dash or not (digits.isascii() and digits.isdigit() and len(digits) < 40):
        return None
    start = max(0, size_bytes - int(last)) if not first else int(first)
    end = min(size_bytes, int(last) + 1) if first and last else size_bytes
    if start >= end:
        raise faults.RangeNotSatisfiable(f"range: {header} of {size_bytes} bytes")
    return start, end - start
