"""Lines of JSON of one machine in a file that never has more than 2 MiB.

<path>      the latest
<path>.1    what was before
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import os

import msgspec

from ...kernel import files

MOST_BYTES = 1 << 20


def now() -> str:
    """As lines say when they are of."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def paths(path: str) -> tuple[str, str]:
    """The latest, and what was before."""
    return path, path + ".1"


def read(path: str) -> list[bytes]:
    """All there are, oldest first: whole ones, of a file that is written meanwhile, too."""
    lines: list[bytes] = []
    for each in reversed(paths(path)):
        with contextlib.suppress(FileNotFoundError), open(each, "rb") as file:  # there is none, or it was just renamed
            data = file.read()
            lines += data[: data.rfind(b"\n") + 1].splitlines()
    return lines


class Lines:
    """Owns its file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._size = 0

    def close(self) -> None:
        """Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def add(self, line: msgspec.Struct) -> None:
        """`OSError` when it cannot be written: then nothing of it is there."""
        data = msgspec.json.encode(line) + b"\n"
        if self._fd is None:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size
        try:
            files.write_all(self._fd, data)
        except OSError:
            os.ftruncate(self._fd, self._size)  # the beginning of a line that has no end
            raise
        self._size += len(data)
        if self._size >= MOST_BYTES:
            self.close()
            os.rename(*paths(self._path))


class Counted:
    """Outcomes: counted, and written down. Owns its file. What cannot be written is counted all the same."""

    def __init__(self, path: str) -> None:
        self._lines = Lines(path)
        self.counts: collections.Counter[str] = collections.Counter()

    def close(self) -> None:
        """Idempotent."""
        self._lines.close()

    def count(self, outcome: enum.Enum) -> None:
        """One that is not written down: there may be very many."""
        self.counts[outcome.value] += 1

    def write(self, outcome: enum.Enum, line: msgspec.Struct) -> None:
        """One that is."""
        self.count(outcome)
        try:
            self._lines.add(line)
        except OSError:
            self.counts["unwritten"] += 1  # a full disk must not stop the answers
