"""When a Machine with a `schedule` is started again: that long after its last start, by the calendar where it is of
months. Pure; all times are microseconds since 1970, UTC.
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Mapping

_HOUR_US = 3_600_000_000
_PERIODS_US: Mapping[str, int] = {"hourly": _HOUR_US, "daily": 24 * _HOUR_US, "weekly": 7 * 24 * _HOUR_US}
_MONTHLY = "monthly"


def due_us(schedule: str, last_us: int) -> int:
    """For one of the config's words, and who began then."""
    return _next_month_us(last_us) if schedule == _MONTHLY else last_us + _PERIODS_US[schedule]


def _next_month_us(last_us: int) -> int:
    """The same day and hour of the next month, or its last day where it is shorter."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    last = epoch + datetime.timedelta(microseconds=last_us)
    year, month = (last.year + 1, 1) if last.month == 12 else (last.year, last.month + 1)
    day = min(last.day, calendar.monthrange(year, month)[1])
    return (last.replace(year=year, month=month, day=day) - epoch) // datetime.timedelta(microseconds=1)
