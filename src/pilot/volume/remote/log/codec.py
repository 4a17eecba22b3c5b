"""Stored bytes: zstd, then perhaps AES-256-GCM; and the hash that says whether they are what was stored.

    plain ── zstd ── (encrypt) ── stored ── hash(stored)

The hash covers the stored bytes, so damage is found without the key, and nothing damaged is ever decompressed. A nonce
is `epoch u32 | seq u32 | index u32`: an epoch has one writer, which numbers its objects once, so none comes twice under
a volume's key. `index` is the chunk's number in its segment; DELTA and SNAPSHOT are the map's.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Protocol

import zstandard

from .... import errors
from ... import names

HASH_BYTES = 16
DELTA, SNAPSHOT = 0xFFFFFFFF, 0xFFFFFFFE
MAX_INDEX = 0xFFFFFF00
_LEVEL = 1
_NONCE = struct.Struct("<III")


class Damaged(errors.PilotError):
    """Stored bytes are not what was stored; the text names them."""


class Cipher(Protocol):
    """Authenticated encryption under one volume's key. `decrypt` raises `Damaged`."""

    def encrypt(self, nonce: bytes, plain: bytes) -> bytes: ...
    def decrypt(self, nonce: bytes, stored: bytes) -> bytes: ...


def nonce(stamp: names.Stamp, index: int) -> bytes:
    """The nonce of one piece of the object with that stamp."""
    return _NONCE.pack(stamp.epoch, stamp.seq, index)


def digest(stored: bytes | memoryview) -> bytes:
    """The hash of stored bytes."""
    return hashlib.blake2b(stored, digest_size=HASH_BYTES).digest()


class Codec:
    """Packs and unpacks; `cipher` None: not encrypted. For one thread at a time."""

    def __init__(self, cipher: Cipher | None = None) -> None:
        self.cipher = cipher
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
        self._decompressor = zstandard.ZstdDecompressor()

    def pack(self, plain: bytes | memoryview, stamp: names.Stamp, index: int) -> bytes:
        """Plain bytes as they are stored."""
        packed = self._compressor.compress(plain)
        return packed if self.cipher is None else self.cipher.encrypt(nonce(stamp, index), packed)

    def unpack(self, stored: bytes | memoryview, stamp: names.Stamp, index: int, max_bytes: int) -> bytes:
        """The plain bytes of at most `max_bytes`; Damaged when they cannot be had."""
        packed = bytes(stored) if self.cipher is None else self.cipher.decrypt(nonce(stamp, index), bytes(stored))
        try:
            size = zstandard.frame_content_size(packed)
            if not 0 <= size <= max_bytes:
                raise Damaged(f"unpack {names.text(stamp)} piece {index}: {size} bytes, more than {max_bytes}")
            return self._decompressor.decompress(packed, max_output_size=max_bytes)
        except zstandard.ZstdError as error:
            raise Damaged(f"unpack {names.text(stamp)} piece {index}: {error}") from error
