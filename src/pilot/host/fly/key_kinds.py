"""The table of what a secret key can be, and what it does: bytes → bytes, by the algorithms of `cryptography` alone.

    xaes256gcm           encrypts    nonce 24 | AES-256-GCM( … ), its key and nonce made of ours (C2SP, XAES-256-GCM)
    hs256 hs384 hs512    sign        HMAC of that SHA-2
    nacl_auth            signs       HMAC-SHA-512, its first 32 bytes (NaCl's crypto_auth)
    nacl_sign            signs       Ed25519, the signature alone
    es256                signs       ECDSA of P-256 and SHA-256, as JOSE writes it: r | s

Whoever has a key's bytes needs nothing of ours to do the same.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_NONCE_BYTES, _INNER_NONCE_BYTES = 24, 12
_COORDINATE_BYTES = 32


class Wrong(Exception):
    """It was not made with this key, or is not what was made. No more than that is told."""


class Cipher(Protocol):
    def encrypt(self, key: bytes, plain: bytes, associated: bytes) -> bytes:
        """Another ciphertext each time."""
        ...

    def decrypt(self, key: bytes, sealed: bytes, associated: bytes) -> bytes:
        """`Wrong`."""
        ...


class Signer(Protocol):
    def sign(self, key: bytes, message: bytes) -> bytes: ...

    def verify(self, key: bytes, message: bytes, signature: bytes) -> None:
        """`Wrong`."""
        ...

    def public(self, key: bytes) -> bytes:
        """What others verify by, as a SubjectPublicKeyInfo (DER); nothing where the key itself is wanted for that."""
        ...


@dataclass(frozen=True)
class Kind:
    """`make`: a new key. `least`, `most`: how many bytes one may have that somebody brings."""

    name: str
    make: Callable[[], bytes]
    least: int
    most: int
    cipher: Cipher | None = None
    signer: Signer | None = None


class Xaes:
    def encrypt(self, key: bytes, plain: bytes, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _inner(key, nonce).encrypt(nonce[_INNER_NONCE_BYTES:], plain, associated)

    def decrypt(self, key: bytes, sealed: bytes, associated: bytes) -> bytes:
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        if len(nonce) < _NONCE_BYTES:
            raise Wrong
        try:
            return _inner(key, nonce).decrypt(nonce[_INNER_NONCE_BYTES:], rest, associated)
        except InvalidTag as error:
            raise Wrong from error


def _inner(key: bytes, nonce: bytes) -> AESGCM:
    """NIST SP 800-108 in counter mode with AES-CMAC, as XAES-256-GCM says: label X, context the nonce's first half."""
    derived = KBKDFCMAC(
        algorithm=algorithms.AES,
        mode=Mode.CounterMode,
        length=32,
        rlen=2,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=b"X\0" + nonce[:_INNER_NONCE_BYTES],
    )
    return AESGCM(derived.derive(key))


@dataclass(frozen=True)
class Mac:
    """HMAC; of its bytes the first `size`."""

    digest: str
    size: int

    def sign(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self.digest)[: self.size]

    def verify(self, key: bytes, message: bytes, signature: bytes) -> None:
        if not hmac.compare_digest(self.sign(key, message), signature):
            raise Wrong

    def public(self, key: bytes) -> bytes:
        return b""


class Ed25519:
    """The key is the seed."""

    def sign(self, key: bytes, message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(key).sign(message)

    def verify(self, key: bytes, message: bytes, signature: bytes) -> None:
        try:
            Ed25519PrivateKey.from_private_bytes(key).public_key().verify(signature, message)
        except InvalidSignature as error:
            raise Wrong from error

    def public(self, key: bytes) -> bytes:
        public = Ed25519PrivateKey.from_private_bytes(key).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Es256:
    """The key is the private number, its most significant byte first."""

    def sign(self, key: bytes, message: bytes) -> bytes:
        r, s = utils.decode_dss_signature(_private(key).sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)

    def verify(self, key: bytes, message: bytes, signature: bytes) -> None:
        if len(signature) != 2 * _COORDINATE_BYTES:
            raise Wrong
        r, s = int.from_bytes(signature[:_COORDINATE_BYTES]), int.from_bytes(signature[_COORDINATE_BYTES:])
        try:
            _private(key).public_key().verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise Wrong from error

    def public(self, key: bytes) -> bytes:
        return _private(key).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    """`ValueError` for a number that is none of the curve's."""
    return ec.derive_private_key(int.from_bytes(key), ec.SECP256R1())


def _new_es256() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(_COORDINATE_BYTES)


def _random(size: int) -> Callable[[], bytes]:
    return lambda: os.urandom(size)


# A key of HMAC is no shorter than its digest (RFC 7518, 3.2), and of use up to a block of it.
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("xaes256gcm", _random(32), 32, 32, cipher=Xaes()),
        Kind("hs256", _random(32), 32, 64, signer=Mac("sha256", 32)),
        Kind("hs384", _random(48), 48, 128, signer=Mac("sha384", 48)),
        Kind("hs512", _random(64), 64, 128, signer=Mac("sha512", 64)),
        Kind("nacl_auth", _random(32), 32, 32, signer=Mac("sha512", 32)),
        Kind("nacl_sign", _random(32), 32, 32, signer=Ed25519()),
        Kind("es256", _new_es256, 32, 32, signer=Es256()),
    )
}
