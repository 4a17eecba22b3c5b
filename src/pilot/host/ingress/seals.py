"""Texts that only this pilotd can have made, for one purpose and one host, for a while: cookies and one-time codes.

A token in a cookie is encrypted, not just signed: whoever sees the cookie has a visit to one host, and no token.

    base64url( nonce 12 | AES-256-GCM( expiry u64 | text ) )      with purpose and host as associated data
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
import time
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_EXPIRY = struct.Struct(">Q")
MAX_SEAL = 4096


class Seals:
    """`key`: 32 random bytes, kept as secret as tokens are."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._cipher = AESGCM(key)
        self._clock = clock

    def seal(self, purpose: str, host: str, text: str, lasts_s: float) -> str:
        """`text` in a form for the one `opened` with the same purpose and host."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = _EXPIRY.pack(int(self._clock() + lasts_s)) + text.encode()
        sealed = nonce + self._cipher.encrypt(nonce, plain, _bound(purpose, host))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def opened(self, purpose: str, host: str, sealed: str) -> str | None:
        """None for what was not sealed here, for this, or is over."""
        if len(sealed) > MAX_SEAL:
            return None
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(purpose, host))
        except (InvalidTag, ValueError, binascii.Error):
            return None
        if _EXPIRY.unpack_from(plain)[0] < self._clock():
            return None
        return plain[_EXPIRY.size :].decode()


def _bound(purpose: str, host: str) -> bytes:
    return f"{purpose}\0{host}".encode()
