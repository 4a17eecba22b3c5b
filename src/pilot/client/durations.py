"""Durations as people and Go write them: `90`, `90s`, `1m30s`, `250ms`, `2h`, and days: `7d`."""

from __future__ import annotations

import re

from .words import UsageError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def parse_s(text: str) -> float:
    """Text → seconds; `UsageError` when it is no duration."""
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise UsageError(f"{text!r} is no duration", hint="write it as 90s, 1m30s, 2h or 7d")
    return sum(float(part.group(1)) * _UNITS_S[part.group(2)] for part in parts)
