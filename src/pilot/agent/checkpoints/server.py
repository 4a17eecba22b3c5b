"""The mount behind /.sprite/checkpoints: <run>/checkpoints, served as `agent.mounted` has it.

    vN → /.sprite/saved/vN       who reads the link waits until the checkpoint is mounted there (`shelf`)

Links, because none of our threads may ever look into a mount of ours, which mounting something over a directory of it
would want. Numbers of nodes follow from those of checkpoints, so that a new agent knows those of the one before.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import stat
import time

from ... import errors
from ...kernel import fuse as proto
from ...kernel import mounts
from ...kernel.fuse import Node, Op
from ...wire import faults, operations, outward
from ..asked import Asked
from ..descriptors import Descriptors
from ..machine import Link
from ..mounted import Mounted, Place, Request
from ..outward import Outward
from .shelf import PLACE as SAVED
from .shelf import Shelf, name_of, number_of

PLACE = "/.sprite/checkpoints"
STORE_NAME = "agent/checkpoints"
KEPT_S = 300.0  # mounted for so long at least since somebody asked for it, and as long as somebody is in it
LOOK_S = 60.0
KNOWN_S = 1.0  # for so long the host is not asked again whether one that was there is there
_AT_ONCE = 8  # questions which there are, and as many which are to be mounted; more wait
_LIST_S = operations.QUICK_S / 2
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC | mounts.Attribute.RDONLY
_HEARD = {404: errno.ENOENT, 409: errno.EBUSY, 412: errno.EOPNOTSUPP, 429: errno.EBUSY}
_log = logging.getLogger(__name__)


class Server:
    """Make it on the running loop. Where it cannot be served worlds have none of it."""

    def __init__(self, link: Link, run: str, host: Outward, given: Descriptors) -> None:
        self._host = host
        self._shelf = Shelf(run, given)
        self.directory = os.path.join(run, "checkpoints")
        place = Place("checkpoints", STORE_NAME, self.directory, "no checkpoints inside", _ATTRIBUTES)
        self._mounted = Mounted(link, place, self._answer)
        self._since_s: dict[int, float] = {}  # what is mounted, and when it was asked for; changed on the loop alone
        self._unheard: set[int] = set()  # what is mounted no more, and the host has not heard of
        self._known: list[int] = []
        self._known_s = -math.inf
        self._putting: dict[int, asyncio.Task[None]] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._turns, self._places = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        self._looking: asyncio.Task[None] | None = None
        serve = {
            Op.LOOKUP: self._look_up, Op.READDIR: self._list, Op.READLINK: self._follow,
        }  # fmt: skip
        self._asked = Asked(self._mounted, PLACE, serve, _heard)

    def open(self) -> None:
        """Be there; with what a former agent has mounted."""
        try:
            self._shelf.ensure()
            self._since_s = dict.fromkeys(self._shelf.mounted(), time.monotonic())
            self._unheard = self._shelf.asked() - self._since_s.keys()
        except OSError as error:
            _log.warning("no checkpoints inside: %s", errors.told(error))
            return
        self._mounted.open()
        self._look_later()

    def binds(self) -> list[tuple[str, str, bool]]:
        """From where in the machine, to where in the world, and whether it is written to; of what is there."""
        return [(self.directory, PLACE, False)] if self._mounted.is_open else []

    def enter(self, pid: int) -> None:
        """See `Shelf.enter`; a world does without what fails. Blocks."""
        if not self._mounted.is_open:
            return
        try:
            self._shelf.enter(pid)
        except OSError as error:
            _log.warning("no checkpoints inside: %s", errors.told(error))

    def close(self) -> None:
        """Leave the mount to the next agent, which is asked again what is not answered yet."""
        for task in (self._looking, *self._putting.values()):
            if task is not None:
                task.cancel()
        self._mounted.close()

    # ---- the thread

    def _answer(self, request: Request) -> bytes | None:
        if request.op == Op.GETATTR:
            return proto.attributes_answer(_node(request.node - proto.ROOT))
        self._asked.take(request)
        return None

    # ---- the loop

    async def _numbers(self) -> list[int]:
        """Which may be looked into, as the host has it now."""
        async with self._turns:
            found = (await self._host.call(outward.LIST_OWN_CHECKPOINTS, None, _LIST_S)).checkpoints
        numbers = [number_of(each.id) for each in found[: outward.MOST_SHOWN]]
        self._known = [each for each in numbers if each is not None]
        self._known_s = time.monotonic()
        return self._known

    async def _is_there(self, number: int) -> bool:
        """Of what is mounted, and of what has just been there, the host is not asked."""
        if number in self._since_s or (number in self._known and time.monotonic() - self._known_s < KNOWN_S):
            return True
        return number in await self._numbers()

    async def _look_up(self, request: Request) -> bytes:
        number = number_of(proto.parse_name(request.body))
        if request.node != proto.ROOT or number is None or not await self._is_there(number):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return proto.entry_answer(_node(number))

    async def _list(self, request: Request) -> bytes:
        entries = [(name_of(number), _node(number)) for number in sorted(await self._numbers())]
        return proto.directory_entries(entries, *proto.parse_io(request.body))

    async def _follow(self, request: Request) -> bytes:
        """It is mounted by now."""
        number = request.node - proto.ROOT
        if number in self._since_s:
            self._since_s[number] = time.monotonic()
        else:
            task = self._putting.get(number)
            if task is None:
                task = asyncio.create_task(self._put(number), name=f"show checkpoint {number}")
                self._putting[number] = task
                task.add_done_callback(lambda _: self._putting.pop(number, None))
            await asyncio.shield(task)
        return _target(number).encode()

    async def _put(self, number: int) -> None:
        """Whether or not it comes about, the host is told in the end when it is not needed any more."""
        self._look_later()
        async with self._places, self._turn(number):
            if number in self._since_s:
                return  # it was in use still
            await asyncio.to_thread(self._shelf.ask, number)
            point = name_of(number)
            try:
                shown = await self._host.call(outward.SHOW_CHECKPOINT, None, outward.SHOW_S, checkpoint=point)
                await asyncio.to_thread(self._shelf.put, number, shown.descriptor)
            except Exception:
                self._unheard.add(number)
                raise
            self._unheard.discard(number)
            self._since_s[number] = time.monotonic()

    def _turn(self, number: int) -> asyncio.Lock:
        """One thing at a time is done with each."""
        return self._locks.setdefault(number, asyncio.Lock())

    # ---- what nobody reads any more

    def _look_later(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="hide checkpoints")

    async def _look(self) -> None:
        while True:
            await self.hide_taken()
            if not (self._since_s or self._unheard or self._putting):
                return
            await asyncio.sleep(LOOK_S)
            try:
                await self.take_unused(time.monotonic())
            except (errors.PilotError, OSError) as error:
                _log.warning("checkpoints stay shown: %s", errors.told(error))

    async def take_unused(self, now_s: float) -> None:
        """What is no more among the newest, whoever is in it; of the others those that nobody is in."""
        numbers = await self._numbers()
        for number, since_s in list(self._since_s.items()):
            gone = number not in numbers
            if gone or now_s - since_s >= KEPT_S:
                async with self._turn(number):
                    await self._take(number, though_in_use=gone)

    async def _take(self, number: int, *, though_in_use: bool) -> None:
        """Who asks for it meanwhile waits for what comes of this."""
        since_s = self._since_s.pop(number)
        try:
            taken = await asyncio.to_thread(self._shelf.take, number, though_in_use=though_in_use)
        except OSError as error:
            _log.warning("checkpoint %s stays shown: %s", name_of(number), errors.told(error))
            taken = False
        if taken:
            self._unheard.add(number)
        else:
            self._since_s[number] = since_s

    async def hide_taken(self) -> None:
        """The host is told of what is not mounted any more; what it does not hear is said again the next time."""
        for number in sorted(self._unheard):
            async with self._turn(number):
                if number in self._unheard:  # and was not put meanwhile
                    await self._hide(number)

    async def _hide(self, number: int) -> None:
        self._unheard.add(number)
        try:
            await asyncio.to_thread(self._shelf.drop, number)
            await self._host.call(outward.HIDE_CHECKPOINT, None, outward.SHOW_S, checkpoint=name_of(number))
            await asyncio.to_thread(self._shelf.forget, number)
        except (errors.PilotError, OSError) as error:
            _log.warning("checkpoint %s stays mounted on the host: %s", name_of(number), errors.told(error))
        else:
            self._unheard.discard(number)


def _target(number: int) -> str:
    return os.path.join(SAVED, name_of(number))


def _node(number: int) -> Node:
    """Of a checkpoint's link; 0: of the directory of all."""
    if number == 0:
        return Node(proto.ROOT, 0, True, False)
    return Node(proto.ROOT + number, len(_target(number)), False, False, owned=(stat.S_IFLNK | 0o777, 0, 0))


def _heard(error: errors.PilotError) -> int:
    _log.warning("%s: %s", PLACE, errors.told(error))
    return _HEARD.get(faults.fault_of(error).status, errno.EIO)
