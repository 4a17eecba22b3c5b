"""What of a host's volumes has to come into its object store: they are bound to it, published, and sent to their end.

    bind      a volume that is attached, or made before there was a store, gets it now
    publish   the same for a detached one, after the ancestors that it reads
    send      what detached disks have and the store has not, in the background; whoever wants the disk goes first

Thread-safe: each disk under its volume's lock (`shelf`). `is_attached` says whether a worker has the disk.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...ids import VolumeId
from .. import crashpoint
from ..disk import disk
from ..facts import Facts
from .shelf import Shelf

if TYPE_CHECKING:  # it loads what speaks to stores
    from ..remote.live import depot

_log = logging.getLogger(__name__)
_LOOK_INTERVAL_S = 2.0
_DRAIN_TIMEOUT_S = 10.0
_NOT_YET = "it was made before there was a store"


class Durable:
    """See the module."""

    def __init__(self, shelf: Shelf, store: depot.Depot | None, is_attached: Callable[[str], bool]) -> None:
        self._shelf = shelf
        self._store = store
        self._is_attached = is_attached
        self._behind: set[VolumeId] = set()  # detached, and not all of it in the store
        self._unpublished: dict[VolumeId, str] = {}  # why the store has nothing of these

    def store_of(self, disk_id: str) -> depot.Depot | None:
        """The store that the disk is in, and that we write."""
        facts = self._shelf.facts(disk_id)
        ours = self._store is not None and facts.local.store == self._store.url
        return self._store if ours and not facts.local.foreign else None

    def why_not(self, volume: VolumeId) -> str | None:
        """Why the host's store has nothing of a volume that is in none; None without a store."""
        return self._unpublished.get(volume, _NOT_YET) if self._store is not None else None

    def fall_behind(self, volume: VolumeId) -> None:
        """It is detached now, and may have what the store has not."""
        self._behind.add(volume)

    @contextlib.contextmanager
    def opened(self, disk_id: str, wanted: Callable[[], bool] | None = None) -> Iterator[disk.Disk]:
        """A disk that is not attached, open for one operation; the store has what came of it, if it answers. With
        `wanted` that may take as long as it takes, until somebody wants the disk."""
        lineage = self._shelf.lineage(self._shelf.facts(disk_id))
        opened = disk.Disk(self._shelf.path(disk_id), lineage)
        try:
            yield opened
            store = self.store_of(disk_id) if opened.debt.dirty.is_set() else None
            if store is not None and not store.drain(opened, lineage, _DRAIN_TIMEOUT_S, wanted=wanted):
                _log.warning("disk %s: not all of it is in %s yet", disk_id, store.url)
        finally:
            opened.close()

    # ---- births and deaths

    def register(self, volume: VolumeId, disk_id: str, facts: Facts) -> Facts:
        """Facts of a new disk, which the store, if there is one, knows from now on."""
        if self._store is None:
            return facts
        tie = self._store.register(volume, disk_id, facts.size_bytes, facts.lineage)
        crashpoint.reach("create: registered")
        return facts.tied(tie)

    def unname(self, volume: VolumeId, disk_id: str) -> None:
        """The volume is about to die: its name in the store goes first."""
        try:
            store = self.store_of(disk_id)
        except errors.HostError as error:
            # Whether it is in a store is not known: here it goes all the same, there it is left to who can tell.
            _log.warning("delete volume %s: %s: what a store has of it stays there", volume, error)
            self._shelf.mark_deleted(disk_id)
            return
        if store is not None:
            store.unname(disk_id, self._shelf.facts(disk_id).local.holder)
            self._shelf.mark_deleted(disk_id)

    def check_holder(self, volume: VolumeId, disk_id: str) -> None:
        """StateError when another host has the volume, as far as its store answers."""
        if (store := self.store_of(disk_id)) is not None:
            store.check_holder(volume, disk_id, self._shelf.facts(disk_id).local.holder)

    # ---- into the store

    def bind(self, volume: VolumeId, disk_id: str) -> None:
        """A volume that was made before there was a store gets it now; it is about to be attached."""
        facts, store = self._shelf.facts(disk_id), self._store
        if store is None or facts.local.store not in (None, store.url):
            return  # its own store, if it has one, is that of its facts
        if facts.local.store is not None:
            self._limit(disk_id, facts, store.cache_bytes)
            return
        try:
            store.check_free(volume, disk_id)
            self._enlist(volume, disk_id, store)
        except errors.PilotError as error:  # it is used all the same, and `list` says that it is not durable
            _log.warning("publish volume %s: %s", volume, error)
            self._unpublished[volume] = str(error)

    def _limit(self, disk_id: str, facts: Facts, cache_bytes: int | None) -> None:
        if cache_bytes not in (None, facts.local.cache_bytes):
            with self.opened(disk_id) as opened:
                opened.change_facts(lambda known: known.replace_local(cache_bytes=cache_bytes))

    def _publish(self, volume: VolumeId) -> None:
        """A volume that was made before there was a store comes into it, after the ancestors that it reads. StateError
        while one of them is attached: its worker knows of no store."""
        disk_id = self._shelf.disk_of(volume)
        facts = self._shelf.facts(disk_id)
        if self._store is None or facts.local.store is not None:
            return
        self._store.check_free(volume, disk_id)
        named = self._shelf.named()
        for one in (*facts.lineage, disk_id):
            with self._shelf.one(named.get(one, VolumeId(one))):
                self._enlist(named.get(one), one, self._store)

    def _enlist(self, volume: VolumeId | None, disk_id: str, store: depot.Depot) -> None:
        """A disk comes into the store: HEAD there, facts here; its content is sent by whoever opens it next."""
        facts, lineage = self._shelf.facts(disk_id), self._facts_of_lineage(disk_id)
        what = f"volume {volume}" if volume else f"disk {disk_id}"
        for known in (*lineage, facts):
            if known.local.store not in (None, store.url):
                raise errors.StateError(f"publish {what}: it is of another store, {known.local.store}")
        if facts.local.store is not None:
            return
        if self._is_attached(disk_id):
            raise errors.StateError(f"publish {what}: it is attached since before there was a store", hint="detach it")
        if any(known.local.store is None for known in lineage):
            raise errors.StateError(f"publish {what}: one that it was forked from is not published yet")
        tie = store.enlist(volume, disk_id, facts.size_bytes, facts.lineage)
        crashpoint.reach("publish: registered")
        # By a disk that knows of no store yet: it must not send what it has not counted.
        with contextlib.closing(disk.Disk(self._shelf.path(disk_id), self._shelf.lineage(facts))) as opened:
            opened.change_facts(lambda known: known.tied(tie))

    def _facts_of_lineage(self, disk_id: str) -> Sequence[Facts]:
        return [self._shelf.facts(ancestor) for ancestor in self._shelf.facts(disk_id).lineage]

    # ---- the background

    def keep_durable(self, stop: threading.Event) -> None:
        """Send what detached volumes have and the store has not, until told to stop."""
        self._behind.update(self._shelf.volumes())
        while not stop.wait(_LOOK_INTERVAL_S):
            for volume in list(self._behind):
                self._behind.discard(volume)
                try:
                    self._publish(volume)
                    self._send_rest(volume, stop)
                except (errors.PilotError, OSError) as error:
                    _log.warning("volume %s: %s", volume, error)
                    self._unpublished[volume] = str(error)
                    if isinstance(error, errors.PeerError):  # later, perhaps
                        self._behind.add(volume)

    def _send_rest(self, volume: VolumeId, stop: threading.Event) -> None:
        """Send what the store has not of a volume and of its ancestors, unless somebody has them attached."""
        named: Mapping[str, VolumeId] = self._shelf.named()
        disk_id = self._shelf.disk_of(volume)
        for one in (*self._shelf.facts(disk_id).lineage, disk_id):
            name = named.get(one, VolumeId(one))
            with self._shelf.one(name):
                if self._is_attached(one) or not self._is_behind(one):
                    continue
                if self._is_ready(one):
                    with self.opened(one, functools.partial(self._is_wanted, name, stop)) as opened:
                        opened.debt.dirty.set()
                if self._is_behind(one):
                    self._behind.add(volume)
                    return

    def _is_wanted(self, volume: VolumeId, stop: threading.Event) -> bool:
        return stop.is_set() or self._shelf.is_waited_for(volume)

    def _is_ready(self, disk_id: str) -> bool:
        """Whether the store has what a disk reads of its ancestors: until then nothing of it can be sent."""
        chain = [*self._shelf.facts(disk_id).lineage, disk_id]
        return all(map(Facts.is_fork_durable, self._facts_of_lineage(disk_id), chain[1:]))

    def _is_behind(self, disk_id: str) -> bool:
        """Whether a disk has what its store has not."""
        if self.store_of(disk_id) is None:
            return False
        with contextlib.closing(self._shelf.meta(disk_id)) as stored:
            # A fork that nobody has written to has no page of its own, and is something new all the same.
            return stored.facts().local.durable_at is None or bool(stored.unsent_pages())
