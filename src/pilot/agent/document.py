"""A small JSON document that survives the agent: a memfd in init's store.

Every change is a new memfd put under the old name, which init exchanges in one step: a reader finds the old document or
the new one, never half of one.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from .. import errors
from .machine import Link

_T = TypeVar("_T")
MAX_BYTES = 1 << 20


def write(link: Link, name: str, value: msgspec.Struct) -> None:
    """Replace the document `name`."""
    fd = os.memfd_create(name[:200], os.MFD_CLOEXEC)
    try:
        data = msgspec.json.encode(value)
        while data:
            data = data[os.write(fd, data) :]
        link.put(name, fd)
    finally:
        os.close(fd)


def read(fd: int, kind: type[_T]) -> _T:
    """The document in `fd`, which stays the caller's; `PeerError` when it is not one."""
    try:
        return msgspec.json.decode(os.pread(fd, MAX_BYTES, 0), type=kind)
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"read a document of the former agent: {error}") from error
