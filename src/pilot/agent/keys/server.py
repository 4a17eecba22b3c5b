"""The mount behind /.fly/kms: <run>/kms, bound into each container that is the Machine's (`agent.mounted`).

    thread      what is known already: opening, writing, the directory itself
    loop        what the host is asked: which keys there are, and to use one; refused to threads of the agent's own,
                which a link of a container may lead here (Request.is_ours)

Made when the first container is started that has /.fly. A container's root may give files to others (chmod, chown);
that is kept in init's store, and ends with the machine. A text that was written, and not read yet, is lost with its
agent: who reads it hears ESTALE, and opens the file anew.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable

import msgspec

from ... import errors
from ...kernel import fuse as proto
from ...kernel import mounts
from ...kernel.fuse import Node, Op
from ...wire import faults
from .. import document
from ..asked import Asked
from ..inside import fly_places
from ..machine import Link
from ..mounted import Mounted, Place, Request
from . import tree
from .opened import Exchanges
from .tree import Permissions, Tree
from .uses import Uses

_PERMISSIONS = "agent/kms-permissions"
KNOWN_S = 1.0  # for so long the host is not asked again which keys there are
_AT_ONCE = 8  # uses of keys that the host is asked for; more wait
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC
# Statuses of the host's refusals, as who reads a file hears them.
_HEARD = {400: errno.EBADMSG, 401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 429: errno.EBUSY}
_log = logging.getLogger(__name__)


class Given(msgspec.Struct, frozen=True):
    """By path."""

    permissions: dict[str, Permissions] = {}


class Server:
    """Make it on the running loop."""

    def __init__(self, link: Link, run: str, store_name: str, uses: Uses) -> None:
        self._link = link
        self._uses = uses
        self._known = Tree([])
        self._known_s = -KNOWN_S
        self._listing: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._exchanges = Exchanges()
        self._given: dict[str, Permissions] = {}
        self._mounted = Mounted(
            link,
            Place("kms", store_name, fly_places.keys(run), "containers have no /.fly/kms", _ATTRIBUTES, by_modes=True),
            self._answer,
        )
        serve = {
            Op.LOOKUP: self._look_up, Op.GETATTR: self._attributes, Op.SETATTR: self._set_attributes,
            Op.READDIR: self._list, Op.READ: self._read,
        }  # fmt: skip
        self._asked = Asked(self._mounted, fly_places.KEYS, serve, _heard)
        self._made: dict[str, Callable[[str, bytes], Awaitable[bytes]]] = {
            "encr": uses.encrypt, "decr": uses.decrypt, "sign": uses.sign, "verify": uses.verify,
        }  # fmt: skip

    def ensure_open(self) -> None:
        """Be there. Without /dev/fuse containers have none, which is logged."""
        if self._mounted.is_open:
            return
        if _PERMISSIONS in self._link.inherited:
            fd = self._link.take(_PERMISSIONS)
            self._given = document.read(fd, Given).permissions
            os.close(fd)
        self._mounted.open()

    def close(self) -> None:
        """Leave the mount to the next agent, which is asked again what is not answered yet."""
        self._mounted.close()

    # ---- the thread

    def _answer(self, request: Request) -> bytes | None:
        if request.op == Op.GETATTR and request.node == proto.ROOT:
            return proto.attributes_answer(self._node(tree.ROOT))  # who mounts it looks at it
        match request.op:
            case Op.OPEN:
                return proto.open_answer(direct=True, handle=self._exchanges.open())
            case Op.WRITE:
                return self._write(request)
            case Op.RELEASE:
                self._exchanges.close(proto.parse_handle(request.body))
                return b""
        self._asked.take(request)
        return None

    def _write(self, request: Request) -> bytes:
        offset, size = proto.parse_io(request.body)
        data = bytes(request.body[proto.WRITE_HEADER_BYTES - proto.HEADER.size :][:size])
        exchange = self._exchanges.find(proto.parse_handle(request.body))
        self._exchanges.require_room(size)
        exchange.write(offset, data)
        return proto.write_answer(size)

    # ---- the loop

    async def _tree(self) -> Tree:
        """Which keys there are; who comes while the host is asked hears the same."""
        if time.monotonic() - self._known_s >= KNOWN_S:
            if self._listing is None or self._listing.done():
                self._listing = asyncio.create_task(self._list_keys(), name="list secret keys")
            await asyncio.shield(self._listing)
        return self._known

    async def _list_keys(self) -> None:
        """None where the host says that this machine is of no app."""
        try:
            keys = (await self._uses.list_keys()).secret_keys
        except (errors.NotFound, errors.StateError):
            keys = []
        self._known, self._known_s = Tree(keys), time.monotonic()

    async def _path(self, node: int) -> str:
        """ENOENT for what has gone."""
        path = self._known.path(node)
        if path is None:
            path = (await self._tree()).path(node)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return path

    def _node(self, path: str) -> Node:
        return tree.node(path, self._given)

    async def _look_up(self, request: Request) -> bytes:
        parent = await self._path(request.node)
        known = await self._tree() if parent == tree.ROOT else self._known
        return proto.entry_answer(self._node(known.child(parent, proto.parse_name(request.body))))

    async def _attributes(self, request: Request) -> bytes:
        return proto.attributes_answer(self._node(await self._path(request.node)))

    async def _set_attributes(self, request: Request) -> bytes:
        """Who may is the kernel's to say. Sizes and times are nothing here."""
        path = await self._path(request.node)
        mode, uid, gid = self._node(path).owner
        wanted = proto.parse_setattr(request.body)
        changed = Permissions(
            stat.S_IMODE(mode if wanted.mode is None else wanted.mode) & 0o777,
            uid if wanted.uid is None else wanted.uid,
            gid if wanted.gid is None else wanted.gid,
        )
        if changed != Permissions(stat.S_IMODE(mode), uid, gid):
            given = {**self._given, path: changed}
            document.write(self._link, _PERMISSIONS, Given(given))
            self._given = given
        return proto.attributes_answer(self._node(path))

    async def _list(self, request: Request) -> bytes:
        path = await self._path(request.node)
        known = await self._tree() if path == tree.ROOT else self._known
        entries = [(name, self._node(known.child(path, name))) for name in known.entries(path)]
        return proto.directory_entries(entries, *proto.parse_io(request.body))

    async def _read(self, request: Request) -> bytes:
        """Nothing, of a file to which nothing was written: who looks through all files asks for nothing."""
        offset, size = proto.parse_io(request.body)
        exchange = self._exchanges.find(proto.parse_handle(request.body))
        key, _, file = (await self._path(request.node)).partition("/")
        if file == tree.INFO:
            return (await self._tree()).info(key)[offset:][:size]
        exchange.require_whole()
        if not exchange.text:
            return b""
        if exchange.made is None:
            async with self._turns:
                if exchange.made is None:  # another read of it may have come first
                    exchange.took(offset, await self._made[file](key, bytes(exchange.text)))
        return exchange.read(offset, size)


def _heard(error: errors.PilotError) -> int:
    return _HEARD.get(faults.fault_of(error).status, errno.EIO)
