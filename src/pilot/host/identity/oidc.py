"""An OpenID Connect issuer: short tokens that say which machine asks, for whoever trusts this host's keys.

    <directory>/oidc        nonce 12 | AES-256-GCM([{"kid", "algorithm", "pem", "made_s"}, …]), 0600

One key signs per algorithm, the newest; those of before are published until every token of theirs has ended. A token is
a JWS in compact form (RFC 7515); signatures are cryptography's.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Mapping

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from . import sealed

LIFE_S = 600
ROTATE_S = 30 * 86400.0
# For whoever keeps what they have fetched, and for clocks.
PUBLISHED_S = 86400.0
ALGORITHMS = ("RS256", "ES256")
_BOUND = b"pilot oidc keys"
_COORDINATE_BYTES = 32
Claims = Mapping[str, str | int | Mapping[str, object]]
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Key(msgspec.Struct, frozen=True):
    """`pem`: PKCS #8. `made_s`: seconds since 1970."""

    kid: str
    algorithm: str
    pem: bytes
    made_s: float


class Signer:
    """Keys and signatures. Safe to use from any thread. `HostError` when what is on disk cannot be opened."""

    def __init__(self, directory: str, seal: bytes, now_s: Callable[[], float] = time.time) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._file = sealed.SealedFile(os.path.join(directory, "oidc"), seal, _BOUND, list[Key])
        self._now_s = now_s
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._pairs: dict[str, Private] = {}
        self._published: tuple[dict[str, str], ...] = ()
        self._use(self._file.read() or [])

    def sign(self, claims: Claims, algorithm: str = ALGORITHMS[0]) -> str:
        """The token."""
        key, private = self._current(algorithm)
        head = {"alg": algorithm, "kid": key.kid, "typ": "JWT"}
        message = b".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return b".".join((message, _base64(_signature(private, message)))).decode()

    def published(self) -> list[dict[str, str]]:
        """A JWK for each key that a token may still have been signed with, and for those that will sign."""
        for algorithm in ALGORITHMS:
            self._current(algorithm)
        return [*self._published]

    def rotate(self) -> None:
        """From here on others sign."""
        with self._lock:
            self._replace([*self._keys, *map(self._made, ALGORITHMS)])

    def _current(self, algorithm: str) -> tuple[Key, Private]:
        with self._lock:
            newest = next((key for key in reversed(self._keys) if key.algorithm == algorithm), None)
            if newest is None or self._now_s() - newest.made_s > ROTATE_S:
                newest = self._made(algorithm)
                self._replace([*self._keys, newest])
            return newest, self._pairs[newest.kid]

    def _made(self, algorithm: str) -> Key:
        private = (
            rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Key(os.urandom(8).hex(), algorithm, pem, self._now_s())

    def _replace(self, keys: list[Key]) -> None:
        """Durable before a token of a new one is given out; without those of which every token has ended."""
        kept = [key for key in keys if self._may_be_in_use(key, keys)]
        self._file.replace(kept)
        self._use(kept)

    def _use(self, keys: list[Key]) -> None:
        """To load a key takes as long as to make some signatures, so it is done once: anybody may ask."""
        pairs = {key.kid: self._pairs.get(key.kid) or _private(key) for key in keys}
        self._keys, self._pairs = keys, pairs
        self._published = tuple(_public(key, pairs[key.kid]) for key in keys)

    def _may_be_in_use(self, key: Key, keys: list[Key]) -> bool:
        followed_s = [each.made_s for each in keys if each.algorithm == key.algorithm and each.made_s > key.made_s]
        return not followed_s or self._now_s() - min(followed_s) < LIFE_S + PUBLISHED_S


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _private(key: Key) -> Private:
    private = serialization.load_pem_private_key(key.pem, None)
    assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return private


def _signature(private: Private, message: bytes) -> bytes:
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    # RFC 7518, 3.4: both numbers, one after the other, and not the DER that OpenSSL makes.
    numbers = utils.decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in numbers)


def _public(key: Key, private: Private) -> dict[str, str]:
    public = private.public_key()
    shared = {"kid": key.kid, "alg": key.algorithm, "use": "sig"}
    if isinstance(public, rsa.RSAPublicKey):
        found = public.public_numbers()
        return shared | {"kty": "RSA", "n": _number(found.n), "e": _number(found.e)}
    point = public.public_numbers()
    coordinates = {"x": _number(point.x, _COORDINATE_BYTES), "y": _number(point.y, _COORDINATE_BYTES)}
    return shared | {"kty": "EC", "crv": "P-256"} | coordinates


def _number(value: int, least_bytes: int = 1) -> str:
    return _base64(value.to_bytes(max(least_bytes, (value.bit_length() + 7) // 8), "big")).decode()
