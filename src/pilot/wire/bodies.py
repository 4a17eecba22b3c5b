"""Bodies of requests: JSON → values. What a schema calls an integer is one by its value, and may be written `1.0`."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(data: bytes, kind: type[T]) -> T:
    """An empty body is an empty object. One of `errors.UNREADABLE` for what is no JSON, or does not fit."""
    text = data.strip() or b"{}"
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        # Nearly always a mistake, which the second try tells as the first did.
        return msgspec.convert(_with_integers(msgspec.json.decode(text)), kind)


def _with_integers(value: object) -> object:
    """Numbers without a fraction as `int`; a field of the other kind takes them as well."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _with_integers(each) for key, each in value.items()}
        case list():
            return [_with_integers(each) for each in value]
    return value
