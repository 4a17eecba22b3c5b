"""Descriptors that the host sends to port 10001, kept in init's store under their names until they are used.

host → agent   {"name": "disk"}\\n + one descriptor in SCM_RIGHTS
agent → host   OK\\n   (or ERR <text>\\n)
"""

from __future__ import annotations

import os
import re

import msgspec

from .. import errors
from .machine import Link

MAX_MESSAGE_BYTES = 4096
# No slash: such names are the agent's own.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_RESERVED = frozenset({"dial", "log"})


class _Message(msgspec.Struct, frozen=True):
    name: str


class Descriptors:
    """Owns the descriptors that were sent and not yet taken."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._fds: dict[str, int] = {}

    def restore(self) -> None:
        """Those that a former agent was sent."""
        for name in [name for name in self._link.inherited if _NAME.fullmatch(name) and name not in _RESERVED]:
            self._fds[name] = self._link.take(name)

    def receive(self, message: bytes, fds: list[int]) -> str:
        """Store what came; returns its name. Owns `fds` from now on. `PeerError` when the message is not one."""
        kept = False
        try:
            name = _parse(message, fds)
            self._link.put(name, fds[0])
            self._forget(name)
            self._fds[name] = fds[0]
            kept = True
            return name
        finally:
            for fd in fds[1 if kept else 0 :]:
                os.close(fd)

    def __contains__(self, name: str) -> bool:
        """Whether it was sent, and is still here."""
        return name in self._fds

    def take(self, name: str) -> int:
        """The caller owns the descriptor; init still keeps its own until `drop`. `NotFound`."""
        try:
            return self._fds.pop(name)
        except KeyError:
            raise errors.NotFound(f"descriptor {name!r} was not sent", hint="send it to port 10001 first") from None

    def drop(self, name: str) -> None:
        """Let init forget it, too."""
        self._forget(name)
        self._link.drop(name)

    def _forget(self, name: str) -> None:
        if (old := self._fds.pop(name, None)) is not None:
            os.close(old)


def _parse(message: bytes, fds: list[int]) -> str:
    try:
        name = msgspec.json.decode(message, type=_Message).name
    except errors.UNREADABLE as error:
        raise errors.PeerError(f"descriptor: not a message: {error}") from error
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise errors.PeerError(f"descriptor: invalid name {name[:50]!r}")
    if len(fds) != 1:
        raise errors.PeerError(f"descriptor {name}: {len(fds)} descriptors where one is needed")
    return name
