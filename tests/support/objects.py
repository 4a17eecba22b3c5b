"""An object store in memory, and processes on it whose every request waits for its turn, so that a test chooses the
interleaving, and where each is killed."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator

from pilot import errors
from pilot.volume.remote.log import codec
from pilot.volume.remote.objects.store import Entry, Object

_TIMEOUT_S = 60


class Killed(BaseException):
    """The process died in this request; not an Exception, because nobody may catch it."""


class MemoryStore:
    """A `store.Store`; `clock` stamps what is stored. A `Process` waits before each request, and after each change."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.url = "memory://"
        self.objects: dict[str, tuple[bytes, float]] = {}
        self._clock = clock
        self._writes = 0
        self._versions: dict[str, str] = {}

    def get(self, key: str) -> Object:
        self._turn()
        data = self._data(key)
        return Object(data, self._versions[key])

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._turn()
        return self._data(key)[start : start + length]

    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        self._turn()
        data = self._data(key)
        return data[:length], len(data)

    def put(self, key: str, data: bytes) -> None:
        self._turn()
        self._put(key, data)
        self._turn()

    def create(self, key: str, data: bytes) -> str:
        self._turn()
        if key in self.objects:
            raise errors.Conflict(f"create {key}: exists already")
        version = self._put(key, data)
        self._turn()
        return version

    def swap(self, key: str, data: bytes, version: str) -> str:
        self._turn()
        self._data(key)
        if self._versions[key] != version:
            raise errors.Conflict(f"swap {key}: it has changed")
        version = self._put(key, data)
        self._turn()
        return version

    def list(self, prefix: str) -> Iterator[Entry]:
        self._turn()
        for key, (data, modified) in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield Entry(key, len(data), modified)

    def delete(self, key: str) -> None:
        self._turn()
        self.objects.pop(key, None)
        self._turn()

    def _data(self, key: str) -> bytes:
        if key not in self.objects:
            raise errors.NotFound(f"get {key}: not found")
        return self.objects[key][0]

    def _put(self, key: str, data: bytes) -> str:
        self._writes += 1
        self.objects[key] = (bytes(data), self._clock())
        self._versions[key] = f"{self._writes}-{codec.digest(data).hex()}"
        return self._versions[key]

    @staticmethod
    def _turn() -> None:
        process = _running.get()
        if process is not None:
            process.wait_turn()


_running: contextvars.ContextVar[Process | None] = contextvars.ContextVar("running", default=None)


class Process:
    """Runs `what` in a thread that stops before each request, until `step` lets it go on, or `kill` ends it."""

    def __init__(self, what: Callable[[], object], name: str) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.result: object = None
        self.is_done = False
        self._killed = False
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._what = what
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> bool:
        """One request further; False when it has ended."""
        if not self.is_done:
            self._go.release()
            self._wait()
        return not self.is_done

    def finish(self) -> None:
        """All the rest."""
        while self.step():
            pass

    def kill(self) -> None:
        """It ends where it is."""
        self._killed = True
        self.finish()

    def wait_turn(self) -> None:
        """Called by the store, in the thread."""
        self._stopped.release()
        assert self._go.acquire(timeout=_TIMEOUT_S)
        if self._killed:
            raise Killed

    def _wait(self) -> None:
        assert self._stopped.acquire(timeout=_TIMEOUT_S), f"{self.name} hangs"

    def _run(self) -> None:
        _running.set(self)
        try:
            self.result = self._what()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        self.is_done = True
        self._stopped.release()
