"""Decisions of one machine's policy: counted, and written down a line of JSON each (`lines`).

{"at": …, "name": …, "type": …, "decision": "allow", "rule": …, "addresses": […]}
"""

from __future__ import annotations

import collections
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


class Log:
    """Owns its file. What cannot be written is counted all the same."""

    def __init__(self, path: str) -> None:
        self._lines = lines.Lines(path)
        self.counts: collections.Counter[str] = collections.Counter()

    def close(self) -> None:
        """Idempotent."""
        self._lines.close()

    def add(
        self, outcome: Outcome, name: str, type_text: str, rule: str | None = None, addresses: Sequence[Address] = ()
    ) -> None:
        """One decision, now."""
        self.counts[outcome.value] += 1
        try:
            self._lines.add(Line(lines.now(), name, type_text, outcome.value, rule, tuple(map(str, addresses))))
        except OSError:
            self.counts["unwritten"] += 1  # a full disk must not stop the answers

    def count(self, outcome: Outcome) -> None:
        """One that is not written down: there may be very many."""
        self.counts[outcome.value] += 1
