"""MessagePack as macaroons use it: structs are arrays, integers in the shortest form, maps in the order of their keys.

The chain of HMACs runs over bytes, so a caveat is carried as the bytes that it came in and never written anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ... import errors

T = TypeVar("T")
MAX_TOKEN_BYTES = 1 << 16  # an Authorization header is no longer than that anyway

_encoder = msgspec.msgpack.Encoder()
_raw_array = msgspec.msgpack.Decoder(list[msgspec.Raw])
_type_number = msgspec.msgpack.Decoder(int)


class Malformed(errors.PilotError):
    """The bytes are no token. Says what is wrong with them, never what is in them."""


def pack(value: object) -> bytes:
    """`value` in its one encoding; dictionaries have to be in order (`in_order`)."""
    return _encoder.encode(value)


def unpack(data: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    """`Malformed` where `data` is anything but one `kind`."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except errors.UNREADABLE as error:
        raise Malformed(f"{what}: not what it should be") from error


def items(data: bytes | msgspec.Raw, what: str) -> list[msgspec.Raw]:
    """The members of an array, each as its bytes."""
    if len(memoryview(data)) > MAX_TOKEN_BYTES:
        raise Malformed(f"{what}: longer than {MAX_TOKEN_BYTES} bytes")
    try:
        return _raw_array.decode(data)
    except errors.UNREADABLE as error:
        raise Malformed(f"{what}: no array") from error


def number(data: msgspec.Raw, what: str) -> int:
    """An unsigned integer of 64 bits."""
    try:
        value = _type_number.decode(data)
    except errors.UNREADABLE as error:
        raise Malformed(f"{what}: no number") from error
    if not 0 <= value < 1 << 64:
        raise Malformed(f"{what}: no unsigned number of 64 bits")
    return value


def array(members: Iterable[bytes]) -> bytes:
    """An array of members that are packed already."""
    return pack([msgspec.Raw(member) for member in members])
