"""When a Machine with a schedule is due."""

from __future__ import annotations

import datetime

import pytest

from pilot.host.fly import schedule


def _us(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("word", "last", "due"),
    [
        ("hourly", "2026-03-01T10:20:30.5+00:00", "2026-03-01T11:20:30.5+00:00"),
        ("daily", "2026-02-28T23:00:00+00:00", "2026-03-01T23:00:00+00:00"),
        ("weekly", "2026-12-30T00:00:00+00:00", "2027-01-06T00:00:00+00:00"),
        ("monthly", "2026-03-15T01:02:03+00:00", "2026-04-15T01:02:03+00:00"),
        ("monthly", "2027-12-31T00:00:00+00:00", "2028-01-31T00:00:00+00:00"),
        ("monthly", "2028-01-31T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_so_long_after_its_last_start(word: str, last: str, due: str) -> None:
    assert schedule.due_us(word, _us(last)) == _us(due)
