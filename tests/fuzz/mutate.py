"""Changes documents as documents: the parsers below are C, so that bytes changed blindly seldom get past them.

A document is parsed, one place in it is replaced by something odd, removed, doubled or moved, and it is written again.
What is no document is changed as bytes, and so is every other one.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

# What is most likely to be taken for something else.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 0.5, 1e300, "", "0", "-1", "/", "..",
    "a\0b", "é", "x" * 300, "head", "checkpoint/", "local/", "checkpoint/../x", "00" * 8, [], {}, [[]], [{}], {"": ""},
)  # fmt: skip
_BYTES: tuple[Any, ...] = (b"", b"\0", b"\xff" * 8, bytes(16), bytes(8192), b"\1" + bytes(7))

Mutator = Callable[[bytes, int, int], bytes]


def documents(parse: Callable[[bytes], Any], write: Callable[[Any], bytes], odd: tuple[Any, ...]) -> Mutator:
    """A mutator as libFuzzer wants it: (data, longest, seed) → data."""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.3:
            return _blind(data, longest, chance)
        try:
            document = parse(data)
            for _ in range(chance.randint(1, 3)):
                document = _changed(document, chance, odd)
            written = write(document)
        except (ValueError, RecursionError, TypeError, OverflowError):
            return _blind(data, longest, chance)
        return written if len(written) <= longest else _blind(data, longest, chance)

    return mutate


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, child in children for place in _places(child, (*at, name)))]


def _changed(document: Any, chance: random.Random, odd: tuple[Any, ...]) -> Any:
    document = copy.deepcopy(document)
    place = chance.choice(_places(document))
    if not place:
        return copy.deepcopy(chance.choice(odd)) if chance.random() < 0.05 else document
    holder = document
    for name in place[:-1]:
        holder = holder[name]
    chance.choice((_replace, _replace, _remove, _double, _nudge))(holder, place[-1], chance, odd)
    return document


def _replace(holder: Any, key: Any, chance: random.Random, odd: tuple[Any, ...]) -> None:
    holder[key] = copy.deepcopy(chance.choice(odd))


def _remove(holder: Any, key: Any, chance: random.Random, odd: tuple[Any, ...]) -> None:
    del holder[key]


def _double(holder: Any, key: Any, chance: random.Random, odd: tuple[Any, ...]) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[chance.choice((f"{key}x", f"{key}", "x"))] = copy.deepcopy(holder[key])


def _nudge(holder: Any, key: Any, chance: random.Random, odd: tuple[Any, ...]) -> None:
    value: Any = holder[key]
    if isinstance(value, bool | float) or value is None:
        holder[key] = not value
    elif isinstance(value, int):
        holder[key] = value + chance.choice((-1, 1, 256, -value, 1 << 32))
    elif isinstance(value, str | bytes) and value:
        at = chance.randrange(len(value))
        rest: Any = value[at + chance.randint(0, 2) :]
        holder[key] = value[:at] + rest


def _blind(data: bytes, longest: int, chance: random.Random) -> bytes:
    """As bytes: some replaced, put in, left out, or there twice."""
    at = chance.randint(0, len(data))
    to = min(len(data), at + chance.randint(0, 8))
    middle = chance.choice((b"", data[at:to] * 2, chance.randbytes(to - at), chance.randbytes(chance.randint(0, 4))))
    return (data[:at] + middle + data[to:])[:longest]


JSON = documents(json.loads, lambda document: json.dumps(document).encode(), ODD)
MSGPACK = documents(msgspec.msgpack.decode, msgspec.msgpack.encode, ODD + _BYTES)
