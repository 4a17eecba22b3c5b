"""Values in a file that is of no use without a key, and the keys that are files themselves.

nonce 12 | AES-256-GCM( msgpack )      with a text of its own as associated data: no file passes for another
"""

from __future__ import annotations

import os
from typing import Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ... import errors
from ...kernel import files

_NONCE_BYTES = 12
_KEY_BYTES = 32
T = TypeVar("T")


class SealedFile(Generic[T]):
    """`key`: 32 random bytes. `bound`: what this file is. `kind`: of what is in it, as msgspec reads it."""

    def __init__(self, path: str, key: bytes, bound: bytes, kind: type[T]) -> None:
        self._path = path
        self._cipher = AESGCM(key)
        self._bound = bound
        self._kind = kind

    def read(self) -> T | None:
        """None when there is no file. `HostError` when it cannot be opened with this key."""
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        try:
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], self._bound)
            return msgspec.msgpack.decode(plain, type=self._kind)
        except (InvalidTag, *errors.UNREADABLE) as error:
            raise errors.HostError(
                f"open {self._path}: it was sealed with another key, or changed", hint="give back the key it had"
            ) from error

    def replace(self, value: T) -> None:
        """Durable when this returns; a crash before leaves what was there."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(value), self._bound)
        files.replace(self._path, nonce + sealed, durable=True)


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
