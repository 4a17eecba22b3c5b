"""Forms that values of compose files have: commands, durations, sizes, variables. `SpecError` with the place."""

from __future__ import annotations

import math
import re
import shlex

from .document import Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|k|kb|m|mb|g|gb)?", re.ASCII | re.IGNORECASE)
_MULTIPLES = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}
_MOST_S = 86400.0
_MOST_BYTES = 1 << 50


def words(item: Item) -> list[str]:
    """A list, or one text as a shell reads words (which runs in no shell)."""
    if item.is_list:
        return [each.text() for each in item.items()]
    try:
        return shlex.split(item.text())
    except ValueError as error:
        item.refuse(str(error).lower())


def duration_s(item: Item) -> float:
    """`1m30s`."""
    text = item.text()
    parts = list(_PART.finditer(text))
    if text != "0" and (not parts or "".join(part.group() for part in parts) != text):
        item.refuse(f"{text[:40]!r} is no duration", hint="write it as 90s or 1m30s")
    found_s = sum(float(part.group(1)) * _UNITS_S[part.group(2)] for part in parts)
    if found_s > _MOST_S:
        item.refuse(f"{text[:40]!r} is longer than a day")
    return found_s


def seconds(item: Item) -> int:
    """A duration in whole seconds, and one at least of any that is not nothing."""
    return math.ceil(duration_s(item))


def size_bytes(item: Item) -> int:
    """`64m`, in bytes."""
    match = _SIZE.fullmatch(item.text().strip())
    if match is None:
        item.refuse(f"{item.text()[:40]!r} is no size", hint="write it as 64m or 1g")
    found = float(match.group(1)) * _MULTIPLES[(match.group(2) or "").lower()]
    if found > _MOST_BYTES:
        item.refuse(f"{item.text()[:40]!r} is more than there is anywhere")
    return int(found)


def variables(item: Item, environment: Mapping[str, str]) -> dict[str, str]:
    """A mapping, or a list of NAME=VALUE. One without a value is the caller's own, or left out."""
    if item.is_list:
        pairs = [(each, *each.text().partition("=")) for each in item.items()]
        said = {name: value if separator else None for _, name, separator, value in pairs}
        for each, name, _, _ in pairs:
            if not name:
                each.refuse("it is NAME=VALUE")
    else:
        said = {name: None if each.is_nothing else each.text() for name, each in item.mapping().items()}
    found = {name: environment.get(name) if value is None else value for name, value in said.items()}
    return {name: value for name, value in found.items() if value is not None}


def texts(item: Item) -> list[str]:
    """A list of them, or one."""
    return [each.text() for each in item.items()] if item.is_list else [] if item.is_nothing else [item.text()]
