"""Numbers of JSON are what their value is."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from pilot import errors
from pilot.wire import bodies


class Inner(msgspec.Struct):
    size: int | None = None
    share: float = 0.5


class Outer(msgspec.Struct):
    inner: Inner
    at: datetime.datetime | None = None
    names: list[str] = []
    source: str | None = msgspec.field(default=None, name="from")


@pytest.mark.parametrize("written", ["512", "512.0", "5.12e2", "51200e-2"])
def test_an_integer_is_one_however_it_is_written(written: str) -> None:
    text = f'{{"inner": {{"size": {written}}}, "at": "2026-01-01T00:00:00Z", "names": ["a"], "from": "b"}}'
    found = bodies.decode(text.encode(), Outer)
    assert (found.inner.size, type(found.inner.size)) == (512, int)
    assert (found.names, found.source) == (["a"], "b")
    assert found.at == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_a_number_that_need_not_be_whole_may_be() -> None:
    assert bodies.decode(b'{"inner": {"size": 1.0, "share": 2}}', Outer).inner.share == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"inner": {"size": 0.5}}', "$.inner.size"),
        (b'{"inner": {"size": "512"}}', "$.inner.size"),
        (b'{"inner": {"size": true}}', "$.inner.size"),
        (b"", "inner"),
        (b'{"inner": ' + b"[" * 20_000, ""),
        (b'{"inner": {"size": ' + b"[" * 5000 + b"]" * 5000 + b"}}", ""),
        (b"\xff", ""),
    ],
    ids=["fraction", "text", "bool", "empty", "deep", "deep and whole", "not UTF-8"],
)
def test_what_does_not_fit_is_told_with_its_place(text: bytes, told: str) -> None:
    with pytest.raises(errors.UNREADABLE) as refused:
        bodies.decode(text, Outer)
    assert told in str(refused.value)
