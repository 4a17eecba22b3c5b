"""The encoding of messages, beside bytes of protoc's own examples and whatever else may come."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.shim import messages, protobuf
from pilot.shim.protobuf import Message

_UINT = st.integers(0, 2**32 - 1)
_INT = st.integers(-(2**63), 2**63 - 1)


class Inner(Message, frozen=True, kw_only=True):
    number: Annotated[int, 1] = 0
    text: Annotated[str, 2] = ""


class Outer(Message, frozen=True, kw_only=True):
    flag: Annotated[bool, 1] = False
    data: Annotated[bytes, 2] = b""
    inner: Annotated[Inner | None, 3] = None
    many: Annotated[tuple[Inner, ...], 16] = ()
    words: Annotated[tuple[str, ...], 2047] = ()
    status: Annotated[messages.Status, 5] = messages.Status.UNKNOWN


_INNER = st.builds(Inner, number=_INT, text=st.text())
_OUTER = st.builds(
    Outer,
    flag=st.booleans(),
    data=st.binary(),
    inner=st.none() | _INNER,
    many=st.lists(_INNER).map(tuple),
    words=st.lists(st.text()).map(tuple),
    status=st.sampled_from(messages.Status),
)


@given(_OUTER)
def test_what_is_written_is_read(message: Outer) -> None:
    assert protobuf.decode(protobuf.encode(message), Outer) == message


@pytest.mark.parametrize(
    ("message", "data"),
    [
        # https://protobuf.dev/programming-guides/encoding: Test1, Test2 and Test3, and a negative int64.
        (Inner(number=150), "08 96 01"),
        (Inner(text="testing"), "12 07 74 65 73 74 69 6e 67"),
        (Outer(inner=Inner(number=150)), "1a 03 08 96 01"),
        (Inner(number=-2), "08 fe ff ff ff ff ff ff ff ff 01"),
        (Outer(inner=Inner()), "1a 00"),
        (Outer(), ""),
        (Outer(words=("", "a")), "fa 7f 00 fa 7f 01 61"),
    ],
)
def test_the_bytes_are_the_specification_s(message: Message, data: str) -> None:
    assert protobuf.encode(message) == bytes.fromhex(data)
    assert protobuf.decode(bytes.fromhex(data), type(message)) == message


def test_fields_that_nobody_knows_are_passed_over() -> None:
    known = protobuf.encode(Inner(number=1, text="a"))
    # field 3 varint, field 4 fixed64, field 5 bytes, field 6 fixed32
    unknown = bytes.fromhex("18 05 21 0000000000000000 2a 02 ffff 35 00000000")
    assert protobuf.decode(unknown + known, Inner) == Inner(number=1, text="a")


def test_the_last_of_a_field_counts() -> None:
    assert protobuf.decode(bytes.fromhex("08 01 08 02"), Inner) == Inner(number=2)


def test_a_value_of_a_newer_enum_is_the_first_one() -> None:
    assert protobuf.decode(bytes.fromhex("28 63"), Outer).status is messages.Status.UNKNOWN


@pytest.mark.parametrize(
    "data", ["08", "12 07 74", "0f", "00 01", "12 02 ff ff", "0a 01 61", "10 01", "08" + "ff" * 11]
)
def test_what_is_no_message(data: str) -> None:
    with pytest.raises(errors.PeerError, match="Inner"):
        protobuf.decode(bytes.fromhex(data), Inner)


@given(st.binary())
def test_nothing_else_is_raised(data: bytes) -> None:
    try:
        protobuf.decode(data, Outer)
    except errors.PeerError:
        pass
