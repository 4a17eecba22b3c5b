"""Go's text form of durations ("1m30s", "250ms", "0"), which the Sprites API uses; plain numbers are seconds."""

from __future__ import annotations

import re

from .. import errors

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d*)?", re.ASCII)


def parse_duration_s(text: str) -> float:
    """Text → seconds, not negative; `PilotError` when it is no duration."""
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise errors.PilotError(f"invalid duration {text!r}", hint="write it as 30s, 1m30s or 250ms")
    return sum(float(part.group(1)) * _UNITS_S[part.group(2)] for part in parts)
