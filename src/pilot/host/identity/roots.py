"""The keys that macaroons are minted with, sealed on disk: the newest mints, all of them verify.

    <directory>/            (0700)
        seal                the sealing key: 32 random bytes, 0600; or wherever the operator keeps it
        roots               nonce 12 | AES-256-GCM([{"id", "key", "made_s"}, …]), 0600
        third-party         likewise, of `third_party`

A copy of `roots` alone mints nothing. What is written is durable before a token of it is given out: a crash before the
rename leaves the keys of before, and no token of the new one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ... import errors
from . import sealed

ROTATE_S = 90 * 86400.0
_KEY_BYTES = 32
_ID_BYTES = 8
_BOUND = b"pilot macaroon roots"
_SEALED = ("roots", "third-party")
T = TypeVar("T")


class Root(msgspec.Struct, frozen=True):
    """`made_s`: seconds since 1970."""

    id: bytes
    key: bytes
    made_s: float


class Roots:
    """Safe to use from any thread. `HostError` when what is on disk cannot be opened. `seal`: the sealing key, of which
    others are derived that have to stay the same."""

    def __init__(self, directory: str, seal_path: str | None = None, now_s: Callable[[], float] = time.time) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = seal_path or os.path.join(directory, "seal")
        is_sealed = any(os.path.exists(os.path.join(directory, name)) for name in _SEALED)
        if is_sealed and not os.path.exists(path):
            # A new one would open nothing, and lie where somebody may take it for the one that is missed.
            raise errors.HostError(
                f"open {path}: no such file", hint=f"{directory} was sealed with a key that is to be there"
            )
        self._directory = directory
        self.seal = sealed.ensure_key(path)
        self._file = self.beside("roots", _BOUND, list[Root])
        self._now_s = now_s
        self._lock = threading.Lock()
        self._roots = self._file.read() or []

    def beside(self, name: str, bound: bytes, kind: type[T]) -> sealed.SealedFile[T]:
        """Another file of that directory, sealed with the same key."""
        return sealed.SealedFile(os.path.join(self._directory, name), self.seal, bound, kind)

    def newest(self) -> Root:
        """What to mint with; another one when it is old."""
        with self._lock:
            if not self._roots or self._now_s() - self._roots[-1].made_s > ROTATE_S:
                self._add()
            return self._roots[-1]

    def rotate(self) -> Root:
        """From here on another one mints."""
        with self._lock:
            self._add()
            return self._roots[-1]

    def find(self, id: bytes) -> bytes | None:
        """The key of that id, as the nonce of a token has it."""
        with self._lock:
            return next((root.key for root in self._roots if root.id == id), None)

    def _add(self) -> None:
        made = Root(os.urandom(_ID_BYTES), os.urandom(_KEY_BYTES), self._now_s())
        roots = [*self._roots, made]
        self._file.replace(roots)
        self._roots = roots
