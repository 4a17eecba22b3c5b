"""Logs put into the object store beside the disks: whoever takes this host away has what was shipped against them.

    <store>/audit/<subject>/<file>, …/head      as on disk: plain, each object whole; the latest file again as it grows

A store that does not answer is asked again the next time; nobody waits for it. What has gone here stays there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator

from ... import errors
from ...volume.remote.objects import opening
from ...volume.remote.objects.store import Store
from .. import periodic

PERIOD_S = 60.0
PREFIX = "audit/"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _State:
    """Of a file, as it was when it was shipped."""

    inode: int
    size: int
    modified_ns: int


class Shipping:
    """Of one thread."""

    def __init__(self, directory: str, store: Store) -> None:
        self._directory = directory
        self._store = store
        self._shipped: dict[str, _State] = {}

    def ship(self) -> int:
        """What has changed since the last time; how many objects that was. A head goes after the records that it knows
        of, so that what is in the store is never less than its head says."""
        count = 0
        there: set[str] = set()
        for path in _files(self._directory):
            there.add(path)
            with contextlib.suppress(FileNotFoundError):  # dropped meanwhile
                found = os.stat(path)
                state = _State(found.st_ino, found.st_size, found.st_mtime_ns)
                if self._shipped.get(path) != state:
                    with open(path, "rb") as file:
                        self._store.put(PREFIX + os.path.relpath(path, self._directory), file.read())
                    self._shipped[path] = state
                    count += 1
        for path in self._shipped.keys() - there:
            del self._shipped[path]
        return count


def _files(directory: str) -> Iterator[str]:
    """Of each log its files in order, then its head; the head as it was before them would be older, and no harm."""
    for parent, _, names in os.walk(directory):
        yield from (os.path.join(parent, name) for name in sorted(names) if name.endswith(".ndjson"))
        if "head" in names:
            yield os.path.join(parent, "head")


@contextlib.contextmanager
def watching(directory: str, url: str) -> Iterator[None]:
    """Ship now and then for as long as the block lasts, and once at its end. A store that cannot be opened is told."""
    found: list[Shipping] = []

    def ship() -> None:
        try:
            if not found:
                found.append(Shipping(directory, opening.open_store(url)))
            found[0].ship()
        except (errors.PilotError, OSError) as error:
            log.warning("audit: logs not shipped", extra={"error": str(error)})

    with periodic.every(PERIOD_S, "audit-shipping", ship):
        yield
    ship()
