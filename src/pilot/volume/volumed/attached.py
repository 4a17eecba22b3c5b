"""Which disks are attached, and where an operation of a disk runs: in its worker, or here, when nobody has it attached.

Opened and closed under the volume's lock (`shelf.one`); the watchdog looks at all of them without it, so it meets disks
that are just going.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent import futures

from ... import errors
from ...ids import VolumeId
from .. import crashpoint
from ..disk import room
from ..requests.base import A, Request
from ..serving import worker, zygote
from . import attachment, keeper
from .durable import Durable
from .shelf import Shelf

_log = logging.getLogger(__name__)
_WATCH_INTERVAL_S = 2.0


class Attached:
    """See the module."""

    def __init__(self, shelf: Shelf, spawner: zygote.Zygote) -> None:
        self._shelf = shelf
        self._zygote = spawner
        self._attached: dict[str, attachment.Attachment] = {}
        self._keeper = keeper.Keeper(shelf.directory)

    @property
    def keeper_pid(self) -> int | None:
        """Of the process that keeps the descriptors of attached disks, while there is one."""
        return self._keeper.pid

    def get(self, disk_id: str) -> attachment.Attachment | None:
        """The attached disk; None when it is not."""
        return self._attached.get(disk_id)

    def all(self) -> Sequence[attachment.Attachment]:
        """Every disk that is attached now."""
        return list(self._attached.values())

    def has(self, disk_id: str) -> bool:
        """Whether the disk is attached."""
        return disk_id in self._attached

    def check_detached(self, volume: VolumeId, verb: str) -> str:
        """The disk of a volume that is not attached; StateError."""
        disk_id = self._shelf.disk_of(volume)
        if disk_id in self._attached:
            raise errors.StateError(f"{verb} volume {volume}: it is attached", hint="detach it first")
        return disk_id

    def check_unmounted(self, volume: VolumeId, disk_id: str, verb: str) -> attachment.Attachment | None:
        """The attached disk, if it is, as long as this host's kernel has not mounted it; StateError."""
        found = self._attached.get(disk_id)
        if found is not None and found.is_mounted:
            raise errors.StateError(f"{verb} volume {volume}: it is mounted", hint="detach it first")
        return found

    def open(self, volume: VolumeId, disk_id: str, durable: Durable) -> attachment.Attachment:
        """Attach it; undone as a whole when it fails, or when another host has the volume."""
        durable.bind(volume, disk_id)
        opened = self._attachment(volume, disk_id)
        with futures.ThreadPoolExecutor(1, "check-holder") as pool:  # the store is asked while the worker starts
            checked = pool.submit(durable.check_holder, volume, disk_id)
            opened.open()
            try:
                checked.result()
            except BaseException:
                opened.close()
                raise
        crashpoint.reach("attach: opened")
        self._attached[disk_id] = opened
        return opened

    def _attachment(self, volume: VolumeId, disk_id: str) -> attachment.Attachment:
        lineage = self._shelf.lineage(self._shelf.facts(disk_id))
        return attachment.Attachment(volume, self._shelf.path(disk_id), lineage, self._zygote, self._keeper)

    def close(self, disk_id: str) -> None:
        """Detach it."""
        try:
            self._attached[disk_id].close()
        finally:
            del self._attached[disk_id]  # until then the watchdog looks after it
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._shelf.path(disk_id), worker.SOCKET))

    def close_all(self) -> None:
        """Detach everything."""
        for disk_id in list(self._attached):
            self.close(disk_id)
        self._keeper.close()

    def call(self, durable: Durable, disk_id: str, request: Request[A]) -> A:
        """Have it done where the disk is open: in its worker, or here."""
        if (found := self._attached.get(disk_id)) is not None:
            return found.call(request)
        with durable.opened(disk_id) as opened:
            return worker.operate(opened, request)

    # ---- after a restart, and for ever

    def adopt_all(self) -> None:
        """Take back the disks whose workers, or keeper, outlived the last volumed."""
        for disk_id, volume in self._shelf.named().items():
            if os.path.exists(os.path.join(self._shelf.path(disk_id), worker.SOCKET)):
                try:
                    self._adopt(volume, disk_id)
                except errors.HostError as error:
                    # Its worker, if it lives, goes on with what it has read; it ends with its FUSE connection.
                    _log.error("volume %s: it was attached, and cannot be taken back: %s", volume, error)
        self._keeper.settle()

    def _adopt(self, volume: VolumeId, disk_id: str) -> None:
        found = self._attachment(volume, disk_id)
        if found.adopt(is_new=not self._shelf.facts(disk_id).formatted):
            self._attached[disk_id] = found
            _log.info("volume %s: it is still attached", volume)
        else:
            _log.warning("volume %s: it was attached, and nobody holds that any more: attach it again", volume)

    def watch(self, stop: threading.Event) -> None:
        """Look after the attached disks until told to stop (`watchdog`)."""
        while not stop.wait(_WATCH_INTERVAL_S):
            self.keep_reserve()
            self._keeper.ensure()
            for attached in list(self._attached.values()):
                try:
                    attached.watch(time.monotonic())
                except OSError as error:
                    # Detached meanwhile, or its connection is gone: there is nothing to watch any more.
                    _log.debug("watch %s: %s", attached.volume, error)

    def renew(self, stop: threading.Event) -> None:
        """Replace the workers of another build, which an earlier volumed has started: one disk after the other, so that
        what is wrong with the new build shows on one of them."""
        for disk_id, found in list(self._attached.items()):
            if stop.is_set():
                return
            try:
                if not found.renew():
                    _log.error("volume %s: its worker stays of another build, and so do those after it", found.volume)
                    return
            except (errors.PilotError, OSError) as error:
                _log.warning("volume %s: renew its worker: %s", self._shelf.path(disk_id), error)  # detached meanwhile

    def keep_reserve(self) -> None:
        """Make the reserve for maps again, if it was given up and there is room."""
        try:
            room.keep_reserve(self._shelf.directory)
        except OSError as error:
            _log.warning("keep room for maps: %s", error)  # the disk has just become full; tried again
