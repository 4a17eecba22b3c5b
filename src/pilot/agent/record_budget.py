"""How much recorded output a machine keeps: one bound for all sessions together, set aside from what its world may use.

Recorded bytes are memory that the agent's cgroup is charged for. The world's own limit is smaller by `most_bytes`
(`world_limits`), so what sessions write is paid for by the world, and the agent's reserve is never touched by it.

    unattended    the streams that keep most give up their oldest bytes first: n chatty ones end with an n-th each
    attached      nothing that a client has not read is given up; instead it may be `window_bytes` behind, and then the
                  process waits. The more clients there are, the less each: together they hold at most half.
"""

from __future__ import annotations

from typing import Protocol

MOST_BYTES = 96 << 20
_SHARE = 16
_LEAST_WINDOW, _MOST_WINDOW = 16 << 10, 8 << 20
_LEAST_STEP, _MOST_STEP = 64 << 10, 4 << 20
_DEFAULT_MEMORY = 2 << 30


def most_bytes(memory_bytes: int | None) -> int:
    """What all records of a machine with so much memory may ever take."""
    return min(MOST_BYTES, (_DEFAULT_MEMORY if memory_bytes is None else memory_bytes) // _SHARE)


class Kept(Protocol):
    """Something that keeps recorded bytes."""

    @property
    def kept_bytes(self) -> int: ...
    @property
    def spare_bytes(self) -> int:
        """Of these, what nobody who is connected has yet to read."""

    @property
    def share_bytes(self) -> int:
        """What is spare per session: who has most gives up first."""

    def give_up(self, wanted_bytes: int) -> None:
        """Forget about so many of the spare ones, the oldest first."""


class RecordBudget:
    """One per machine."""

    def __init__(self, most: int) -> None:
        self.limit_bytes = _limit(most)
        self._members: set[Kept] = set()
        self._attached = 0
        self.kept_bytes = 0

    def resize(self, most: int) -> None:
        """The machine has another size; what is too much by now is given up."""
        self.limit_bytes = _limit(most)
        self.settle()

    def join(self, member: Kept) -> None:
        self._members.add(member)
        self.kept_bytes += member.kept_bytes

    def leave(self, member: Kept) -> None:
        if member in self._members:
            self._members.discard(member)
            self.kept_bytes -= member.kept_bytes

    def changed(self, bytes: int) -> None:
        """A member keeps so many more (or fewer)."""
        self.kept_bytes += bytes

    def attached(self, change: int) -> None:
        """So many more streams (or fewer) have a client."""
        self._attached += change

    @property
    def window_bytes(self) -> int:
        """How far a client may be behind before the process has to wait for it."""
        return max(_LEAST_WINDOW, min(_MOST_WINDOW, self.limit_bytes // 2 // max(1, self._attached)))

    def settle(self) -> None:
        """Give up what is too much."""
        step = max(_LEAST_STEP, min(_MOST_STEP, self.limit_bytes // 64))
        while (excess := self.kept_bytes - self.limit_bytes) > 0:
            spares = [member for member in self._members if member.spare_bytes > 0]
            if not spares:
                return  # all of it is on its way to somebody, and bounded by the windows
            largest = max(spares, key=lambda member: member.share_bytes)
            spare = largest.spare_bytes
            largest.give_up(min(spare, max(excess, step)))


def _limit(most: int) -> int:
    """A client that attaches to all of it, and the windows of all the others: one and a half times the limit."""
    return most * 2 // 3
