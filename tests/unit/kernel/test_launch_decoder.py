"""The decoder of native/launch under mutated Programs: it refuses or accepts, it never reads or writes out of bounds.

A crash ends the test run. native/README.md says how to build the same module with sanitizers, which see more.
"""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.test_program_text import EVERY

from pilot.kernel import _launch
from pilot.plan.program import Program

ENCODED = Program(EVERY).encode()
COUNT = struct.unpack_from("<I", ENCODED, 8)[0]


def is_accepted(encoded: bytes) -> bool:
    try:
        _launch.validate(encoded)
    except ValueError:
        return False
    return True


def test_original_is_accepted() -> None:
    assert is_accepted(ENCODED)


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    assert not is_accepted(data)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_changed_words(data: st.DataObject) -> None:
    encoded = bytearray(ENCODED)
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.integers(0, len(encoded) // 4 - 1)) * 4
        word = data.draw(
            st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8]) | st.integers(0, 2**32 - 1)
        )
        struct.pack_into("<I", encoded, offset, word)
    is_accepted(bytes(encoded))


def test_random_bytes_changed() -> None:
    generator = random.Random(20261122)
    refused = 0
    for _ in range(5000):
        encoded = bytearray(ENCODED)
        for _ in range(generator.randint(1, 8)):
            encoded[generator.randrange(32 + 120 * COUNT)] = generator.randrange(256)
        refused += not is_accepted(bytes(encoded))
    assert refused > 1000


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 151, 152, len(ENCODED) - 1])
def test_cut_short(size: int) -> None:
    assert not is_accepted(ENCODED[:size])


@pytest.mark.parametrize(
    ("offset", "word", "problem"),
    [
        (0, 0, "not a program"),
        (4, len(ENCODED) + 1, "size does not match"),
        (8, 1_000_000, "too many"),
        (8, COUNT + 1, "data offset"),
        (12, 1100, "too many"),
        (24, 0x7FFF, "cgroup slot"),
        (32, 63, "unknown instruction"),
        (32 + 8, 9, "unknown argument"),
    ],
)
def test_each_bound(offset: int, word: int, problem: str) -> None:
    encoded = bytearray(ENCODED)
    struct.pack_into("<I", encoded, offset, word)
    with pytest.raises(ValueError, match=problem):
        _launch.validate(bytes(encoded))
