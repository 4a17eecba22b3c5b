"""What was asked of whom with a secret, which is never said: counted, and written down a line of JSON each (`lines`),
before the machine has the answer.

{"at": …, "connector": …, "host": …, "method": …, "path": …, "outcome": "answered", "status": 200}
"""

from __future__ import annotations

import collections
import enum

import msgspec

from .... import errors
from .. import lines

MOST_PATH = 200


class Outcome(enum.Enum):
    """What became of a request, or of a connection. What goes wrong after an answer has begun has a line of its own."""

    ANSWERED = "answered"
    REFUSED = "refused"  # by us, before anything was sent
    UNREACHED = "unreached"  # nobody was there, or who was there is not who was asked for
    BROKEN = "broken"  # an answer had begun, or never did
    ECHOED = "echoed"  # the answer said the secret, and was cut off
    LIMITED = "limited"


class Use(msgspec.Struct, frozen=True, omit_defaults=True):
    """`path` without its query, which may say more than anybody wants to keep."""

    at: str
    connector: str
    host: str
    outcome: str
    method: str = ""
    path: str = ""
    status: int = 0
    why: str = ""


def read_use(line: bytes) -> Use | None:
    """None for what a power loss has left of one."""
    try:
        return msgspec.json.decode(line, type=Use)
    except errors.UNREADABLE:
        return None


class Uses:
    """Owns its file. What cannot be written is counted all the same."""

    def __init__(self, path: str) -> None:
        self._lines = lines.Lines(path)
        self.counts: collections.Counter[str] = collections.Counter()

    def close(self) -> None:
        """Idempotent."""
        self._lines.close()

    def add(
        self,
        outcome: Outcome,
        connector: str,
        host: str,
        request: tuple[bytes, bytes] | None = None,
        *,
        status: int = 0,
        why: str = "",
    ) -> None:
        """One, now; `request`: its method and its target."""
        self.counts[outcome.value] += 1
        method, target = request or (b"", b"")
        path = target.partition(b"?")[0].decode("latin-1")[:MOST_PATH]
        use = Use(lines.now(), connector, host, outcome.value, method.decode("latin-1"), path, status, why)
        try:
            self._lines.add(use)
        except OSError:
            self.counts["unwritten"] += 1  # a full disk must not stop the answers

    def count(self, outcome: Outcome) -> None:
        """One that is not written down: there may be very many."""
        self.counts[outcome.value] += 1
