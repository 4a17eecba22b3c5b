"""What is below /.fly/kms, of what the app's keys are called. Pure.

    LABEL/ LABELvN/     the newest version, and each
        info            label=, type=, version=, created_at=
        encr decr       of one that encrypts
        sign verify     of one that signs

Numbers of nodes follow from paths alone, so that a new agent knows those of the one before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping

import msgspec

from ...kernel import fuse as proto
from ...kernel.fuse import Node
from ...wire.secret_keys import SecretKey

ROOT = ""
INFO = "info"
_ENCRYPTS = frozenset({"xaes256gcm"})
_VERSIONED = re.compile(r"(.+)v(0|[1-9][0-9]{0,8})")


class Permissions(msgspec.Struct, frozen=True):
    """What root of a container has given others, until the machine ends."""

    mode: int
    uid: int
    gid: int


class Tree:
    """Of these keys. A file's path is KEY/FILE, a key's is its name, and of all of it ''."""

    def __init__(self, keys: Iterable[SecretKey]) -> None:
        self._keys: dict[str, SecretKey] = {}
        for key in keys:  # the newest of a label comes first
            self._keys.setdefault(split(key.name)[0], key)
            self._keys[key.name] = key
        self._paths = {number(path): path for path in self._every()}

    def _every(self) -> Iterable[str]:
        yield ROOT
        for name, key in self._keys.items():
            yield name
            yield from (f"{name}/{file}" for file in files(key.type))

    def path(self, node: int) -> str | None:
        return self._paths.get(node)

    def entries(self, path: str) -> list[str]:
        """Names in that directory."""
        return list(self._keys) if path == ROOT else list(files(self._key(path).type))

    def child(self, path: str, name: str) -> str:
        """`FileNotFoundError`."""
        found = name if path == ROOT else f"{path}/{name}"
        if "/" in name or number(found) not in self._paths:
            raise _gone()
        return found

    def _key(self, name: str) -> SecretKey:
        if name not in self._keys:
            raise _gone()
        return self._keys[name]

    def info(self, key: str) -> bytes:
        """Lines of name=value."""
        found = self._key(key)
        label, version = split(found.name)
        said = {"label": label, "type": found.type, "version": version, "created_at": found.created_at}
        return "".join(f"{name}={value}\n" for name, value in said.items()).encode()


def _gone() -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def files(kind: str) -> tuple[str, ...]:
    """In the directory of a key."""
    return (INFO, "encr", "decr") if kind in _ENCRYPTS else (INFO, "sign", "verify")


def split(name: str) -> tuple[str, str]:
    """A label and a version, of a name that the host has told."""
    found = _VERSIONED.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def number(path: str) -> int:
    """Of a node."""
    if path == ROOT:
        return proto.ROOT
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) >> 2 | 1 << 61


def node(path: str, permissions: Mapping[str, Permissions]) -> Node:
    """As the kernel is told: for root, until root says otherwise."""
    is_directory = "/" not in path
    usual = Permissions(0o700 if is_directory else 0o400 if path.endswith(f"/{INFO}") else 0o600, 0, 0)
    given = permissions.get(path, usual)
    kind = stat.S_IFDIR if is_directory else stat.S_IFREG
    owned = (kind | given.mode, given.uid, given.gid)
    return Node(number(path), 0 if is_directory else proto.UNKNOWN_BYTES, is_directory, True, owned=owned)
