"""fs/watch: changes of files as messages, by inotify in the world's view.

    c → s  {"type":"subscribe","paths":[…],"recursive":bool,"workingDir":…}     any number of times
    s → c  {"type":"subscribed","paths":[…]}   {"type":"event",…}   {"type":"error","message":…}

A recursive watch covers directories that appear later. When events come faster than the kernel keeps them, an error
message says so: the client must look again. Nothing is silently missed.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import posixpath

import msgspec

from .. import errors
from ..kernel import inotify
from ..kernel.inotify import Mask
from ..server.call import Call, WebSocket
from ..wire import faults, schema, websocket
from . import rootfs
from .session import readable
from .world import World

MAX_WATCHES = 8192
_MASK = (
    Mask.CLOSE_WRITE | Mask.MODIFY | Mask.ATTRIB | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
    | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.EXCL_UNLINK
)  # fmt: skip
_NAMES = (
    (Mask.CREATE | Mask.MOVED_TO, "create"),
    (Mask.DELETE | Mask.DELETE_SELF, "remove"),
    (Mask.MOVED_FROM | Mask.MOVE_SELF, "rename"),
    (Mask.ATTRIB, "chmod"),
    (Mask.MODIFY | Mask.CLOSE_WRITE, "write"),
)
_encode = msgspec.json.Encoder().encode


def event_name(mask: Mask) -> str | None:
    """inotify's bits → the API's word; None for what clients are not told."""
    return next((name for bits, name in _NAMES if mask & bits), None)


class FsWatch:
    """Watches of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def watch(self, call: Call) -> None:
        """GET (WebSocket) /v1/fs/watch."""
        root = self._world.root()
        socket = await call.accept_websocket()
        with _Watches(root) as watches:
            tasks = [
                asyncio.create_task(_read(socket, watches), name="watch reader"),
                asyncio.create_task(_write(socket, watches), name="watch writer"),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                # A client that went away is how this ends.
                await asyncio.gather(*tasks, return_exceptions=True)


class _Watches:
    """The watches of one client; owns the inotify descriptor."""

    def __init__(self, root: rootfs.Root) -> None:
        self._root = root
        self.fd = inotify.create()
        self._paths: dict[int, str] = {}
        self._recursive: set[int] = set()

    def __enter__(self) -> _Watches:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def add(self, path: str, *, recursive: bool) -> None:
        """Watch `path`, and with `recursive` the directories below it. `OSError`, `Exhausted`."""
        if len(self._paths) >= MAX_WATCHES:
            raise faults.Exhausted(f"watch {path}: {MAX_WATCHES} watches are set already")
        with self._root.opened(path, os.O_PATH) as fd:
            watch = inotify.add_watch(self.fd, fd, _MASK)
            self._paths[watch] = path
            if not recursive:
                return
            self._recursive.add(watch)
        try:
            with self._root.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd, os.scandir(fd) as entries:
                names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        except NotADirectoryError:
            return
        for name in names:
            try:
                self.add(posixpath.join(path, name), recursive=True)
            except FileNotFoundError:
                continue  # deleted meanwhile

    def read(self) -> list[schema.WatchEvent]:
        """What has happened since the last call; never waits."""
        try:
            data = os.read(self.fd, inotify.READ_BYTES)
        except BlockingIOError:
            return []
        found = [self._event(event) for event in inotify.parse_events(data)]
        return [event for event in found if event is not None]

    def _event(self, event: inotify.Event) -> schema.WatchEvent | None:
        if event.mask & Mask.Q_OVERFLOW:
            return schema.WatchEvent(type="error", message="events were lost: too many at once; look again")
        if event.mask & Mask.IGNORED:
            self._paths.pop(event.watch, None)
            self._recursive.discard(event.watch)
            return None
        base, name = self._paths.get(event.watch), event_name(event.mask)
        if base is None or name is None:
            return None
        path = posixpath.join(base, event.name) if event.name else base
        is_dir = bool(event.mask & Mask.ISDIR)
        if is_dir and name == "create" and event.watch in self._recursive:
            self._follow(path)
        return schema.WatchEvent(
            type="event", path=path, event=name, timestamp=_now(), size=self._size(path), is_dir=is_dir
        )

    def _follow(self, path: str) -> None:
        try:
            self.add(path, recursive=True)
        except (OSError, faults.Exhausted):
            pass  # it has gone again, or the limit is reached; the directory itself was reported

    def _size(self, path: str) -> int:
        try:
            with self._root.opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
                return os.fstat(fd).st_size
        except OSError:
            return 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _read(socket: WebSocket, watches: _Watches) -> None:
    while not isinstance(message := await socket.receive(), websocket.Closed):
        await socket.send(_encode(_subscribe(message, watches)).decode())


def _subscribe(message: str | bytes, watches: _Watches) -> schema.WatchEvent:
    try:
        request = msgspec.json.decode(message, type=schema.WatchRequest)
        if request.type != "subscribe":
            raise faults.InvalidRequest(f"unknown message {request.type!r}")
        paths = [rootfs.clean(path, request.working_dir) for path in request.paths]
        for path in paths:
            watches.add(path, recursive=request.recursive)
    except (msgspec.MsgspecError, errors.PilotError, OSError) as error:
        return schema.WatchEvent(type="error", message=str(error))
    return schema.WatchEvent(type="subscribed", paths=paths)


async def _write(socket: WebSocket, watches: _Watches) -> None:
    while True:
        await readable(watches.fd)
        for event in watches.read():
            await socket.send(_encode(event).decode())
