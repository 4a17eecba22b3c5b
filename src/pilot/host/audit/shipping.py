"""Logs put into the object store beside the disks: whoever takes this host away has what was shipped against them.

    <store>/audit/<place>/<subject>/<file>, …/head    as on disk: plain, each object whole; the latest again as it grows
    <state-dir>/audit/place                           what its place is called; made with the first log

A store that does not answer is asked again the next time; nobody waits for it. What has gone here stays there: a pilotd
whose logs begin anew, on another host or restored of a backup, has another place, and does not write over them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from ... import errors
from ...kernel import files
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
        self._prefix = f"{PREFIX}{_place(directory)}/"
        self._shipped: dict[str, _State] = {}

    def ship(self) -> int:
        """What has changed since the last time; how many objects that was."""
        there: set[str] = set()
        count = sum(self._ship_log(directory, there) for directory, _, _ in os.walk(self._directory))
        for path in self._shipped.keys() - there:
            del self._shipped[path]
        return count

    def _ship_log(self, directory: str, there: set[str]) -> int:
        """Its files in order, then its head as it was before: what is in the store is never less than its head says."""
        head = os.path.join(directory, "head")
        with _opened(head) as before:
            names = sorted(name for name in _listed(directory) if name.endswith(".ndjson"))
            count = sum(self._ship_file(os.path.join(directory, name), there) for name in names)
            return count + self._ship_as(head, before, there)

    def _ship_file(self, path: str, there: set[str]) -> int:
        with _opened(path) as file:
            return self._ship_as(path, file, there)

    def _ship_as(self, path: str, file: BinaryIO | None, there: set[str]) -> int:
        """How many objects that was. None: it is not there, or not any more."""
        if file is None:
            return 0
        there.add(path)
        found = os.fstat(file.fileno())
        state = _State(found.st_ino, found.st_size, found.st_mtime_ns)
        if self._shipped.get(path) == state:
            return 0
        self._store.put(self._prefix + os.path.relpath(path, self._directory), file.read())
        self._shipped[path] = state
        return 1


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO | None]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(open(path, "rb"))
        except FileNotFoundError:
            found = None
        yield found


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:  # forgotten meanwhile
        return []


def _place(directory: str) -> str:
    path = os.path.join(directory, "place")
    with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        return file.read()
    os.makedirs(directory, mode=0o700, exist_ok=True)
    files.replace(path, secrets.token_hex(8).encode(), durable=True)
    return _place(directory)


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
