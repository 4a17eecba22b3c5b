"""Secret keys of apps: what they do, for whoever may ask. A key's bytes are sealed in the store (`fly.vault`), plain in
this process for as long as one call takes, and in no answer, event or log.

A label has versions. What is made is made with the newest, what was made is read with the version that made it; a
version that was deleted reads nothing any more.
"""

from __future__ import annotations

import base64

from ... import errors
from ...wire import faults, secret_keys
from ..fly import key_kinds, key_names
from ..fly.key_kinds import Cipher, Kind, Signer
from ..fly.key_names import Name
from ..operations.context import Host
from ..store import fly_keys
from ..store.database import Taken, Transaction
from ..store.fly import App
from ..store.fly_keys import SecretKey

MOST = 256  # of all versions of all labels of an app
_TRIES = 16
_MORE_SEALED_BYTES = 64  # than what was sealed: a version, a nonce, a tag


class FlyKeys:
    """Every method is quick, and may block for the store."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def every(self, app: App) -> list[SecretKey]:
        return fly_keys.every(self._host.database, app.id)

    def find(self, app: App, text: str) -> SecretKey:
        """The version that it names, or the newest one. `NotFound`."""
        return self._versions(app, key_names.parse(text))[0]

    def add(self, app: App, text: str, kind_name: str, value: bytes | None = None) -> tuple[SecretKey, int]:
        """Another version: the one that is named, or the next. With these bytes, or new ones. The version of the app's
        secrets, too. `InvalidRequest`; `Conflict` for a version that is there; `Exhausted`."""
        name, kind = key_names.parse(text), _kind(kind_name)
        raw = kind.make() if value is None else _checked(kind, value)
        for _ in range(_TRIES):
            try:
                with self._host.database.transaction() as tx:
                    changed = fly_keys.begin(tx, app.id)
                    return self._write(tx, app, name.label, _next(tx, app, name, kind), kind, raw), changed
            except Taken as error:
                if name.version is not None:
                    raise errors.Conflict(f"key {text}: there is that version, and none is ever changed") from error
        raise errors.Conflict(f"key {text}: others make versions of it at the same time")

    def remove(self, app: App, text: str) -> int:
        """One version, or all of a label; what was made with them is lost. The version of the app's secrets.
        `NotFound`."""
        name = key_names.parse(text)
        with self._host.database.transaction() as tx:
            changed = fly_keys.remove(tx, app.id, name.label, name.version)
        if changed is None:
            raise _missing(text)
        return changed

    # ---- what keys do

    def encrypt(self, app: App, text: str, plain: bytes, associated: bytes = b"") -> bytes:
        """With its version in front. `InvalidRequest` for a key that does not."""
        _bound(plain, associated)
        key = self.find(app, text)
        sealed = _cipher(key).encrypt(self._opened(app, key), plain, associated)
        return key_names.mark(key.version) + sealed

    def decrypt(self, app: App, text: str, sealed: bytes, associated: bytes = b"") -> bytes:
        """`InvalidRequest` for whatever is not what this key has made, without a word of why."""
        _bound(sealed, associated, most=secret_keys.MOST_BYTES + _MORE_SEALED_BYTES)
        versions = self._versions(app, key_names.parse(text))
        _cipher(versions[0])
        try:
            version, rest = key_names.marked(sealed)
            key = next(each for each in versions if each.version == version)
            return _cipher(key).decrypt(self._opened(app, key), rest, associated)
        except (key_kinds.Wrong, ValueError, StopIteration) as error:
            raise faults.InvalidRequest(f"decrypt with {text}: this was not made with it, or was changed") from error

    def sign(self, app: App, text: str, message: bytes) -> bytes:
        """`InvalidRequest` for a key that does not."""
        _bound(message)
        key = self.find(app, text)
        return _signer(key).sign(self._opened(app, key), message)

    def verify(self, app: App, text: str, message: bytes, signature: bytes) -> None:
        """By any of its versions. `InvalidRequest` for a signature that does not hold."""
        _bound(message, signature)
        versions = self._versions(app, key_names.parse(text))
        if not any(self._holds(app, key, message, signature) for key in versions):
            raise faults.InvalidRequest(f"verify with {text}: this was not signed with it, or was changed")

    def _holds(self, app: App, key: SecretKey, message: bytes, signature: bytes) -> bool:
        try:
            _signer(key).verify(self._opened(app, key), message, signature)
        except key_kinds.Wrong:
            return False
        return True

    # ---- rows

    def _versions(self, app: App, name: Name) -> list[SecretKey]:
        """Never none: `NotFound`."""
        rows = fly_keys.every(self._host.database, app.id, name.label)
        found = [row for row in rows if name.version in (None, row.version)]
        if not found:
            raise _missing(name.label if name.version is None else key_names.joined(name.label, name.version))
        return found

    def _write(self, tx: Transaction, app: App, label: str, version: int, kind: Kind, raw: bytes) -> SecretKey:
        public = kind.signer.public(raw) if kind.signer else b""
        sealed = self._host.require_vault("keys").seal(app.id, _place(label, version), base64.b64encode(raw).decode())
        fly_keys.add(tx, app.id, label, version, kind.name, sealed, public)
        (made,) = [row for row in fly_keys.every(tx, app.id, label) if row.version == version]
        return made

    def _opened(self, app: App, key: SecretKey) -> bytes:
        return base64.b64decode(
            self._host.require_vault("keys").opened(app.id, _place(key.label, key.version), key.sealed)
        )


def _next(tx: Transaction, app: App, name: Name, kind: Kind) -> int:
    """The version to make, in a transaction that changes the app's keys alone (`fly_keys.begin`)."""
    rows = fly_keys.every(tx, app.id)
    if len(rows) >= MOST:
        raise faults.Exhausted(f"an app has {MOST} versions of keys at most")
    of_label = [row for row in rows if row.label == name.label]
    if of_label and of_label[0].kind != kind.name:
        raise faults.InvalidRequest(f"key {name.label}: all versions are of one type, {of_label[0].kind}")
    if name.version is not None:
        return name.version
    version = of_label[0].version + 1 if of_label else 0
    if version > key_names.MOST_VERSION:
        raise faults.Exhausted(f"key {name.label}: there is no version after {key_names.MOST_VERSION}")
    return version


