"""Numbers of a command line, as types for argparse: what could not be meant is refused before anything is done."""

from __future__ import annotations

from collections.abc import Callable

MOST_S = 1e6


def seconds(text: str) -> float:
    """A time to wait: not below nothing, no NaN, and not for ever."""
    number = float(text)
    if not 0 <= number <= MOST_S:
        raise ValueError(text)
    return number


def count(least: int, most: int) -> Callable[[str], int]:
    """An integer of that range."""

    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    read.__name__ = f"number from {least} to {most},"  # argparse: invalid … value: '-1'
    return read
