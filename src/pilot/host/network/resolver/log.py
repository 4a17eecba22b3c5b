"""Decisions of one machine's policy: counted, and written down a line of JSON each. The file never has more than 2 MiB.

<log>      the latest        {"at": …, "name": …, "type": …, "decision": "allow", "rule": …, "addresses": […]}
<log>.1    what was before
"""

from __future__ import annotations

import collections
import datetime
import enum
import os
from collections.abc import Sequence

import msgspec

from ..addresses import Address

MOST_BYTES = 1 << 20


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
        self._path = path
        self._fd: int | None = None
        self._size = 0
        self.counts: collections.Counter[str] = collections.Counter()

    def close(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def add(
        self, outcome: Outcome, name: str, type_text: str, rule: str | None = None, addresses: Sequence[Address] = ()
    ) -> None:
        """One decision, now."""
        self.counts[outcome.value] += 1
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = Line(at, name, type_text, outcome.value, rule, tuple(map(str, addresses)))
        try:
            self._write(msgspec.json.encode(line) + b"\n")
        except OSError:
            self.counts["unwritten"] += 1  # a full disk must not stop the answers

    def count(self, outcome: Outcome) -> None:
        """One that is not written down: there may be very many."""
        self.counts[outcome.value] += 1

    def _write(self, line: bytes) -> None:
        if self._fd is None:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size
        self._size += os.write(self._fd, line)
        if self._size >= MOST_BYTES:
            self.close()
            os.rename(self._path, self._path + ".1")
