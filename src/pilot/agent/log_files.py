"""/.sprite/logs: what services have said and what has happened in the machine, as files for everybody inside to read.

    services/NAME.log       lines `TIME text`, of stderr `TIME [stderr] text`; the last MOST_BYTES of them
    events.ndjson           the machine's events, a document a line

One mount (<run>/logs, `agent.mounted`). A file is as it was when it was opened: its text is made then (`log_text`), of
what the agent keeps anyhow, and is held until it is closed: MOST_HELD_BYTES of all together. One is made at a time, in
a thread and in pieces, between which the agent does what else there is. Numbers of nodes follow from services, so that
a new agent knows those of the one before; a file that it has not opened itself is to be opened anew (ESTALE).
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os

import msgspec

from .. import errors
from ..kernel import fuse as proto
from ..kernel import mounts
from ..kernel.fuse import Node, Op
from ..wire import faults
from .asked import Asked
from .events import Events
from .graph.log import Log
from .log_text import LogText
from .machine import Link
from .mounted import Mounted, Place, Request
from .services.keeper import Keeper

PLACE = "/.sprite/logs"
STORE_NAME = "agent/logs"
MOST_OPEN = 16
MOST_HELD_BYTES = 8 << 20
_SERVICES, _EVENTS, _FIRST = 2, 3, 16
_EVENTS_NAME, _SERVICES_NAME, _SUFFIX = "events.ndjson", "services", ".log"
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC | mounts.Attribute.RDONLY
_log = logging.getLogger(__name__)


class LogFiles:
    """Make it on the running loop. Where it cannot be served worlds have none of it."""

    def __init__(self, link: Link, run: str, keeper: Keeper, events: Events) -> None:
        self._keeper = keeper
        self._events = events
        self.directory = os.path.join(run, "logs")
        place = Place("logs", STORE_NAME, self.directory, "no logs inside", _ATTRIBUTES)
        self._mounted = Mounted(link, place, self._answer)
        self.open, self.close = self._mounted.open, self._mounted.close
        # Files that a former agent opened have its numbers: ours begin elsewhere.
        self._handles = itertools.count(int.from_bytes(os.urandom(8), "little") >> 2)
        self._texts: dict[int, bytes] = {}
        self._making = asyncio.Lock()
        serve = {
            Op.LOOKUP: self._look_up, Op.READDIR: self._list, Op.OPEN: self._open,
        }  # fmt: skip
        self._asked = Asked(self._mounted, PLACE, serve, _heard)

    def binds(self) -> list[tuple[str, str, bool]]:
        """As `inside.places.binds`."""
        return [(self.directory, PLACE, False)] if self._mounted.is_open else []

    # ---- the thread

    def _answer(self, request: Request) -> bytes | None:
        match request.op:
            case Op.GETATTR:
                return proto.attributes_answer(_node(request.node))
            case Op.READ:
                return self._read(request)
            case Op.RELEASE:
                self._texts.pop(proto.parse_handle(request.body), None)
                return b""
        self._asked.take(request)
        return None

    def _read(self, request: Request) -> bytes:
        text = self._texts.get(proto.parse_handle(request.body))
        if text is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        offset, size = proto.parse_io(request.body)
        return text[offset:][:size]

    # ---- the loop

    async def _entries(self, node: int) -> dict[str, Node]:
        if node == proto.ROOT:
            return {_SERVICES_NAME: _node(_SERVICES), _EVENTS_NAME: _node(_EVENTS)}
        services = (await self._keeper.book()).services if node == _SERVICES else {}
        return {f"{name}{_SUFFIX}": _node(_FIRST + services[name].number) for name in sorted(services)}

    async def _look_up(self, request: Request) -> bytes:
        found = (await self._entries(request.node)).get(proto.parse_name(request.body))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return proto.entry_answer(found)

    async def _list(self, request: Request) -> bytes:
        entries = list((await self._entries(request.node)).items())
        return proto.directory_entries(entries, *proto.parse_io(request.body))

    async def _open(self, request: Request) -> bytes:
        if len(self._texts) >= MOST_OPEN:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        handle = next(self._handles)
        self._texts[handle] = b""  # its place, while the text is made
        try:
            async with self._making:
                text = await self._text(request.node)
            if sum(map(len, list(self._texts.values()))) + len(text) > MOST_HELD_BYTES:
                raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
            self._texts[handle] = text
        except BaseException:
            self._texts.pop(handle, None)
            raise
        return proto.open_answer(direct=True, seekable=False, handle=handle)

    async def _text(self, node: int) -> bytes:
        if node == _EVENTS:
            return b"".join(msgspec.json.encode(each) + b"\n" for each in self._events.since(0))
        entries = (await self._keeper.book()).services.values()
        entry = next((each for each in entries if _FIRST + each.number == node), None)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return await _text_of(self._keeper.supervisor.log(entry.container))


async def _text_of(log: Log) -> bytes:
    """As far as it goes now, however fast it grows."""
    text, place, sizes = LogText(), log.place(), log.sizes()
    while any(place.offsets[stream] < size for stream, size in sizes.items()) and (pieces := log.read(place)):
        await asyncio.to_thread(text.add, pieces)
    return await asyncio.to_thread(text.end)


def _node(number: int) -> Node:
    return Node(number, 0, number in (proto.ROOT, _SERVICES), False, is_public=True)


def _heard(error: errors.PilotError) -> int:
    if isinstance(error, faults.WorldNotRunning):
        return errno.EAGAIN
    if isinstance(error, errors.NotFound):
        return errno.ENOENT
    _log.warning("%s: %s", PLACE, errors.told(error))
    return errno.EIO
