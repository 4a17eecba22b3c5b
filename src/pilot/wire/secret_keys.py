"""What is asked and told of secret keys, by the Machines API and by a machine's own socket. No key is in any of these.

Bytes are base64 in JSON, as Fly's clients send and read them (their document says lists of numbers).
"""

from __future__ import annotations

import msgspec

# Of one plaintext, ciphertext or message: a key seals other keys, not files.
MOST_BYTES = 64 << 10


class SecretKey(msgspec.Struct, frozen=True, kw_only=True):
    """`public_key`: what others verify by, a SubjectPublicKeyInfo (DER); empty where there is none."""

    name: str
    type: str
    public_key: bytes
    created_at: str
    updated_at: str


class SecretKeys(msgspec.Struct, frozen=True, kw_only=True):
    """By label, the newest version of each first."""

    secret_keys: list[SecretKey]


class NewSecretKey(SecretKey, frozen=True, kw_only=True):
    """`version`: of the app's secrets, as this change has made it."""

    version: int


class SecretKeyVersion(msgspec.Struct, frozen=True, kw_only=True):
    version: int


class SetSecretKey(msgspec.Struct, frozen=True, kw_only=True):
    """`value`: the key's own bytes; one is made where there are none."""

    type: str
    value: bytes | None = None


class Encrypt(msgspec.Struct, frozen=True, kw_only=True):
    """`associated_data` has to be said again to decrypt it, and is not in the ciphertext."""

    plaintext: bytes
    associated_data: bytes | None = None


class Encrypted(msgspec.Struct, frozen=True, kw_only=True):
    ciphertext: bytes


class Decrypt(msgspec.Struct, frozen=True, kw_only=True):
    ciphertext: bytes
    associated_data: bytes | None = None


class Decrypted(msgspec.Struct, frozen=True, kw_only=True):
    plaintext: bytes


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    plaintext: bytes


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    signature: bytes


class Verify(msgspec.Struct, frozen=True, kw_only=True):
    plaintext: bytes
    signature: bytes
