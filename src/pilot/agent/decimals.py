"""Numbers in text that somebody else wrote. `str.isdigit` takes "²" for a digit, which `int` does not."""

from __future__ import annotations

_MOST_DIGITS = 19


def parse_decimal(text: str) -> int | None:
    """ASCII digits, at most 19 of them → number; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
