"""Makes the directories follow the names: what no name, no fork and no other host needs, goes.

    a disk without name and without forks   rename to disks/.dead-<disk> ─ remove ─ its pin in its parent ─ the parent?
    a disk without name that has forks      keeps what they read and nothing else
    half-made and half-removed directories  removed, unless somebody is just making them (`shelf.born`)
    pins of forks that do not exist         dropped, unless the fork lives on another host

It runs at each start, so a crash between any two steps of a birth or a death leaves nothing for long. What cannot be
read is left alone, with all that it may need: a damaged disk stays until its volume is deleted.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Set

from ... import errors
from .. import crashpoint, facts
from ..facts import Facts
from ..requests import to_worker
from ..requests.base import Answer, Request
from .durable import Durable
from .shelf import DEAD, NEW, Shelf

_log = logging.getLogger(__name__)


class Collecting:
    """See the module. `call` runs an operation of a disk wherever it is open."""

    def __init__(self, shelf: Shelf, durable: Durable, call: Callable[[str, Request[Answer]], Answer]) -> None:
        self._shelf = shelf
        self._durable = durable
        self._call = call

    def collect(self) -> None:
        """All there is to do."""
        shelf = self._shelf
        with shelf.tree:
            for entry in os.listdir(shelf.disks):
                if entry.startswith((NEW, DEAD)) and entry.removeprefix(NEW) not in shelf.births:
                    shutil.rmtree(os.path.join(shelf.disks, entry))
            while self._collect_one():
                pass
            known, damaged = shelf.read_all()
            for disk_id, why in damaged.items():
                _log.error("disk %s is left as it is: %s", disk_id, why)
            for disk_id in known:
                self._unpin_missing(disk_id)

    def _collect_one(self) -> bool:
        """Remove or empty one unnamed disk; whether there was one to work on."""
        known, damaged = self._shelf.read_all()
        needed = self._needed(known, damaged.keys())
        unnamed = (known.keys() | damaged.keys()) - self._shelf.named().keys()
        for disk_id in unnamed:
            if disk_id in damaged:
                # Its facts may have named a store, or half an adoption: only a `delete` says that it may go.
                if disk_id not in needed and self._shelf.is_marked_deleted(disk_id):
                    self._remove(disk_id)
                    return True
            elif self._collect_unnamed(disk_id, known[disk_id], is_needed=disk_id in needed):
                return True
        return False

    def _needed(self, known: Mapping[str, Facts], damaged: Set[str]) -> set[str]:
        """The disks that others read from. Nobody knows of whom a damaged one was forked: its parent is one that has
        pinned something for it, or is sealed, and so pins nothing."""
        needed = {one.lineage[-1] for one in known.values() if one.lineage}
        if damaged:
            for disk_id, one in known.items():
                if one.sealed or self._shelf.pinned(disk_id) & damaged:
                    needed.add(disk_id)
        return needed

    def _collect_unnamed(self, disk_id: str, known: Facts, *, is_needed: bool) -> bool:
        deleted, store = self._was_deleted(disk_id), self._durable.store_of(disk_id)
        if not is_needed and not (deleted and self._is_needed_elsewhere(disk_id, known)):
            self._remove(disk_id)
            if store is not None and deleted:
                store.erase(disk_id, known.local.holder)
            for parent in known.lineage[-1:]:
                self._unpin_missing(parent)
            return True
        if deleted and not (known.sealed or known.abandoned):
            self._call(disk_id, to_worker.Abandon())
            crashpoint.reach("collect: abandoned")
            self._call(disk_id, to_worker.SetFacts(facts.encode(abandoned=True)))
            return True
        return False

    def _remove(self, disk_id: str) -> None:
        dead = os.path.join(self._shelf.disks, DEAD + disk_id)
        os.rename(self._shelf.path(disk_id), dead)
        crashpoint.reach("collect: renamed")
        shutil.rmtree(dead)
        crashpoint.reach("collect: removed")

    def _unpin_missing(self, disk_id: str) -> None:
        """Drop the pins of forks that do not exist (any more)."""
        there = set(os.listdir(self._shelf.disks)) | self._shelf.births
        try:
            store, missing = self._durable.store_of(disk_id), self._shelf.pinned(disk_id) - there
        except errors.PilotError as error:
            _log.warning("forks of disk %s: %s", disk_id, error)  # it is damaged, or gone itself
            return
        for child in missing:
            try:
                if store is None or not store.exists(child):  # else it lives on another host
                    self._call(disk_id, to_worker.Unfork(child))
            except errors.PilotError as error:
                # What is pinned for nobody takes room, until this runs again.
                _log.warning("is fork %s of %s gone: %s", child, disk_id, error)

    def _was_deleted(self, disk_id: str) -> bool:
        """Whether a disk without a name has lost it by `delete`. One that is in a store may also be half adopted, or
        half born: then it goes from here alone."""
        return self._durable.store_of(disk_id) is None or self._shelf.is_marked_deleted(disk_id)

    def _is_needed_elsewhere(self, disk_id: str, known: Facts) -> bool:
        """Whether forks on other hosts read it from the store, where it is ours."""
        store = self._durable.store_of(disk_id)
        try:
            if store is None or not store.is_ours(disk_id, known.local.holder):
                return False
        except errors.PilotError as error:
            _log.warning("is disk %s needed elsewhere: %s", disk_id, error)
            return True
        self._unpin_missing(disk_id)
        return bool(self._shelf.pinned(disk_id))
