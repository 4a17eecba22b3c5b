"""Keys: each volume has a data key of its own, which HEAD carries wrapped by a key of the operator.

    operator key   32 bytes, hexadecimal, one a line in a file (PILOT_VOLUME_KEY_FILE); '#' begins a comment.
                   New volumes are wrapped by the first; all of them unwrap. Rotation is: put the new key first,
                   `rewrap` each HEAD, then remove the old line.
    data key       32 random bytes, made once per disk, never changed: its nonces are counted by epoch and seq
    HEAD.key       "aes256gcm:<operator key's id>:<base64 of nonce 12 │ data key encrypted │ tag 16>", bound to the disk

The data key never leaves memory unwrapped. Objects are AES-256-GCM under it (`codec` says with which nonce), so what
was changed, or belongs to another volume, does not decrypt. A missing operator key is a HostError that names the key.
What this does not do: whoever may write the store can remove objects, or put an older HEAD back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence

import msgspec
from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers import aead

from .... import errors
from .codec import Codec, Damaged
from .head import Head

KEY_BYTES = 32
_NONCE_BYTES = 12
_SCHEME = "aes256gcm"


class AesGcm:
    """A `codec.Cipher`."""

    def __init__(self, data_key: bytes) -> None:
        self._aead = aead.AESGCM(data_key)

    def encrypt(self, nonce: bytes, plain: bytes) -> bytes:
        """Ciphertext and tag."""
        return self._aead.encrypt(nonce, plain, None)

    def decrypt(self, nonce: bytes, stored: bytes) -> bytes:
        """What was encrypted; Damaged."""
        try:
            return self._aead.decrypt(nonce, stored, None)
        except exceptions.InvalidTag as error:
            raise Damaged(f"decrypt {len(stored)} bytes: damaged, or of another volume") from error


class Keyring:
    """The operator's keys; the first wraps. Without any, volumes are not encrypted."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        for key in keys:
            if len(key) != KEY_BYTES:
                raise errors.PilotError(f"operator key: {len(key)} bytes, not {KEY_BYTES}")
        self._keys: Mapping[str, bytes] = {key_id(key): key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def new_key(self, disk: str) -> str | None:
        """A data key for a new disk, wrapped: for its HEAD. None without operator keys."""
        return self._wrap(disk, os.urandom(KEY_BYTES)) if self._keys else None

    def codec(self, head: Head) -> Codec:
        """What packs and unpacks a disk's objects. HostError when none of the keys unwraps it, Damaged."""
        return Codec(None if head.key is None else AesGcm(self._unwrap(head.disk, head.key)))

    def is_current(self, head: Head) -> bool:
        """Whether HEAD's key needs no `rewrap`."""
        return head.key is None or head.key.split(":")[1:2] == list(self._keys)[:1]

    def rewrap(self, head: Head) -> Head:
        """The same data key, wrapped by the first operator key; to be swapped in."""
        if head.key is None:
            raise errors.StateError(f"rewrap the key of {head.disk}: it is not encrypted")
        return msgspec.structs.replace(head, key=self._wrap(head.disk, self._unwrap(head.disk, head.key)))

    def _wrap(self, disk: str, data_key: bytes) -> str:
        if not self._keys:
            raise errors.HostError(f"wrap the key of {disk}: there is no operator key", hint="PILOT_VOLUME_KEY_FILE")
        wrapper_id, wrapper = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + aead.AESGCM(wrapper).encrypt(nonce, data_key, _bound_to(disk))
        return f"{_SCHEME}:{wrapper_id}:{base64.b64encode(sealed).decode()}"

    def _unwrap(self, disk: str, text: str) -> bytes:
        what = f"unwrap the key of {disk}"
        scheme, wrapper_id, sealed = _parse(text, what)
        if scheme != _SCHEME:
            raise errors.HostError(f"{what}: encrypted with {scheme!r}: unknown here")
        wrapper = self._keys.get(wrapper_id)
        if wrapper is None:
            known = ", ".join(self._keys) or "none"
            raise errors.HostError(f"{what}: it needs operator key {wrapper_id}; given: {known}",
                                   hint="PILOT_VOLUME_KEY_FILE names the file of operator keys")  # fmt: skip
        try:
            data_key = aead.AESGCM(wrapper).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(disk))
        except (exceptions.InvalidTag, ValueError) as error:
            raise Damaged(f"{what}: damaged, or of another disk") from error
        if len(data_key) != KEY_BYTES:
            raise Damaged(f"{what}: {len(data_key)} bytes long")
        return data_key


def key_id(key: bytes) -> str:
    """What an operator key is called; says nothing of the key."""
    return hashlib.blake2b(key, digest_size=8, person=b"pilot volume key").hexdigest()


def parse_keys(text: str) -> Keyring:
    """The text of a file of keys; `PilotError` names the line, never the key."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            keys.append(bytes.fromhex(word))
        except ValueError:
            keys.append(b"")
        if len(keys[-1]) != KEY_BYTES:
            raise errors.PilotError(f"operator keys: line {number}: not {2 * KEY_BYTES} hexadecimal digits")
    return Keyring(keys)


def read_keys(environment: Mapping[str, str]) -> Keyring:
    """The keyring that the environment names; HostError when it cannot be read, or others may read it."""
    path = environment.get("PILOT_VOLUME_KEY_FILE")
    if not path:
        return Keyring()
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1 << 20)
    except OSError as error:
        raise errors.HostError(f"read operator keys: {path}: {error.strerror}") from error
    if mode & 0o077:
        raise errors.HostError(f"read operator keys: {path}: others may read it", hint=f"chmod 600 {path}")
    keyring = parse_keys(text)
    if not keyring:
        raise errors.HostError(f"read operator keys: {path}: there is none")
    return keyring


def _parse(text: str, what: str) -> tuple[str, str, bytes]:
    try:
        scheme, wrapper_id, encoded = text.split(":")
        return scheme, wrapper_id, base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Damaged(f"{what}: not a wrapped key") from error


def _bound_to(disk: str) -> bytes:
    return b"pilot volume data key of disk " + disk.encode()
