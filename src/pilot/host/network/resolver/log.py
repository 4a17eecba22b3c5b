"""Decisions of one machine's policy: counted, and written down a line of JSON each (`lines`).

{"at": …, "name": …, "type": …, "decision": "allow", "rule": …, "addresses": […]}
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from .. import lines
from ..addresses import Address


class Outcome(enum.Enum):
    """What became of a question."""

    ALLOW = "allow"
    DENY = "deny"
    HIDDEN = "hidden"  # it led to where nobody may go
    UNANSWERED = "unanswered"
    LIMITED = "limited"


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    at: str
    name: str
    type: str
    decision: str
    rule: str | None = None
    addresses: tuple[str, ...] = ()


class Log(lines.Counted):
    """Of one machine."""

    def add(
        self, outcome: Outcome, name: str, type_text: str, rule: str | None = None, addresses: Sequence[Address] = ()
    ) -> None:
        """One decision, now."""
        self.write(outcome, Line(lines.now(), name, type_text, outcome.value, rule, tuple(map(str, addresses))))
