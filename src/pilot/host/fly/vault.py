"""Secrets of apps at rest: what is in the store is of no use without the key, which is beside it in a file.

    base64url( nonce 12 | AES-256-GCM( value ) )      with app and name as associated data: none passes for another

`digest` tells one value from another. It is keyed: who reads it cannot try values on it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ... import errors

_NONCE_BYTES = 12
_DIGEST_DIGITS = 16


class Vault:
    """`key`: 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    def seal(self, app: str, name: str, value: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, value.encode(), _bound(app, name))
        return base64.urlsafe_b64encode(sealed).decode()

    def opened(self, app: str, name: str, sealed: str) -> str:
        """`HostError` for what was not sealed with this key, for this."""
        try:
            data = base64.urlsafe_b64decode(sealed)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(app, name)).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise errors.HostError(
                f"open secret {name}: it was not sealed with this key", hint="is secrets.key the one of this state.db?"
            ) from error

    def digest(self, app: str, name: str, value: str) -> str:
        made = hmac.new(self._key, _bound(app, name) + b"\0" + value.encode(), hashlib.sha256)
        return made.hexdigest()[:_DIGEST_DIGITS]


def _bound(app: str, name: str) -> bytes:
    return f"{app}\0{name}".encode()
