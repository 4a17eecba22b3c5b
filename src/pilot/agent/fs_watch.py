"""fs/watch: changes of files as messages, by inotify in the world's view.

    c → s  {"type":"subscribe","paths":[…],"recursive":bool,"workingDir":…}     any number of times
    s → c  {"type":"subscribed","paths":[…]}   {"type":"event",…}   {"type":"error","message":…}

A recursive watch covers directories that appear later, and what was made in them before they could be watched: a child
sets the watch and then looks (`files.watching`); what is found is told as created, and the event that tells it a second
time is left out. When events come faster than the kernel keeps them an error message says so: the client must look
again; what is watched is complete again after it. Nothing is silently missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import posixpath

import msgspec

from .. import errors
from ..kernel import inotify
from ..kernel.inotify import Mask
from ..server.call import Call, WebSocket
from ..server.routing import Route
from ..wire import faults, operations, schema, timestamps, websocket
from . import rootfs
from .files import messages, text
from .files.pool import Pool, Reply
from .readiness import readable
from .world import World

MAX_WATCHES = 8192
_NAMES = (
    (Mask.CREATE | Mask.MOVED_TO, "create"),
    (Mask.DELETE | Mask.DELETE_SELF, "remove"),
    (Mask.MOVED_FROM | Mask.MOVE_SELF, "rename"),
    (Mask.ATTRIB, "chmod"),
    (Mask.MODIFY | Mask.CLOSE_WRITE, "write"),
)
_LOST = "events were lost: too many at once; look again"
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class _Rows(msgspec.Struct, frozen=True):
    watched: list[messages.Watched]


_rows = msgspec.json.Decoder(_Rows)


def event_name(mask: Mask) -> str | None:
    """inotify's bits → the API's word; None for what clients are not told."""
    return next((name for bits, name in _NAMES if mask & bits), None)


class FsWatch:
    """Watches of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route(operations.WATCH_FILES, self.watch),
        ]

    async def watch(self, call: Call) -> None:
        """GET (WebSocket) /v1/fs/watch."""
        pool = self._world.files()
        socket = await call.accept_websocket()
        watches = Watches(pool)
        tasks = [
            asyncio.create_task(_read(socket, watches), name="watch reader"),
            asyncio.create_task(_write(socket, watches), name="watch writer"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                # A client that went away is how this ends.
                if isinstance(result, Exception) and not isinstance(result, errors.PeerError):
                    _log.error("fs/watch: %r", result)
            watches.close()


class Watches:
    """The watches of one client; owns the inotify descriptor, which a child makes with the first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._fd = -1
        self._lock = asyncio.Lock()  # one request to a child at a time: each must know how much room is left
        self._paths: dict[int, str] = {}
        self._recursive: set[int] = set()
        self._roots: list[str] = []
        self._told: set[str] = set()  # found by looking, while events that say the same may still be queued
        self.ready = asyncio.Event()

    @property
    def fd(self) -> int:
        """Once `ready`."""
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def subscribe(self, request: schema.WatchRequest) -> None:
        """Watch these paths, and with `recursive` the directories below them. `OSError`, `Unavailable`."""
        await self._set(request.paths, request.working_dir, recursive=request.recursive)
        if request.recursive:
            self._roots += [posixpath.join(request.working_dir or "/", path) for path in request.paths]

    async def read(self) -> list[schema.WatchEvent] | None:
        """What has happened since the last call; None when that was all. Never waits for more."""
        try:
            data = os.read(self._fd, inotify.READ_BYTES)
        except BlockingIOError:
            # Nothing that is queued can repeat what was found.
            self._told.clear()
            return None
        found: list[schema.WatchEvent] = []
        for event in inotify.parse_events(data):
            found += await self._event(event)
        return await self._with_sizes(found)

    async def _event(self, event: inotify.Event) -> list[schema.WatchEvent]:
        if event.mask & Mask.Q_OVERFLOW:
            return [schema.WatchEvent(type="error", message=_LOST), *await self._watch_again()]
        if event.mask & Mask.IGNORED:
            self._paths.pop(event.watch, None)
            self._recursive.discard(event.watch)
            return []
        base, name = self._paths.get(event.watch), event_name(event.mask)
        if base is None or name is None:
            return []
        path = posixpath.join(base, text.tell(event.name)) if event.name else base
        is_dir = bool(event.mask & Mask.ISDIR)
        if name != "create":
            if name in ("remove", "rename"):
                self._told.discard(path)
            return [_changed(path, name, is_dir)]
        own = [] if path in self._told else [_changed(path, name, is_dir)]
        self._told.discard(path)
        if own and is_dir and event.watch in self._recursive:
            return own + await self._follow(path)
        return own

    async def _follow(self, path: str) -> list[schema.WatchEvent]:
        """A directory that has appeared: watched, and what is in it already, told as created."""
        try:
            found = await self._set([path], "/", recursive=True, tell_found=True)
        except (FileNotFoundError, NotADirectoryError):
            return []  # it has gone again, which the directory above tells
        except (OSError, errors.PilotError) as error:
            return [schema.WatchEvent(type="error", message=f"{path}: not watched: {error}")]
        self._told.update(row.path for row in found)
        return [_changed(row.path, "create", row.is_dir) for row in found]

    async def _watch_again(self) -> list[schema.WatchEvent]:
        """After an overflow: directories whose making was not told are watched, too."""
        try:
            await self._set(list(dict.fromkeys(self._roots)), "/", recursive=True)
        except (OSError, errors.PilotError) as error:
            return [schema.WatchEvent(type="error", message=f"not everything is watched: {error}")]
        return []

    async def _set(
        self, paths: list[str], working_dir: str, *, recursive: bool, tell_found: bool = False
    ) -> list[messages.Watched]:
        """Entries that were found (with `tell_found`)."""
        async with self._lock:
            room = MAX_WATCHES - len(self._paths)
            request = messages.Watch(
                paths=paths, working_dir=working_dir, recursive=recursive, room=room, tell_found=tell_found
            )
            with await self._pool.call(request, None if self._fd < 0 else self._fd) as reply:
                rows = await asyncio.to_thread(_read_rows, reply)
                if self._fd < 0:
                    self._fd = reply.take()
        found = []
        for row in rows:
            if row.watch == 0:
                found.append(row)
                continue
            self._paths[row.watch] = row.path
            if recursive:
                self._recursive.add(row.watch)
        self.ready.set()
        return found

    async def _with_sizes(self, events: list[schema.WatchEvent]) -> list[schema.WatchEvent]:
        """Sizes as they are now, asked for all at once."""
        paths = [event.path for event in events if event.path is not None and event.event != "remove"]
        if not paths:
            return events
        unique = list(dict.fromkeys(paths))
        sizes: dict[str, int] = {}
        for start in range(0, len(unique), _SIZES_AT_ONCE):
            some = unique[start : start + _SIZES_AT_ONCE]
            with await self._pool.call(messages.Sizes(paths=some)) as reply:
                sizes |= dict(zip(some, reply.answer.sizes, strict=True))
        return [
            event if event.path is None else msgspec.structs.replace(event, size=sizes.get(event.path, 0))
            for event in events
        ]


_SIZES_AT_ONCE = 8  # paths may be 4 KiB long, and a packet 128


def _read_rows(reply: Reply) -> list[messages.Watched]:
    with open(reply.take(), "rb") as file:
        file.seek(0)
        return _rows.decode(file.read()).watched


def _changed(path: str, name: str, is_dir: bool) -> schema.WatchEvent:
    return schema.WatchEvent(type="event", path=path, event=name, timestamp=timestamps.now(), size=0, is_dir=is_dir)


async def _read(socket: WebSocket, watches: Watches) -> None:
    while not isinstance(message := await socket.receive(), websocket.Closed):
        await socket.send(_encode(await _subscribe(message, watches)).decode())


async def _subscribe(message: str | bytes, watches: Watches) -> schema.WatchEvent:
    try:
        request = msgspec.json.decode(message, type=schema.WatchRequest)
        if request.type != "subscribe":
            raise faults.InvalidRequest(f"unknown message {request.type!r}")
        await watches.subscribe(request)
    except (errors.PilotError, OSError, *errors.UNREADABLE) as error:
        return schema.WatchEvent(type="error", message=str(error))
    paths = [rootfs.clean(path, request.working_dir) for path in request.paths]
    return schema.WatchEvent(type="subscribed", paths=paths)


async def _write(socket: WebSocket, watches: Watches) -> None:
    await watches.ready.wait()
    while True:
        await readable(watches.fd)
        while (events := await watches.read()) is not None:
            for event in events:
                await socket.send(_encode(event).decode())
