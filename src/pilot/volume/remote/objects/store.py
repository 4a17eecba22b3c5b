"""The seam to an object store: what the rest needs of one, and its errors sorted by what to do about them.

    errors.NotFound     the object is gone: look at HEAD again
    errors.Conflict     it exists already, or has changed since it was read: somebody else writes
    errors.PeerError    the store did not answer, or not well: try again (an operation may have happened all the same)
    other PilotErrors   nothing that trying again would help: no permission, a bad URL

`opening.open_store` makes one of a URL. Stores may be used by many threads.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from .... import errors

T = TypeVar("T")
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0


class Object(NamedTuple):
    """An object's content; `version` is for `swap`."""

    data: bytes
    version: str


class Entry(NamedTuple):
    """One object of a listing; `modified` in seconds since 1970, by the store's clock."""

    key: str
    size: int
    modified: float


class Store(Protocol):
    """An object store. Keys are relative paths of safe characters (`names`)."""

    url: str

    def get(self, key: str) -> Object: ...
    def get_range(self, key: str, start: int, length: int) -> bytes: ...
    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        """The first bytes, at most `length`, and the size of the whole object."""

    def put(self, key: str, data: bytes) -> None:
        """Store it, whatever was there."""

    def create(self, key: str, data: bytes) -> str:
        """Store it where nothing was; its version. Conflict."""

    def swap(self, key: str, data: bytes, version: str) -> str:
        """Replace exactly that version; the new one. Conflict, NotFound."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects below a prefix that ends in '/'."""

    def delete(self, key: str) -> None:
        """Remove it; nothing happens when it is not there."""


def retry(what: Callable[[], T], deadline_s: float, stop: threading.Event | None = None) -> T:
    """Call until it does not raise PeerError, with growing pauses, for `deadline_s` seconds; then its last PeerError.

    Only for what may be repeated. `stop` ends the pauses early.
    """
    end, pause_s = time.monotonic() + deadline_s, _FIRST_PAUSE_S
    while True:
        try:
            return what()
        except errors.PeerError:
            if time.monotonic() + pause_s > end:
                raise
            wait_s = pause_s * random.uniform(0.5, 1.0)
            if stop is None:
                time.sleep(wait_s)
            elif stop.wait(wait_s):
                raise
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