def _place(label: str, version: int) -> str:
    """What it is sealed for: no secret of an app is called so."""
    return f"key {key_names.joined(label, version)}"


def _missing(text: str) -> errors.NotFound:
    return errors.NotFound(f"key not found: {text}")


def _kind(name: str) -> Kind:
    """Also as clients of before spelled it."""
    found = key_kinds.KINDS.get(name.lower().removeprefix("secret_type_kms_"))
    if found is None:
        raise faults.InvalidRequest(f"type {name[:50]!r}: is none of {', '.join(key_kinds.KINDS)}")
    return found


def _checked(kind: Kind, value: bytes) -> bytes:
    if not kind.least <= len(value) <= kind.most:
        size = str(kind.least) if kind.least == kind.most else f"{kind.least} to {kind.most}"
        raise faults.InvalidRequest(f"value: a key of {kind.name} has {size} bytes")
    try:
        if kind.signer is not None:
            kind.signer.public(value)
    except ValueError as error:
        raise faults.InvalidRequest(f"value: is no key of {kind.name}") from error
    return value


def _cipher(key: SecretKey) -> Cipher:
    cipher = key_kinds.KINDS[key.kind].cipher
    if cipher is None:
        raise faults.InvalidRequest(f"key {key.label}: {key.kind} does not encrypt")
    return cipher


def _signer(key: SecretKey) -> Signer:
    signer = key_kinds.KINDS[key.kind].signer
    if signer is None:
        raise faults.InvalidRequest(f"key {key.label}: {key.kind} does not sign")
    return signer


def _bound(*given: bytes, most: int = secret_keys.MOST_BYTES) -> None:
    if any(len(each) > most for each in given):
        raise faults.InvalidRequest(f"{secret_keys.MOST_BYTES} bytes at most")
