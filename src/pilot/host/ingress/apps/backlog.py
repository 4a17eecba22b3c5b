"""Datagrams that wait in pilotd's memory: so many, so many bytes, and of one app so many bytes together.

Who sends more than a Machine takes, from however many addresses, loses what finds no room, and takes others none.
"""

from __future__ import annotations

from collections import Counter, deque

MOST_OF_APP = 8 << 20


class Waiting:
    """Bytes that wait, of each app. For one event loop."""

    def __init__(self) -> None:
        self._of_app: Counter[str] = Counter()

    def bytes_of(self, app: str) -> int:
        return self._of_app[app]

    def has_room(self, app: str, size_bytes: int) -> bool:
        return self._of_app[app] + size_bytes <= MOST_OF_APP

    def add(self, app: str, size_bytes: int) -> None:
        """Less than none: they wait no more."""
        self._of_app[app] += size_bytes
        if not self._of_app[app]:
            del self._of_app[app]


class Backlog:
    """The first one first. Whoever has it empties it by `clear`, or what waited in it counts for ever."""

    def __init__(self, waiting: Waiting, app: str, *, most: int, most_bytes: int) -> None:
        self._waiting = waiting
        self._app = app
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._data: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> bool:
        """False when it finds no room, and is lost."""
        if len(self._data) >= self._most or self._bytes + len(data) > self._most_bytes:
            return False
        if not self._waiting.has_room(self._app, len(data)):
            return False
        self._data.append(data)
        self._count(len(data))
        return True

    def first(self) -> bytes:
        """It waits still. `IndexError` when none does."""
        return self._data[0]

    def drop(self) -> bytes:
        """The first one waits no more. `IndexError`."""
        data = self._data.popleft()
        self._count(-len(data))
        return data

    def clear(self) -> None:
        while self._data:
            self.drop()

    def _count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        self._waiting.add(self._app, size_bytes)
