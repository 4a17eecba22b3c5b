"""What was asked of whom with a secret, which is never said: counted, and written down a line of JSON each (`lines`),
before the machine has the answer.

{"at": …, "connector": …, "host": …, "method": …, "path": …, "outcome": "answered", "status": 200}
"""

from __future__ import annotations

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


class Uses(lines.Counted):
    """Of one machine."""

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
        method, target = request or (b"", b"")
        path = target.partition(b"?")[0].decode("latin-1")[:MOST_PATH]
        said = method.decode("latin-1")
        self.write(outcome, Use(lines.now(), connector, host, outcome.value, said, path, status, why))
