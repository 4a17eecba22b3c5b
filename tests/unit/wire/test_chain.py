"""A log in which any change is found: whatever is flipped, taken away, moved or cut, and the record that is named."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.wire import chain
from pilot.wire.chain import Broken, Head, Link

SUBJECT, KEY = "sprites/0123", b"key"


def sign(document: bytes) -> bytes:
    return hmac.new(KEY, document, hashlib.sha512).digest()


def check(document: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(sign(document), signature)


def written(count: int, subject: str = SUBJECT, begin: int = 0) -> list[bytes]:
    """A log of so many records; those before `begin` were dropped."""
    lines, link = [], chain.genesis(subject)
    before = link
    for number in range(count):
        line, link = chain.append(link, b'{"at":"now","what":"%d"}' % number)
        if number < begin:
            before = link
        else:
            lines.append(line)
    return [*lines, chain.head_line(Head(subject, link, before, "now"), sign)]


LOG = written(6)
WHOLE = b"".join(LOG)


def verify(data: bytes, since: int | None = None) -> chain.Verdict:
    return chain.verify(data.splitlines(keepends=True), check, since)


def test_a_log_as_it_was_written_is_whole() -> None:
    verdict = verify(WHOLE)
    assert (verdict.first, verdict.records, verdict.head.last.seq, verdict.head.subject) == (1, 6, 6, SUBJECT)
    assert verify(b"".join(written(6, begin=3))).first == 4
    assert verify(b"".join(written(0))).records == 0


@given(st.integers(0, len(WHOLE) * 8 - 1))
def test_any_bit_that_is_flipped_is_found(bit: int) -> None:
    """And which record it is of, when it is of one."""
    changed = bytearray(WHOLE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Broken) as told:
        verify(bytes(changed))
    place = WHOLE[: bit // 8].count(b"\n")
    if place < 6:
        assert told.value.seq == place + 1


@given(st.sets(st.integers(0, 6), min_size=1))
def test_any_record_that_is_taken_away_is_found(taken: set[int]) -> None:
    with pytest.raises(Broken) as told:
        verify(b"".join(line for place, line in enumerate(LOG) if place not in taken))
    if 6 not in taken:
        assert told.value.seq == min(taken) + 1


@given(st.permutations(range(7)).filter(lambda order: list(order) != list(range(7))))
def test_any_other_order_is_found(order: list[int]) -> None:
    with pytest.raises(Broken):
        verify(b"".join(LOG[place] for place in order))


@given(st.integers(0, len(WHOLE) - 1))
def test_any_end_that_is_cut_is_found(length: int) -> None:
    with pytest.raises(Broken):
        verify(WHOLE[:length])


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_record_that_is_put_in_is_found(place: int, which: int) -> None:
    with pytest.raises(Broken):
        verify(b"".join([*LOG[:place], LOG[which], *LOG[place:]]))


def test_who_knows_no_key_writes_no_other_log() -> None:
    forged = [chain.append(Link(0, chain.genesis(SUBJECT).hash), b'{"at":"now","what":"other"}')[0], LOG[-1]]
    with pytest.raises(Broken, match="record 2: it is missing"):
        verify(b"".join(forged))
    others = written(6, "sprites/4567")
    with pytest.raises(Broken):
        verify(b"".join([*others[:-1], LOG[-1]]))
    with pytest.raises(Broken, match="not signed by this key"):
        chain.verify(LOG, lambda _document, _signature: False)


def test_what_was_asked_for_from_a_record_on() -> None:
    verdict = verify(b"".join(LOG[2:]), since=2)
    assert (verdict.first, verdict.records) == (3, 4)
    assert verify(LOG[-1], since=6).records == 0
    assert verify(LOG[-1], since=100).records == 0
    with pytest.raises(Broken, match="record 3: it is missing"):
        verify(b"".join(LOG[3:]), since=2)
    with pytest.raises(Broken, match="record 6: it is missing"):
        verify(LOG[-1], since=5)
    with pytest.raises(Broken, match="record 1"):
        verify(b"".join(LOG[1:]), since=0)


def test_what_a_log_says_that_it_lacks() -> None:
    link = chain.genesis(SUBJECT)
    lines = []
    for fields in (
        b'{"at":"now","kind":"log","what":"opened","detail":{"was_closed":false,"cut_bytes":7}}',
        b'{"at":"now","kind":"log","what":"lost","detail":{"count":3,"why":"no space left on device"}}',
    ):
        line, link = chain.append(link, fields)
        lines.append(line)
    head = chain.head_line(Head(SUBJECT, link, chain.genesis(SUBJECT), "now"), sign)
    closed, cut, lost = verify(b"".join([*lines, head])).lacks
    assert "not closed before record 1" in closed
    assert cut.startswith("7 bytes")
    assert lost == "3 records were not written before record 2: no space left on device"
