"""The object store of a host, as `volumes` uses it: births, deaths and moves of volumes there.

    born      the source's HEAD: forked ─ HEAD of epoch 0 ─ name ─ then the local directory
              a crash leaves an empty volume in the store
    enlisted  as born, with `forked`; of an older disk, whose content follows
    died      name ─ the local link ─ … ─ never forked: HEAD: gone ─ HEAD deleted ─ the rest
              what was ever forked, and what a crash leaves, is for garbage collection: it asks the HEADs of all hosts
    drained   an open disk is sent to the store as far as that answers

The store is spoken to for the first time when it is needed. What it raises is passed on, so that nothing changes here
that could not be done there; only a disk that is already deleted is not kept because its store is silent.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence

from .... import errors
from ... import names
from ...disk import disk as disks
from ...facts import Durability, Tie
from ..log import head, hold, keys
from ..objects import opening, store
from . import adopt, link

_log = logging.getLogger(__name__)
_CHECK_S = 2.0
_RETRY_S = 10.0
_LOOK_S = 0.1


class Depot:
    """See the module. `durability` "remote": a flush of new volumes waits for the store."""

    def __init__(self, url: str, *, durability: Durability = Durability.LOCAL, cache_bytes: int | None = None) -> None:
        self.url = url
        opening.preload(url)
        self._durability = durability
        self.cache_bytes = cache_bytes

    @functools.cached_property
    def objects(self) -> store.Store:
        """The store."""
        return opening.open_store(self.url)

    def _tie(self, key: str | None) -> Tie:
        """Of a disk that is born here, or bound to this store from now on."""
        return Tie(self.url, self.new_holder(), key, self._durability, self.cache_bytes)

    def new_holder(self) -> str:
        """A name for one copy of one disk on one host."""
        return f"{os.uname().nodename}-{secrets.token_hex(8)}"

    def register(self, volume: str, disk: str, size_bytes: int, lineage: Sequence[str]) -> Tie:
        """A volume is about to be born: its tie; Conflict."""
        key = keys.new_key(disk)
        born = head.Head(disk=disk, volume=volume, size_bytes=size_bytes, lineage=tuple(lineage), key=key, forked=False)
        store.retry(lambda: hold.first_head(self.objects, born), _RETRY_S)
        return self._tie(key)

    def enlist(self, volume: str | None, disk: str, size_bytes: int, lineage: Sequence[str]) -> Tie:
        """A disk that is older than its tie to this store comes into it, under its volume's name if it has one: its
        tie; Conflict when the name or the disk is somebody else's. May be repeated."""
        born = head.Head(
            disk=disk, volume=volume or "", size_bytes=size_bytes, lineage=tuple(lineage), key=keys.new_key(disk)
        )
        enter = hold.first_head if volume is not None else hold.first_head_of_ancestor
        store.retry(lambda: enter(self.objects, born), _RETRY_S)
        known = store.retry(lambda: hold.read_head(self.objects, disk), _RETRY_S)[0]
        if known.holder:
            raise errors.Conflict(f"disk {disk}: {known.holder} holds it in {self.url}")
        return self._tie(known.key)  # perhaps of an earlier try, with another key

    def check_free(self, volume: str, disk: str) -> None:
        """Conflict when another disk has the volume's name; PeerError."""
        if store.retry(lambda: self._named(volume), _RETRY_S) not in (None, disk):
            raise errors.Conflict(f"volume {volume}: another one has this name in {self.url}")

    def mark_forked(self, disk: str) -> None:
        """A fork of the disk is about to be registered; NotFound when the disk was deleted, by whoever had it."""
        store.retry(lambda: hold.mark_forked(self.objects, disk), _RETRY_S)

    def unname(self, disk: str, holder: str | None) -> None:
        """A volume is about to die: its name in the store goes, whatever it is called here. Nothing happens when it
        has moved to another holder, who decides."""
        found = store.retry(lambda: self._head(disk), _RETRY_S)
        if found is None or not _holds(found, holder):
            return
        if store.retry(lambda: self._named(found.volume), _RETRY_S) == disk:
            store.retry(lambda: self.objects.delete(names.volume(found.volume)), _RETRY_S)

    def erase(self, disk: str, holder: str | None) -> None:
        """A disk is no more. Only what nobody can reach goes at once: forks may live on hosts of which this one knows
        nothing, so garbage collection decides about a disk that ever had one."""
        try:
            found, version = store.retry(lambda: hold.read_head(self.objects, disk), _RETRY_S)
            if _holds(found, holder) and not found.forked:
                hold.erase(self.objects, found, version)
        except errors.NotFound:
            return
        except errors.PilotError as error:
            _log.warning("delete %s from %s: %s: garbage collection will find it", disk, self.url, error)

    def exists(self, disk: str) -> bool:
        """Whether the store has the disk; PeerError."""
        return self._head(disk) is not None

    def check_holder(self, volume: str, disk: str, holder: str | None) -> None:
        """StateError when another holder has the volume. A silent store is no reason not to attach it: a holder that
        has lost finds out when it speaks to the store."""
        try:
            found = store.retry(lambda: self._head(disk), _CHECK_S)
        except errors.PeerError as error:
            _log.warning("attach volume %s: %s", volume, error)
            return
        if found is not None and found.holder not in ("", holder):
            raise errors.StateError(
                f"attach volume {volume}: {found.holder} holds it", hint="delete this copy, then adopt the volume again"
            )

    def find(self, volume: str, url: str | None) -> str:
        """The disk that a volume is in the store; NotFound."""
        if url is not None:
            return adopt.parse_url(url, self.objects)
        return store.retry(lambda: hold.disk_of(self.objects, volume), _RETRY_S)

    def look(self, disk: str) -> tuple[head.Head, str]:
        """HEAD of a disk, and its version; NotFound."""
        return store.retry(lambda: hold.read_head(self.objects, disk), _RETRY_S)

    def drain(
        self, opened: disks.Disk, lineage: Sequence[str], deadline_s: float, *, wanted: Callable[[], bool] | None = None
    ) -> bool:
        """Send what an open disk has to say; whether the store has it all. With `wanted` it takes as long as it takes,
        until the store does not answer, or somebody wants the disk."""
        tied = link.Link(opened, lineage)
        tied.start(hydrate=False)
        while wanted is not None and opened.usage()["unsent_bytes"] and tied.error is None:
            if wanted():
                return tied.close(0.0)
            time.sleep(_LOOK_S)
        return tied.close(deadline_s)

    def is_ours(self, disk: str, holder: str | None) -> bool:
        """Whether the store has the disk, and this copy holds it; PeerError."""
        found = store.retry(lambda: self._head(disk), _RETRY_S)
        return found is not None and _holds(found, holder)

    def _head(self, disk: str) -> head.Head | None:
        try:
            return hold.read_head(self.objects, disk)[0]
        except errors.NotFound:
            return None

    def _named(self, volume: str) -> str | None:
        try:
            return hold.disk_of(self.objects, volume)
        except errors.NotFound:
            return None


def _holds(found: head.Head, holder: str | None) -> bool:
    """Whether this copy holds the disk, or nobody does."""
    return found.holder in ("", holder)
