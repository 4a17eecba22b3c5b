"""Values in GVariant's text form, as annotations write them for systemd, → D-Bus signature and value.

    true · 42 · -1.5 · 'text' · "text" · uint64 5 · byte 0x1f · ['a', 'b'] · [uint32 1, 2] · @as []

A number is an int32, or a double when it has a point or an exponent, unless a type stands before it. Numbers, truth
values, texts and arrays of them are all that properties of units are made of; nothing else is read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]

_TYPES = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x",
    "uint64": "t", "double": "d", "string": "s",
}  # fmt: skip
_RANGES = {
    "y": (0, 2**8), "n": (-(2**15), 2**15), "q": (0, 2**16), "i": (-(2**31), 2**31), "u": (0, 2**32),
    "x": (-(2**63), 2**63), "t": (0, 2**64),
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]{1,16}(?![0-9a-fA-F])|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))
    | (?P<word>[a-z][a-z0-9]*)
    | @(?P<type>a?[bynqiuxtds])(?![a-z])
    | (?P<mark>[\[\],])
    )""",
    re.VERBOSE,
)
# No type has more digits.
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20})")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Variant(msgspec.Struct, frozen=True):
    """A value, and its type as D-Bus writes it."""

    signature: str
    value: Value


def parse(text: str) -> Variant:
    """The value that the text is; ValueError says what it is not."""
    tokens = deque(_tokens(text))
    found = _parse(tokens, "")
    if tokens:
        raise ValueError(f"there is more after the value: {tokens[0].text}")
    return found


class _Token(NamedTuple):
    kind: str  # of _TOKEN's groups
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"not a value at {text[position : position + 40]!r}")
        yield _Token(match.lastgroup, match[match.lastgroup])
        position = match.end()


def _parse(tokens: deque[_Token], wanted: str) -> Variant:
    """Take one value, of the type that is `wanted`, if any."""
    while tokens:
        token = tokens.popleft()
        if token.kind == "type":
            wanted = token.text
        elif token.kind == "word" and token.text in _TYPES:
            wanted = _TYPES[token.text]
        elif token.text == "[":
            return _parse_array(tokens, wanted)
        else:
            return _scalar(token, wanted)
    raise ValueError("there is no value")


def _parse_array(tokens: deque[_Token], wanted: str) -> Variant:
    """After its bracket. All of its values are of the type of the first."""
    if wanted and not wanted.startswith("a"):
        raise ValueError(f"an array is not of type {wanted}")
    signature, values = wanted[1:], list[Scalar]()
    separator = ","
    while tokens and tokens[0].text != "]" and separator == ",":
        if tokens[0].text == "[":
            raise ValueError("arrays of arrays are not read")
        found = _parse(tokens, signature)
        assert not isinstance(found.value, tuple)  # that takes a bracket
        signature = found.signature
        values.append(found.value)
        separator = tokens.popleft().text if tokens and tokens[0].text == "," else ""
    if not tokens or tokens.popleft().text != "]":
        raise ValueError("an array has commas between its values, and ends with ]")
    if not signature:
        raise ValueError("an empty array has no type")
    return Variant(f"a{signature}", tuple(values))


def _scalar(token: _Token, wanted: str) -> Variant:
    kind, text = token
    if kind == "string" and wanted in {"", "s"}:
        return Variant("s", _unescaped(text[1:-1]))
    if kind == "word" and text in {"true", "false"} and wanted in {"", "b"}:
        return Variant("b", text == "true")
    if kind == "number" and (wanted == "d" or (not wanted and _is_fraction(text))):
        return Variant("d", float(_integer(text)) if _INTEGER.fullmatch(text) else float(text))
    signature = wanted or "i"
    if kind != "number" or signature not in _RANGES or not _INTEGER.fullmatch(text):
        raise ValueError(f"not a value{f' of type {wanted}' if wanted else ''}: {text}")
    number = _integer(text)
    least, limit = _RANGES[signature]
    if not least <= number < limit:
        raise ValueError(f"{text} is out of the range of type {signature}")
    return Variant(signature, number)


def _is_fraction(text: str) -> bool:
    return "x" not in text.lower() and not set(text).isdisjoint(".eE")


def _integer(text: str) -> int:
    return int(text, 16) if "x" in text.lower() else int(text)


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2])

    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", character, text, flags=re.DOTALL)
