"""The keys that macaroons are minted with, sealed on disk: the newest mints, all of them verify.

    <directory>/            (0700)
        seal                the sealing key: 32 random bytes, 0600; or wherever the operator keeps it
        roots               nonce 12 | AES-256-GCM([{"id", "key", "made_s"}, …]), 0600

A copy of `roots` alone mints nothing. What is written is durable before a token of it is given out: a crash before the
rename leaves the keys of before, and no token of the new one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ... import errors
from ...kernel import files

ROTATE_S = 90 * 86400.0
_NONCE_BYTES = 12
_KEY_BYTES = 32
_ID_BYTES = 8
_BOUND = b"pilot macaroon roots"


class Root(msgspec.Struct, frozen=True):
    """`made_s`: seconds since 1970."""

    id: bytes
    key: bytes
    made_s: float


class Roots:
    """Safe to use from any thread. `HostError` when what is on disk cannot be opened."""

    def __init__(self, directory: str, seal_path: str | None = None, now_s: Callable[[], float] = time.time) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._path = os.path.join(directory, "roots")
        self._cipher = AESGCM(ensure_key(seal_path or os.path.join(directory, "seal")))
        self._now_s = now_s
        self._lock = threading.Lock()
        self._roots = self._read()

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
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(roots), _BOUND)
        files.replace(self._path, nonce + sealed, durable=True)
        self._roots = roots

    def _read(self) -> list[Root]:
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        try:
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _BOUND)
            return msgspec.msgpack.decode(plain, type=list[Root])
        except (InvalidTag, *errors.UNREADABLE) as error:
            raise errors.HostError(
                f"open {self._path}: it was sealed with another key, or changed", hint="give back the key it had"
            ) from error


def ensure_key(path: str) -> bytes:
    """The key at `path`, made when there is none. Only its owner may read it."""
    try:
        with open(path, "rb") as file:
            key = file.read()
    except FileNotFoundError:
        key = os.urandom(_KEY_BYTES)
        files.replace(path, key, durable=True)
    if len(key) != _KEY_BYTES:
        raise errors.HostError(f"{path}: {len(key)} bytes are no key", hint=f"it has {_KEY_BYTES}")
    return key
