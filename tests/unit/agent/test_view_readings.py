"""Who reads a text in pieces reads one text, whoever else reads the same file meanwhile."""

from __future__ import annotations

import itertools

from pilot.agent.view import readings
from pilot.agent.view.readings import Readings


def _numbered(size: int) -> Readings:
    """Each text is of another letter, and a byte longer than the one before."""
    numbers = itertools.count()

    def text(_: str) -> str:
        number = next(numbers)
        return chr(ord("a") + number % 26) * (size + number)

    return Readings(text)


def test_the_rest_is_of_the_text_that_was_begun() -> None:
    under_test = _numbered(100)
    one, other = under_test.open(), under_test.open()
    assert under_test.read(one, "stat", 0, 60) == b"a" * 60
    assert under_test.read(other, "stat", 0, 60) == b"b" * 60
    assert under_test.read(one, "stat", 60, 60) == b"a" * 40
    assert under_test.read(one, "stat", 100, 60) == b"", "also where a newer text goes on"
    assert under_test.read(other, "stat", 60, 60) == b"b" * 41


def test_from_the_start_it_is_a_new_text() -> None:
    under_test = _numbered(100)
    handle = under_test.open()
    assert under_test.read(handle, "stat", 0, 10) == b"a" * 10
    assert under_test.read(handle, "stat", 0, 10) == b"b" * 10
    under_test.close(handle)
    assert under_test.read(handle, "stat", 10, 10) == b"c" * 10, "nothing is kept of what was closed"


def test_handles_of_two_agents_differ() -> None:
    assert _numbered(1).open() != _numbered(1).open()


def test_what_is_kept_for_readers_is_bounded() -> None:
    size = readings.MOST_BYTES // 10
    under_test = _numbered(size)
    handles = [under_test.open() for _ in range(30)]
    begun = [under_test.read(handle, "cpuinfo", 0, 1) for handle in handles]
    pairs = zip(handles, begun, strict=True)
    assert sum(under_test.read(handle, "cpuinfo", 1, 1) == first for handle, first in pairs) < 10
    handle = under_test.open()
    first = under_test.read(handle, "cpuinfo", 0, 1)
    assert under_test.read(handle, "cpuinfo", 1, 1) == first, "the last one that was read is there"
