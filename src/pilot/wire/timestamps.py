"""Times as APIs tell them: RFC 3339 with six digits and Z.

The one form that all clients parse: sprites-py on Python 3.10 takes no other number of digits.
"""

from __future__ import annotations

import datetime
import time

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def of_us(us: int) -> str:
    """Of microseconds since 1970. OverflowError outside of the years 1 to 9999, where the format ends."""
    moment = _EPOCH + datetime.timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def of_s(unix_s: float) -> str:
    """Of seconds since 1970."""
    return of_us(round(unix_s * 1e6))


def now() -> str:
    return of_us(time.time_ns() // 1000)
