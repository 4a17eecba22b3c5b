"""Times as the API tells them."""

from __future__ import annotations

import datetime


def timestamp(unix_s: float) -> str:
    """RFC 3339 with six digits and Z: the one form that all clients parse."""
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
