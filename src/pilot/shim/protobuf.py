"""Protocol Buffers' encoding for messages that are structs: as much of it as containerd's messages need.

    class KillRequest(Message, frozen=True, kw_only=True):
        id: Annotated[str, 1] = ""
        signal: Annotated[int, 3] = 0

A field is a number, a type and the type's zero as default. Types: str, bytes, bool, int (uint32, int64), enums, other
messages (`X | None`), and tuples of any but numbers. What is the default is not written, and unknown fields are passed
over, as proto3 has it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from .. import errors

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MOST_BITS = 64


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message; each of its fields is `Annotated` with its number."""


Value: TypeAlias = "str | bytes | int | Message"
_Message = TypeVar("_Message", bound=Message)


def encode(message: Message) -> bytes:
    """The message's bytes."""
    parts = bytearray()
    for field in _fields(type(message)):
        value = getattr(message, field.name)
        for each in value if field.repeated else (value,):
            if field.repeated or each not in (None, field.zero):
                parts += _encode_field(field.number, each)
    return bytes(parts)


def decode(data: bytes, kind: type[_Message]) -> _Message:
    """The message that these bytes are; `PeerError` when they are none."""
    fields = {field.number: field for field in _fields(kind)}
    found: dict[str, Value | tuple[Value, ...]] = {}
    try:
        for number, wire_type, raw in _split(data):
            field = fields.get(number)
            if field is None:
                continue
            if (wire_type == _BYTES) != isinstance(raw, bytes) or (wire_type == _BYTES) != field.is_bytes:
                raise errors.PeerError(f"{kind.__name__}: field {number} has wire type {wire_type}")
            value = field.parse(raw)
            before = found.get(field.name, ())
            found[field.name] = (*before, value) if field.repeated and isinstance(before, tuple) else value
    except (ValueError, IndexError) as error:
        raise errors.PeerError(f"{kind.__name__}: {error or 'cut short'}") from error
    return kind(**found)


@dataclasses.dataclass(frozen=True)
class _Field:
    name: str
    number: int
    repeated: bool
    zero: object
    is_bytes: bool
    parse: Callable[[bytes | int], Value]


@functools.cache
def _fields(kind: type[Message]) -> tuple[_Field, ...]:
    hints: Mapping[str, object] = get_type_hints(kind, include_extras=True)
    return tuple(_field(name, hint) for name, hint in hints.items())


def _field(name: str, hint: object) -> _Field:
    outer, number = get_args(hint)
    repeated = get_origin(outer) is tuple
    inner = get_args(outer)[0] if repeated else outer
    if isinstance(inner, types.UnionType):
        inner = get_args(inner)[0]
    is_bytes = not issubclass(inner, int)
    zero = None if issubclass(inner, Message) else inner(0) if issubclass(inner, int) else inner()
    return _Field(name, number, repeated, zero, is_bytes, functools.partial(_parse, inner))


def _parse(kind: type[Value], raw: bytes | int) -> Value:
    if isinstance(raw, int):
        return _parse_number(kind, raw)
    if issubclass(kind, Message):
        return decode(raw, kind)
    return raw.decode() if issubclass(kind, str) else raw


def _parse_number(kind: type[Value], raw: int) -> int:
    number = raw - (1 << _MOST_BITS) if raw >> (_MOST_BITS - 1) else raw
    if issubclass(kind, bool):
        return bool(number)
    assert issubclass(kind, int)
    if issubclass(kind, enum.IntEnum) and number not in set(kind):
        return kind(0)  # of a newer peer: proto3 would keep the number, and nobody here could say what it means
    return kind(number)


def _encode_field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value & ((1 << _MOST_BITS) - 1))
    data = encode(value) if isinstance(value, Message) else value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _split(data: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Number, wire type and value of each field; ValueError or IndexError for what is no message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not number:
            raise ValueError("a field has the number 0")
        if wire_type == _VARINT:
            value, at = _read_varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == _BYTES:
            size, at = _read_varint(data, at)
        elif wire_type in _SIZES:
            size = _SIZES[wire_type]
        else:
            raise ValueError(f"field {number} has wire type {wire_type}")
        if at + size > len(data):
            raise ValueError("cut short")
        if wire_type == _BYTES:
            yield number, wire_type, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & ((1 << _MOST_BITS) - 1), at
    raise ValueError("a number has more than 64 bits")
