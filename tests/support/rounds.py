"""A store whose requests wait until the test lets them through, so that a test sees which of them are under way at the
same time: round trips are counted, and no clock is asked.

    run(what)            in a thread of its own
    trip("get HEAD", …)  exactly these requests are waiting, or will be soon: all of them go through
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TypeVar

from pilot.volume.remote.objects.store import Entry, Object, Store

T = TypeVar("T")
_TIMEOUT_S = 30


@dataclasses.dataclass
class Rounds:
    """A `store.Store` before another one. A request is called "<operation> <kind>", where kind is HEAD, map, seg or
    name; requests are held only while `run` runs."""

    inner: Store
    url: str = "memory://store"
    waiting: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    allowed: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    under_way: int = 0
    holding: bool = False
    changed: threading.Condition = dataclasses.field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def run(self, what: Callable[[], T]) -> Iterator[futures.Future[T]]:
        """Its result; afterwards nothing is held any more."""
        self.holding = True
        with futures.ThreadPoolExecutor(1, "run") as pool:
            try:
                yield pool.submit(what)
            finally:
                with self.changed:
                    self.holding = False
                    self.changed.notify_all()

    def trip(self, *names: str, of: Callable[[], object] = lambda: None) -> None:
        """One round trip of exactly these requests; `of` happens while they wait."""
        wanted = collections.Counter(names)
        with self.changed:
            self.changed.wait_for(lambda: self.waiting.total() >= wanted.total(), _TIMEOUT_S)
            assert self.waiting == wanted
            of()
            self.allowed += wanted
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: not self.allowed and not self.under_way, _TIMEOUT_S)

    @contextlib.contextmanager
    def _held(self, operation: str, key: str) -> Iterator[None]:
        name = f"{operation} {_kind(key)}"
        with self.changed:
            if self.holding:
                self.waiting[name] += 1
                self.changed.notify_all()
                self.changed.wait_for(lambda: self.allowed[name] > 0 or not self.holding, _TIMEOUT_S)
                self.waiting -= collections.Counter([name])
                self.allowed -= collections.Counter([name])
            self.under_way += 1
        try:
            yield
        finally:
            with self.changed:
                self.under_way -= 1
                self.changed.notify_all()

    def get(self, key: str) -> Object:
        with self._held("get", key):
            return self.inner.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._held("get", key):
            return self.inner.get_range(key, start, length)

    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        with self._held("get", key):
            return self.inner.get_start(key, length)

    def put(self, key: str, data: bytes) -> None:
        with self._held("put", key):
            self.inner.put(key, data)

    def create(self, key: str, data: bytes) -> str:
        with self._held("put", key):
            return self.inner.create(key, data)

    def swap(self, key: str, data: bytes, version: str) -> str:
        with self._held("swap", key):
            return self.inner.swap(key, data, version)

    def list(self, prefix: str) -> Iterator[Entry]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        with self._held("delete", key):
            self.inner.delete(key)


def _kind(key: str) -> str:
    return "HEAD" if key.endswith("HEAD.json") else key.split("/")[-2]
