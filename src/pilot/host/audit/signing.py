"""The key that heads of logs are signed with (Ed25519), sealed on disk as all that sign are.

    <state-dir>/identity/audit      sealed (identity/sealed.py): the private key's 32 bytes

It is not followed by another one: whoever has its public half verifies every log that this pilotd has ever written.
"""

from __future__ import annotations

import hashlib
import os

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..identity import sealed

_BOUND = b"pilot audit key"


class Key(msgspec.Struct, frozen=True):
    private: bytes


class Signer:
    """Safe to use from any thread. `HostError` when what is on disk cannot be opened."""

    def __init__(self, directory: str, seal: bytes) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        file = sealed.SealedFile(os.path.join(directory, "audit"), seal, _BOUND, Key)
        found = file.read()
        if found is None:
            found = Key(Ed25519PrivateKey.generate().private_bytes_raw())
            file.replace(found)
        self._private = Ed25519PrivateKey.from_private_bytes(found.private)
        self._public = self._private.public_key()

    def sign(self, document: bytes) -> bytes:
        return self._private.sign(document)

    def check(self, document: bytes, signature: bytes) -> bool:
        """Whether this is our signature of it."""
        try:
            self._public.verify(signature, document)
        except InvalidSignature:
            return False
        return True

    @property
    def public_pem(self) -> str:
        """For whoever verifies."""
        made = self._public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return made.decode()

    @property
    def fingerprint(self) -> str:
        """By which people compare: SHA-256 of the public key's bytes."""
        return hashlib.sha256(self._public.public_bytes_raw()).hexdigest()
