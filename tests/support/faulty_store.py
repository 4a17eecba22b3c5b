"""An object store in memory with faults: requests that fail before or after they took effect, objects stored in part,
answers that are lies, and everything at once when it is down. Conditional writes that are not lies are exact."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator

from pilot import errors
from pilot.volume.remote.objects.store import Entry, Object

_FLIPPED = bytes(byte ^ 1 for byte in range(256))


@dataclasses.dataclass
class FaultyStore:
    """`store.Store`. `fault(operation, key)` decides about each request: None: it goes well; "lost": it does not
    arrive; "unanswered": it takes effect, the answer is lost; "partial": half an object is stored, and no answer;
    "untrue": a write is confirmed, and nothing is stored; "stale": what the object was before it was last written;
    "garbled": nothing of what is read is right."""

    fault: Callable[[str, str], str | None] = lambda operation, key: None
    objects: dict[str, tuple[bytes, int]] = dataclasses.field(default_factory=dict)
    url: str = "memory://store"
    requests: int = 0
    former: dict[str, tuple[bytes, int]] = dataclasses.field(default_factory=dict)

    def _do(self, operation: str, key: str, act: Callable[[], Object], data: bytes = b"") -> Object:
        self.requests += 1
        fault = self.fault(operation, key)
        if fault == "lost":
            raise errors.PeerError(f"{operation} {key}: timed out")
        if fault == "partial" and operation in ("put", "create") and key not in self.objects and "/seg/" in key:
            self._write(key, data[: len(data) // 2])
            raise errors.PeerError(f"{operation} {key}: connection reset")
        if fault == "untrue" and operation in ("put", "create", "swap"):
            return Object(b"", f"untrue-{self.requests}")
        if operation == "get" and fault in ("stale", "garbled"):
            return self._lie(fault, key)
        done = act()
        if fault in ("lost", "unanswered", "partial"):
            raise errors.PeerError(f"{operation} {key}: 500")
        return done

    def _lie(self, fault: str, key: str) -> Object:
        data, version = self.objects.get(key, (b"", 0)) if fault == "garbled" else self.former.get(key, (b"", 0))
        if not version:
            raise errors.NotFound(f"get {key}: not found")
        return Object(data.translate(_FLIPPED) if fault == "garbled" else data, str(version))

    def _write(self, key: str, data: bytes) -> Object:
        if key in self.objects:
            self.former[key] = self.objects[key]
        self.objects[key] = (bytes(data), self.objects.get(key, (b"", 0))[1] + 1)
        return self._read(key)

    def _read(self, key: str) -> Object:
        if key not in self.objects:
            raise errors.NotFound(f"get {key}: not found")
        data, version = self.objects[key]
        return Object(data, str(version))

    def get(self, key: str) -> Object:
        return self._do("get", key, lambda: self._read(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key).data[start : start + length]

    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        data = self.get(key).data
        return data[:length], len(data)

    def put(self, key: str, data: bytes) -> None:
        self._do("put", key, lambda: self._write(key, data), data)

    def create(self, key: str, data: bytes) -> str:
        def act() -> Object:
            if key in self.objects:
                raise errors.Conflict(f"create {key}: exists already")
            return self._write(key, data)

        return self._do("create", key, act, data).version

    def swap(self, key: str, data: bytes, version: str) -> str:
        def act() -> Object:
            if self._read(key).version != version:
                raise errors.Conflict(f"swap {key}: it has changed")
            return self._write(key, data)

        return self._do("swap", key, act, data).version

    def list(self, prefix: str) -> Iterator[Entry]:
        for key, (data, version) in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield Entry(key, len(data), float(version))

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class Switch:
    """A `fault` that is on or off: nothing arrives while `is_down` is set."""

    def __init__(self) -> None:
        self.is_down = threading.Event()

    def __call__(self, operation: str, key: str) -> str | None:
        return "lost" if self.is_down.is_set() else None
