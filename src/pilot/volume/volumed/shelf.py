"""The names and disks of a host, as they lie in directories, and who may change them.

    names/<volume> -> ../disks/<disk>       a volume exists when its link does
    disks/.new-<disk>, .dead-<disk>         half made, half removed: cleared away by `collecting`

Locks, in this order: `one(volume)` for each operation on a volume, two of them in the order of their names; then
`tree`, held for the moments in which the set of disks changes, never while a disk is synced. `born` names the disks
that are being made, which nobody may clear away.

A disk whose meta.db cannot be read is *damaged*: everything but its own volume goes on, and it is never removed because
of what is not known of it.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence

from ... import errors
from ...ids import VolumeId
from ...kernel import files
from .. import crashpoint
from ..disk import meta, room
from ..facts import Facts

NEW, DEAD = ".new-", ".dead-"
_DELETED = "deleted"  # a file in the directory of a disk that was deleted, not half made: its store must follow
_NEW_DISK_BYTES = 1 << 20  # meta.db with its log, and the first chunks


class Shelf:
    """See the module. `directory` is `<state>/volumes`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._names = os.path.join(directory, "names")
        self.disks = os.path.join(directory, "disks")
        for path in (self._names, self.disks):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self.tree = threading.RLock()
        self.births: set[str] = set()
        self._locks_guard = threading.Lock()
        self._locks: dict[VolumeId, threading.RLock] = collections.defaultdict(threading.RLock)
        self._waiting = collections.Counter[VolumeId]()

    # ---- who may go on

    @contextlib.contextmanager
    def one(self, volume: VolumeId) -> Iterator[None]:
        """One operation at a time on this volume."""
        with self._locks_guard:
            lock = self._locks[volume]
            self._waiting[volume] += 1
        with lock:
            with self._locks_guard:
                self._waiting[volume] -= 1
            yield

    def is_waited_for(self, volume: VolumeId) -> bool:
        """Whether somebody waits until `one` is done with this volume: background work lets him go first."""
        return self._waiting[volume] > 0

    @contextlib.contextmanager
    def born(self, disk_id: str) -> Iterator[None]:
        """Until it is done `collect` must not miss the disk that a pin is for, nor clear away what is built of it."""
        with self.tree:
            self.births.add(disk_id)
        try:
            yield
        finally:
            with self.tree:
                self.births.discard(disk_id)

    # ---- names

    def volumes(self) -> Sequence[VolumeId]:
        """All names."""
        return [VolumeId(name) for name in sorted(os.listdir(self._names))]

    def disk_of(self, volume: VolumeId) -> str:
        """The disk that a volume is; NotFound."""
        try:
            return os.path.basename(os.readlink(os.path.join(self._names, volume)))
        except FileNotFoundError:
            raise errors.NotFound(f"volume {volume}: not found") from None

    def named(self) -> Mapping[str, VolumeId]:
        """Disk → its volume."""
        found = {}
        for volume in self.volumes():
            with contextlib.suppress(errors.NotFound):  # deleted since its name was read
                found[self.disk_of(volume)] = volume
        return found

    def check_free(self, volume: VolumeId) -> None:
        """Conflict when the name is taken."""
        if os.path.lexists(os.path.join(self._names, volume)):
            raise errors.Conflict(f"volume {volume}: exists already")

    def check_room(self, verb: str, volume: VolumeId) -> None:
        """A full disk keeps what room there is for the volumes that it has."""
        if room.free_bytes(self.directory) < _NEW_DISK_BYTES:
            why = os.strerror(errno.ENOSPC)
            raise errors.NoRoom(f"{verb} volume {volume}: {why}: {self.disks}", hint="delete volumes, checkpoints")

    def give_name(self, volume: VolumeId, disk_id: str) -> None:
        """The birth of a volume. Under `tree`."""
        os.symlink(f"../disks/{disk_id}", os.path.join(self._names, volume))
        files.sync_directory(self._names)

    def take_name(self, volume: VolumeId) -> None:
        """The death of a volume; what was its disk is collected. Under `tree`."""
        os.unlink(os.path.join(self._names, volume))
        files.sync_directory(self._names)

    # ---- disks

    def path(self, disk_id: str) -> str:
        """The disk's directory."""
        return os.path.join(self.disks, disk_id)

    def complete(self) -> Sequence[str]:
        """The disks that are not being built."""
        return [entry for entry in os.listdir(self.disks) if not entry.startswith((NEW, DEAD))]

    def building(self, disk_id: str) -> str:
        """A new, empty directory in which a disk is built."""
        path = os.path.join(self.disks, NEW + disk_id)
        shutil.rmtree(path, ignore_errors=True)  # of an attempt that failed
        os.mkdir(path, 0o700)
        return path

    def place(self, building: str, volume: VolumeId, disk_id: str) -> None:
        """What was built becomes a disk, and the disk a volume. A crash in between leaves one without a name."""
        with self.tree:
            os.rename(building, self.path(disk_id))
            files.sync_directory(self.disks)
            crashpoint.reach("create: renamed")
            self.give_name(volume, disk_id)

    def mark_deleted(self, disk_id: str) -> None:
        """From now on the disk goes for good when it loses its name: not because it is only half made."""
        os.close(os.open(os.path.join(self.path(disk_id), _DELETED), os.O_CREAT | os.O_CLOEXEC, 0o600))
        files.sync_directory(self.path(disk_id))

    def is_marked_deleted(self, disk_id: str) -> bool:
        """See `mark_deleted`."""
        return os.path.exists(os.path.join(self.path(disk_id), _DELETED))

    # ---- what is known of them

    def meta(self, disk_id: str) -> meta.Meta:
        """meta.db, for reading; the caller closes it. HostError when it is damaged."""
        return meta.Meta(self.path(disk_id), read_only=True)

    def facts(self, disk_id: str) -> Facts:
        """HostError when meta.db is damaged, or of another build; NotFound."""
        with contextlib.closing(self.meta(disk_id)) as stored:
            return stored.facts()

    def read_all(self) -> tuple[Mapping[str, Facts], Mapping[str, errors.PilotError]]:
        """(facts of the disks that can be read, why the others cannot)."""
        found, damaged = {}, {}
        for disk_id in self.complete():
            try:
                found[disk_id] = self.facts(disk_id)
            except errors.PilotError as error:
                damaged[disk_id] = error
        return found, damaged

    def lineage(self, facts: Facts) -> Sequence[str]:
        """The ancestors' directories."""
        return [self.path(ancestor) for ancestor in facts.lineage]

    def pinned(self, disk_id: str) -> set[str]:
        """The forks for which a disk holds something."""
        with contextlib.closing(self.meta(disk_id)) as stored:
            return {name.removeprefix("fork/") for name in stored.root_names() if name.startswith("fork/")}

    # ---- what a verb needs

    def writable(self, volume: VolumeId, verb: str) -> str:
        """The disk of a volume that is not sealed; StateError."""
        disk_id = self.disk_of(volume)
        if self.facts(disk_id).sealed:
            raise errors.StateError(f"{verb} volume {volume}: it is sealed", hint="fork it, and use the fork")
        return disk_id
