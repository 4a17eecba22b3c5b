"""All volumes of a host: names, disks, and which are attached. What volumed does, without its socket.

    create   disks/.new-<disk> filled ─ rename to disks/<disk> ─ link names/<volume>              the link is the birth
    fork     pin in the source ("fork/<disk>") ─ then as create
    delete   unlink names/<volume> ─ collect                                                      the unlink is death

`collect` makes the directories follow the names: a disk without name and without forks goes (rename to
disks/.dead-<disk>, remove), its pin in its parent after it, then perhaps the parent; a disk without name that has forks
keeps what they read and nothing else. It runs at each start, so a crash between any two steps above leaves nothing for
long: neither half-made directories, nor unnamed disks, nor pins of forks that do not exist. A sealed disk never
changes, so its forks need no pin.

Thread-safe. Per volume one operation at a time; `_tree` is held for the moments in which the set of disks changes,
never while a disk is synced.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

from ... import errors
from ...ids import CheckpointId, VolumeId
from .. import crashpoint, layout
from .. import facts as fact_rows
from ..disk import disk, meta, room
from ..serving import worker, zygote
from . import attachment, keeper

if TYPE_CHECKING:  # it loads what speaks to stores
    from ..remote.live import depot
from ..checkpoint import Checkpoint
from ..facts import Facts

_log = logging.getLogger(__name__)
_WATCH_INTERVAL_S = 2.0
_DRAIN_TIMEOUT_S = 10.0
_NEW, _DEAD = ".new-", ".dead-"
_NEW_DISK_BYTES = 1 << 20  # meta.db with its log, and the first chunks
_NOT_YET = "it was made before there was a store"
_DELETED = "deleted"  # a file in the directory of a disk that was deleted, not half made: its store must follow


class Volumes:
    """See the module. `directory` is `<state>/volumes`."""

    def __init__(self, directory: str, spawner: zygote.Zygote, store: depot.Depot | None = None) -> None:
        self._directory = directory
        self._names = os.path.join(directory, "names")
        self._disks = os.path.join(directory, "disks")
        self._zygote = spawner
        self._store = store
        self._adopting = threading.Lock()
        self._behind: set[VolumeId] = set()  # detached, and not all of it in the store
        self._unpublished: dict[VolumeId, str] = {}  # why the store has nothing of these
        self._tree = threading.RLock()
        self._births: set[str] = set()
        self._locks_guard = threading.Lock()
        self._locks: dict[VolumeId, threading.RLock] = collections.defaultdict(threading.RLock)
        self._waiting = collections.Counter[VolumeId]()
        self._attached: dict[str, attachment.Attachment] = {}
        for path in (self._names, self._disks):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._keeper = keeper.Keeper(directory)
        self._adopt()
        self._collect()
        self._keep_reserve()

    @property
    def keeper_pid(self) -> int | None:
        """Of the process that keeps the descriptors of attached disks, while there is one."""
        return self._keeper.pid

    # ---- what there is

    def list(self) -> Sequence[dict[str, Any]]:
        """All volumes, as `stat` has them."""
        found = []
        for name in sorted(os.listdir(self._names)):
            try:
                found.append(self.stat(VolumeId(name)))
            except errors.NotFound:
                continue  # deleted since its name was read
        return found

    def stat(self, volume: VolumeId) -> dict[str, Any]:
        """What is known of a volume; NotFound."""
        disk_id = self._disk(volume)
        facts = self._facts(disk_id)
        path = os.path.join(self._disks, disk_id)
        attached = self._attached.get(disk_id)
        return {
            "volume": volume,
            "disk": disk_id,
            "size_bytes": facts.size_bytes,
            "allocated_bytes": os.stat(os.path.join(path, "slab")).st_blocks * 512,
            "free_bytes": room.free_bytes(self._directory),
            "sealed": facts.sealed,
            "vm": facts.vm,
            "formatted": facts.formatted,
            "attached": None if attached is None else "mount" if attached.is_mounted else "file",
            "worker_restarts": attached.restarts if attached else 0,
            "cut_off": attached is not None and attached.is_cut_off,
            "checkpoints": len(facts.checkpoints),
            **self._stat_store(volume, disk_id, facts),
        }

    def _stat_store(self, volume: VolumeId, disk_id: str, facts: Facts) -> dict[str, Any]:
        if facts.local.store is None:
            return {"not_durable": self._unpublished.get(volume, _NOT_YET)} if self._store is not None else {}
        durable_at = facts.local.durable_at
        attached = self._attached.get(disk_id)
        return {
            "url": f"{facts.local.store.rstrip('/')}/vol/{disk_id}",
            "durability": str(facts.durability),
            "durable_at": durable_at,
            "not_durable": "nothing of it has been sent yet" if durable_at is None else None,
            "remote_seq": facts.local.seq,
            **(attached.call("store")["store"] if attached else {}),
        }

    def checkpoints(self, volume: VolumeId) -> Sequence[Checkpoint]:
        """A volume's checkpoints, the oldest first."""
        return self._facts(self._disk(volume)).list_checkpoints()

    # ---- birth and death

    def create(self, volume: VolumeId, size_bytes: int) -> None:
        """A new, empty volume; Conflict when the name is taken."""
        layout.check_size(size_bytes)
        child = secrets.token_hex(8)
        with self._one(volume), self._born(child):
            self._check_free(volume)
            self._check_room("create", volume)
            facts = self._register(volume, child, Facts(size_bytes=size_bytes))
            self._make(volume, facts, None, child)

    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None) -> None:
        """A new volume with the present content of `source`, or that of its checkpoint. Nothing is copied.

        A mounted source is synced and frozen for the cut, as for a checkpoint.
        """
        child = secrets.token_hex(8)
        first, second = sorted((source, volume))  # the same order for everybody
        with self._one(first), self._one(second), self._born(child):
            self._check_free(volume)
            self._check_room("fork", volume)
            disk_id = self._disk(source)
            facts = self._facts(disk_id)
            ancestors = [*facts.lineage, disk_id]
            if (store := self._store_of(disk_id)) is not None:
                store.mark_forked(disk_id)  # those above it were marked when it was born
            own = self._register(volume, child, facts.for_fork(ancestors))
            root = self._pin_fork(disk_id, facts, child, checkpoint)
            crashpoint.reach("fork: pinned")
            self._make(volume, own, root, child)

    def _register(self, volume: VolumeId, disk_id: str, facts: Facts) -> Facts:
        """Facts of a new disk, which the store, if there is one, knows from now on."""
        if self._store is None:
            return facts
        tie = self._store.register(volume, disk_id, facts.size_bytes, facts.lineage)
        crashpoint.reach("create: registered")
        return facts.tied(tie)

    def adopt(self, volume: VolumeId, url: str | None) -> None:
        """A volume that is in the store comes to this host, which holds it from now on: the map only; chunks follow
        when they are read. Whoever held it is fenced. Conflict when the name is taken here; NotFound."""
        if self._store is None:
            raise errors.StateError(f"adopt volume {volume}: this volumed has no object store", hint="--store URL")
        with self._adopting, self._one(volume):
            self._check_free(volume)
            self._check_room("adopt", volume)
            disk_id = self._store.find(volume, url)
            with self._born(disk_id):
                if os.path.exists(os.path.join(self._disks, disk_id)):
                    raise errors.Conflict(f"adopt volume {volume}: its disk {disk_id} is here already")
                self._take_over(volume, disk_id, self._store)

    def _take_over(self, volume: VolumeId, disk_id: str, store: depot.Depot) -> None:
        from ..remote.live import adopt  # with all that speaks to stores

        found = store.look(disk_id)
        children = dict(zip(found[0].lineage, [*found[0].lineage, disk_id][1:], strict=True))
        new = [ancestor for ancestor in children if not os.path.exists(os.path.join(self._disks, ancestor))]
        with contextlib.ExitStack() as births:
            for ancestor in new:
                births.enter_context(self._born(ancestor))
            with futures.ThreadPoolExecutor(len(new) + 1, "adopt") as pool:
                asked = [pool.submit(adopt.import_ancestor, store.objects, a, self._building(a)) for a in new]
                adopt.take_over(store.objects, disk_id, self._building(disk_id), store.new_holder(), found)
                for one in asked:
                    one.result()
            crashpoint.reach("adopt: taken over")
            with self._tree:  # ancestors without forks are collected, so all come at once
                for ancestor, child in children.items():
                    # One that was read before the claim may have been read before the child's pin was stored.
                    path = os.path.join(self._disks, (_NEW if ancestor in new else "") + ancestor)
                    adopt.extend_ancestor(store.objects, ancestor, path, child)
                for built in [*new, disk_id]:
                    os.rename(os.path.join(self._disks, _NEW + built), os.path.join(self._disks, built))
                _sync_directory(self._disks)
                crashpoint.reach("adopt: renamed")
                os.symlink(f"../disks/{disk_id}", os.path.join(self._names, volume))
                _sync_directory(self._names)

    def _building(self, disk_id: str) -> str:
        """A new, empty directory in which a disk is built."""
        path = os.path.join(self._disks, _NEW + disk_id)
        shutil.rmtree(path, ignore_errors=True)  # of an adoption that failed
        os.mkdir(path, 0o700)
        return path

    def _pin_fork(self, disk_id: str, facts: Facts, child: str, checkpoint: CheckpointId | None) -> bytes:
        if facts.sealed and checkpoint is None:
            with contextlib.closing(self._meta(disk_id)) as stored:
                return stored.root("head")
        attached = self._attached.get(disk_id)
        if attached is not None:
            return attached.fork(child, checkpoint)
        with self._opened(disk_id) as opened:
            return opened.fork(child, checkpoint)

    def _make(self, volume: VolumeId, facts: Facts, root: bytes | None, disk_id: str) -> None:
        building = os.path.join(self._disks, _NEW + disk_id)
        os.mkdir(building, 0o700)
        try:
            crashpoint.reach("create: directory is made")
            disk.create(building, facts, root)
            crashpoint.reach("create: filled")
            self._place(building, volume, disk_id)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)  # what cannot be removed is collected
            raise

    def _place(self, building: str, volume: VolumeId, disk_id: str) -> None:
        with self._tree:
            os.rename(building, os.path.join(self._disks, disk_id))
            _sync_directory(self._disks)
            crashpoint.reach("create: renamed")
            os.symlink(f"../disks/{disk_id}", os.path.join(self._names, volume))
            _sync_directory(self._names)

    def take_in(self, volume: VolumeId, disk_id: str) -> None:
        """A disk that was filled and synced as `<state>/volumes/incoming/<disk>` (an import) becomes a volume.

        Conflict when the name is taken, NotFound when there is no such disk; it stays where it is then.
        """
        building = os.path.join(os.path.dirname(self._disks), layout.INCOMING, disk_id)
        with self._one(volume), self._born(disk_id):
            self._check_free(volume)
            if not layout.is_disk_id(disk_id) or not os.path.isdir(building):
                raise errors.NotFound(f"take in volume {volume}: no disk {disk_id!r} is incoming")
            self._place(building, volume, disk_id)
            self._behind.add(volume)

    def delete(self, volume: VolumeId) -> None:
        """Forget a volume and its checkpoints; its forks stay. StateError while it is attached; NotFound."""
        with self._one(volume), self._tree:
            if self._disk(volume) in self._attached:
                raise errors.StateError(f"delete volume {volume}: it is attached", hint="detach it first")
            self._delete_from_store(volume, self._disk(volume))
            os.unlink(os.path.join(self._names, volume))
            _sync_directory(self._names)
            crashpoint.reach("delete: unlinked")
            self._collect()

    def _delete_from_store(self, volume: VolumeId, disk_id: str) -> None:
        store = self._store_of(disk_id)
        if store is None:
            return
        store.unname(disk_id, self._facts(disk_id).local.holder)
        path = os.path.join(self._disks, disk_id)
        os.close(os.open(os.path.join(path, _DELETED), os.O_CREAT | os.O_CLOEXEC, 0o600))
        _sync_directory(path)

    def seal(self, volume: VolumeId) -> None:
        """Make it a base: read-only for ever, its forks share it. StateError while it is attached."""
        with self._one(volume):
            disk_id = self._detached(volume, "seal")
            self._call(disk_id, "set_facts", facts=fact_rows.encode(sealed=True))

    def resize(self, volume: VolumeId, size_bytes: int) -> None:
        """Grow a volume. Its filesystem follows at the next `attach`, or in the VM that has it as a file now.

        StateError while it is mounted here: the loop device and the kernel's filesystem would not notice.
        """
        with self._one(volume):
            disk_id = self._writable(volume, "resize")
            attached = self._attached.get(disk_id)
            if attached is not None and attached.is_mounted:
                raise errors.StateError(f"resize volume {volume}: it is mounted", hint="detach it first")
            self._call(disk_id, "resize", size_bytes=size_bytes)

    # ---- attach and detach

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        """A descriptor of a detached, idmapped ext4 mount; the caller owns it. Idempotent: clones of one mount."""
        with self._one(volume):
            disk_id = self._writable(volume, "attach")
            facts = self._facts(disk_id)
            if facts.vm:
                raise errors.StateError(
                    f"attach volume {volume}: it belongs to virtual machines",
                    hint="a guest may have prepared it to attack the kernel that mounts it",
                )
            attached = self._attached.get(disk_id) or self._open(volume, disk_id)
            if not attached.is_mounted:
                self._mount(disk_id, attached, is_new=not facts.formatted)
            return attached.hand_out(uid_base, uid_count)

    def _mount(self, disk_id: str, attached: attachment.Attachment, *, is_new: bool) -> None:
        try:
            attached.mount(is_new=is_new)
            crashpoint.reach("attach: mounted")
        except BaseException:
            self._close(disk_id)
            raise

    def attach_file(self, volume: VolumeId) -> int:
        """A descriptor of the disk as a file, for a VM; marks the volume for ever. The caller owns it. Idempotent."""
        with self._one(volume):
            disk_id = self._writable(volume, "attach")
            attached = self._attached.get(disk_id)
            if attached is not None and attached.is_mounted:
                raise errors.StateError(f"attach volume {volume}: it is mounted", hint="detach it first")
            attached = attached or self._open(volume, disk_id)
            attached.call("set_facts", facts=fact_rows.encode(vm=True))
            return attached.open_file()

    def _open(self, volume: VolumeId, disk_id: str) -> attachment.Attachment:
        self._bind(volume, disk_id)
        attached = self._attachment(volume, disk_id)
        with futures.ThreadPoolExecutor(1, "check-holder") as pool:  # the store is asked while the worker starts
            checked = pool.submit(self._check_holder, volume, disk_id)
            attached.open()
            try:
                checked.result()
            except BaseException:
                attached.close()
                raise
        crashpoint.reach("attach: opened")
        self._attached[disk_id] = attached
        return attached

    def _check_holder(self, volume: VolumeId, disk_id: str) -> None:
        if (store := self._store_of(disk_id)) is not None:
            store.check_holder(volume, disk_id, self._facts(disk_id).local.holder)

    def _bind(self, volume: VolumeId, disk_id: str) -> None:
        """A volume that was made before there was a store gets it now."""
        facts = self._facts(disk_id)
        if self._store is None or facts.local.store not in (None, self._store.url):
            return  # its own store, if it has one, is that of its facts
        if facts.local.store is not None:
            limit = self._store.cache_bytes
            if limit not in (None, facts.local.cache_bytes):
                with self._opened(disk_id) as opened:
                    opened.change_facts(lambda known: known.replace_local(cache_bytes=limit))
        else:
            try:
                self._store.check_free(volume, disk_id)
                self._enlist(volume, disk_id, self._store)
            except errors.PilotError as error:  # it is used all the same, and `list` says that it is not durable
                _log.warning("publish volume %s: %s", volume, error)
                self._unpublished[volume] = str(error)

    def _store_of(self, disk_id: str) -> depot.Depot | None:
        """The store that the disk is in, and that we write."""
        facts = self._facts(disk_id)
        ours = self._store is not None and facts.local.store == self._store.url
        return self._store if ours and not facts.local.foreign else None

    def _attachment(self, volume: VolumeId, disk_id: str) -> attachment.Attachment:
        path = os.path.join(self._disks, disk_id)
        return attachment.Attachment(volume, path, self._lineage(self._facts(disk_id)), self._zygote, self._keeper)

    def detach(self, volume: VolumeId) -> None:
        """Sync, fence and let go; nothing happens when it is not attached."""
        with self._one(volume):
            disk_id = self._disk(volume)
            if disk_id in self._attached:
                self._close(disk_id)
                self._behind.add(volume)

    def _close(self, disk_id: str) -> None:
        try:
            self._attached[disk_id].close()
        finally:
            del self._attached[disk_id]  # until then the watchdog looks after it
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._disks, disk_id, worker.SOCKET))

    # ---- checkpoints

    def checkpoint(self, volume: VolumeId, comment: str | None, checkpoint: CheckpointId | None) -> Checkpoint:
        """Save the present content under an id (chosen here when None); Conflict when it is taken."""
        with self._one(volume):
            disk_id = self._writable(volume, "checkpoint")
            name = checkpoint or self._next_id(disk_id)
            attached = self._attached.get(disk_id)
            if attached is not None:
                return attached.checkpoint(name, comment)
            with self._opened(disk_id) as opened:
                cut = opened.cut(name)
                return cut.publish(created_at=time.time(), comment=comment, frozen_ms=0.0, clean=True)

    def _next_id(self, disk_id: str) -> CheckpointId:
        taken = self._facts(disk_id).checkpoints
        number = 1
        while f"v{number}" in taken:
            number += 1
        return CheckpointId(f"v{number}")

    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """The volume's content becomes that of the checkpoint. StateError while it is mounted."""
        with self._one(volume):
            disk_id = self._writable(volume, "restore")
            attached = self._attached.get(disk_id)
            if attached is not None and attached.is_mounted:
                raise errors.StateError(f"restore volume {volume}: it is mounted", hint="detach it first")
            self._call(disk_id, "restore", checkpoint=checkpoint)

    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Forget a checkpoint and free what only it held; NotFound."""
        with self._one(volume):
            self._call(self._disk(volume), "delete_checkpoint", checkpoint=checkpoint)

    # ---- after a restart

    def _adopt(self) -> None:
        """Take back the disks whose workers, or keeper, outlived the last volumed."""
        for name in os.listdir(self._names):
            disk_id = self._disk(VolumeId(name))
            if not os.path.exists(os.path.join(self._disks, disk_id, worker.SOCKET)):
                continue
            attached = self._attachment(VolumeId(name), disk_id)
            if attached.adopt(is_new=not self._facts(disk_id).formatted):
                self._attached[disk_id] = attached
                _log.info("volume %s: it is still attached", name)
            else:
                _log.warning("volume %s: it was attached, and nobody holds that any more: attach it again", name)
        self._keeper.settle()

    def watch(self, stop: threading.Event) -> None:
        """Look after the attached disks until told to stop (`watchdog`)."""
        while not stop.wait(_WATCH_INTERVAL_S):
            self._keep_reserve()
            self._keeper.ensure()
            for attached in list(self._attached.values()):
                try:
                    attached.watch(time.monotonic())
                except OSError as error:
                    # Detached meanwhile, or its connection is gone: there is nothing to watch any more.
                    _log.debug("watch %s: %s", attached.volume, error)

    def _keep_reserve(self) -> None:
        try:
            room.keep_reserve(self._directory)
        except OSError as error:
            _log.warning("keep room for maps: %s", error)  # the disk has just become full; tried again

    def keep_durable(self, stop: threading.Event) -> None:
        """Send what detached volumes have and the store has not, until told to stop."""
        self._behind.update(VolumeId(name) for name in os.listdir(self._names))
        while not stop.wait(_WATCH_INTERVAL_S):
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

    def _publish(self, volume: VolumeId) -> None:
        """A volume that was made before there was a store comes into it, after the ancestors that it reads. StateError
        while one of them is attached: its worker knows of no store."""
        disk_id = self._disk(volume)
        facts = self._facts(disk_id)
        if self._store is None or facts.local.store is not None:
            return
        self._store.check_free(volume, disk_id)
        named = self._volumes_by_disk()
        for one in (*facts.lineage, disk_id):
            with self._one(named.get(one, VolumeId(one))):
                self._enlist(named.get(one), one, self._store)

    def _enlist(self, volume: VolumeId | None, disk_id: str, store: depot.Depot) -> None:
        """A disk comes into the store: HEAD there, facts here; its content is sent by whoever opens it next."""
        facts, lineage = self._facts(disk_id), self._facts_of_lineage(disk_id)
        what = f"volume {volume}" if volume else f"disk {disk_id}"
        for known in (*lineage, facts):
            if known.local.store not in (None, store.url):
                raise errors.StateError(f"publish {what}: it is of another store, {known.local.store}")
        if facts.local.store is not None:
            return
        if disk_id in self._attached:
            raise errors.StateError(f"publish {what}: it is attached since before there was a store", hint="detach it")
        if any(known.local.store is None for known in lineage):
            raise errors.StateError(f"publish {what}: one that it was forked from is not published yet")
        tie = store.enlist(volume, disk_id, facts.size_bytes, facts.lineage)
        crashpoint.reach("publish: registered")
        # By a disk that knows of no store yet: it must not send what it has not counted.
        with contextlib.closing(disk.Disk(self._path(disk_id), self._lineage(facts))) as opened:
            opened.change_facts(lambda known: known.tied(tie))

    def _facts_of_lineage(self, disk_id: str) -> Sequence[Facts]:
        return [self._facts(ancestor) for ancestor in self._facts(disk_id).lineage]

    def _send_rest(self, volume: VolumeId, stop: threading.Event) -> None:
        """Send what the store has not of a volume and of its ancestors, unless somebody has them attached."""
        named = self._volumes_by_disk()
        disk_id = self._disk(volume)
        for one in (*self._facts(disk_id).lineage, disk_id):
            name = named.get(one, VolumeId(one))
            with self._one(name):
                if one in self._attached or not self._is_behind(one):
                    continue
                if self._is_ready(one):
                    with self._opened(one, functools.partial(self._is_wanted, name, stop)) as opened:
                        opened.dirty.set()
                if self._is_behind(one):
                    self._behind.add(volume)
                    return

    def _is_wanted(self, volume: VolumeId, stop: threading.Event) -> bool:
        return stop.is_set() or self._waiting[volume] > 0

    def _is_ready(self, disk_id: str) -> bool:
        """Whether the store has what a disk reads of its ancestors: until then nothing of it can be sent."""
        facts = self._facts(disk_id)
        chain = [*facts.lineage, disk_id]
        return all(map(Facts.is_fork_durable, self._facts_of_lineage(disk_id), chain[1:]))

    def _is_behind(self, disk_id: str) -> bool:
        """Whether a disk has what its store has not."""
        if self._store_of(disk_id) is None:
            return False
        with contextlib.closing(self._meta(disk_id)) as stored:
            # A fork that nobody has written to has no page of its own, and is something new all the same.
            return stored.facts().local.durable_at is None or bool(stored.unsent_pages())

    def close(self) -> None:
        """Detach everything."""
        for disk_id in list(self._attached):
            self._close(disk_id)
        self._keeper.close()

    # ---- collecting

    def _collect(self) -> None:
        with self._tree:
            for entry in os.listdir(self._disks):
                if entry.startswith((_NEW, _DEAD)) and entry.removeprefix(_NEW) not in self._births:
                    shutil.rmtree(os.path.join(self._disks, entry))
            while self._collect_one():
                pass
            for disk_id in self._complete():
                self._unpin_missing(disk_id)

    def _collect_one(self) -> bool:
        """Remove or empty one unnamed disk; whether there was one to work on."""
        named = {self._disk(VolumeId(name)) for name in os.listdir(self._names)}
        facts = {disk_id: self._facts(disk_id) for disk_id in self._complete()}
        parents = {ancestors[-1] for f in facts.values() if (ancestors := f.lineage)}
        for disk_id in facts.keys() - named:
            store, deleted = self._store_of(disk_id), self._was_deleted(disk_id)
            if disk_id not in parents and not (deleted and self._is_needed_elsewhere(disk_id, facts[disk_id])):
                dead = os.path.join(self._disks, _DEAD + disk_id)
                os.rename(os.path.join(self._disks, disk_id), dead)
                crashpoint.reach("collect: renamed")
                shutil.rmtree(dead)
                crashpoint.reach("collect: removed")
                if store is not None and deleted:
                    store.erase(disk_id, facts[disk_id].local.holder)
                for parent in facts[disk_id].lineage[-1:]:
                    self._unpin_missing(parent)
                return True
            if deleted and not (facts[disk_id].sealed or facts[disk_id].abandoned):
                self._call(disk_id, "abandon")
                crashpoint.reach("collect: abandoned")
                self._call(disk_id, "set_facts", facts=fact_rows.encode(abandoned=True))
                return True
        return False

    def _complete(self) -> Sequence[str]:
        """The disks that are not being built."""
        return [entry for entry in os.listdir(self._disks) if not entry.startswith((_NEW, _DEAD))]

    def _unpin_missing(self, disk_id: str) -> None:
        """Drop the pins of forks that do not exist (any more)."""
        store = self._store_of(disk_id)
        for child in self._pinned(disk_id) - set(os.listdir(self._disks)) - self._births:
            try:
                if store is not None and store.exists(child):
                    continue  # it lives on another host
            except errors.PilotError as error:
                _log.warning("is fork %s of %s gone: %s", child, disk_id, error)
                continue
            self._call(disk_id, "unfork", child=child)

    def _pinned(self, disk_id: str) -> set[str]:
        """The forks for which a disk holds something."""
        with contextlib.closing(self._meta(disk_id)) as stored:
            return {name.removeprefix("fork/") for name in stored.root_names() if name.startswith("fork/")}

    def _was_deleted(self, disk_id: str) -> bool:
        """Whether a disk without a name has lost it by `delete`. One that is in a store may also be half adopted, or
        half born: then it goes from here alone."""
        is_stored = self._store_of(disk_id) is not None
        return not is_stored or os.path.exists(os.path.join(self._disks, disk_id, _DELETED))

    def _is_needed_elsewhere(self, disk_id: str, facts: Facts) -> bool:
        """Whether forks on other hosts read it from the store, where it is ours."""
        store = self._store_of(disk_id)
        try:
            if store is None or not store.is_ours(disk_id, facts.local.holder):
                return False
        except errors.PilotError as error:
            _log.warning("is disk %s needed elsewhere: %s", disk_id, error)
            return True
        self._unpin_missing(disk_id)
        return bool(self._pinned(disk_id))

    # ---- damage

    def mend(self, disk_id: str, slots: Sequence[int]) -> dict[str, Any]:
        """Have slots of a disk, perhaps of one that has no name any more, as its store has them (`worker.mend`).
        StateError for a disk without a store, or that a worker which knows of none has attached."""
        if disk_id not in self._complete():
            raise errors.NotFound(f"mend disk {disk_id}: not found")
        facts = self._facts(disk_id)
        if facts.local.store is None:
            raise errors.StateError(f"mend disk {disk_id}: it is in no store")
        with self._one(self._volumes_by_disk().get(disk_id, VolumeId(disk_id))):
            if (attached := self._attached.get(disk_id)) is not None:
                return attached.call("mend", slots=slots)
            from ..remote.live import link  # not in the zygote, where there is no store

            lineage = self._lineage(facts)
            with contextlib.closing(disk.Disk(self._path(disk_id), lineage)) as opened:
                tied = link.Link(opened, lineage)
                try:
                    return worker.mend(opened, slots)
                finally:
                    tied.close(0.0)

    # ---- by name

    @contextlib.contextmanager
    def _one(self, volume: VolumeId) -> Iterator[None]:
        with self._locks_guard:
            lock = self._locks[volume]
            self._waiting[volume] += 1
        with lock:
            with self._locks_guard:
                self._waiting[volume] -= 1
            yield

    @contextlib.contextmanager
    def _born(self, disk_id: str) -> Iterator[None]:
        """Until it is done `collect` must not miss the disk that a pin is for, nor clear away what is built of it."""
        with self._tree:
            self._births.add(disk_id)
        try:
            yield
        finally:
            with self._tree:
                self._births.discard(disk_id)

    def _disk(self, volume: VolumeId) -> str:
        try:
            return os.path.basename(os.readlink(os.path.join(self._names, volume)))
        except FileNotFoundError:
            raise errors.NotFound(f"volume {volume}: not found") from None

    def _volumes_by_disk(self) -> dict[str, VolumeId]:
        found = {}
        for name in os.listdir(self._names):
            with contextlib.suppress(errors.NotFound):  # deleted since its name was read
                found[self._disk(VolumeId(name))] = VolumeId(name)
        return found

    def _check_free(self, volume: VolumeId) -> None:
        if os.path.lexists(os.path.join(self._names, volume)):
            raise errors.Conflict(f"volume {volume}: exists already")

    def _check_room(self, verb: str, volume: VolumeId) -> None:
        """A full disk keeps what room there is for the volumes that it has."""
        if room.free_bytes(self._directory) < _NEW_DISK_BYTES:
            why = os.strerror(errno.ENOSPC)
            raise errors.HostError(f"{verb} volume {volume}: {why}: {self._disks}", hint="delete volumes, checkpoints")

    def _writable(self, volume: VolumeId, verb: str) -> str:
        disk_id = self._disk(volume)
        if self._facts(disk_id).sealed:
            raise errors.StateError(f"{verb} volume {volume}: it is sealed", hint="fork it, and use the fork")
        return disk_id

    def _detached(self, volume: VolumeId, verb: str) -> str:
        disk_id = self._disk(volume)
        if disk_id in self._attached:
            raise errors.StateError(f"{verb} volume {volume}: it is attached", hint="detach it first")
        return disk_id

    def _path(self, disk_id: str) -> str:
        return os.path.join(self._disks, disk_id)

    def _meta(self, disk_id: str) -> meta.Meta:
        return meta.Meta(os.path.join(self._disks, disk_id), read_only=True)

    def _facts(self, disk_id: str) -> Facts:
        with contextlib.closing(self._meta(disk_id)) as stored:
            return stored.facts()

    def _lineage(self, facts: Facts) -> Sequence[str]:
        return [os.path.join(self._disks, ancestor) for ancestor in facts.lineage]

    @contextlib.contextmanager
    def _opened(self, disk_id: str, wanted: Callable[[], bool] | None = None) -> Iterator[disk.Disk]:
        """A disk that is not attached, open for one operation; the store has what came of it, if it answers. With
        `wanted` that may take as long as it takes, until somebody wants the disk."""
        lineage = self._lineage(self._facts(disk_id))
        opened = disk.Disk(os.path.join(self._disks, disk_id), lineage)
        try:
            yield opened
            store = self._store_of(disk_id)
            store = store if opened.dirty.is_set() else None
            if store is not None and not store.drain(opened, lineage, _DRAIN_TIMEOUT_S, wanted=wanted):
                _log.warning("disk %s: not all of it is in %s yet", disk_id, store.url)
        finally:
            opened.close()

    def _call(self, disk_id: str, op: str, **arguments: Any) -> dict[str, Any]:
        """Run an operation where the disk is open: in its worker, or here."""
        attached = self._attached.get(disk_id)
        if attached is not None:
            return attached.call(op, **arguments)
        with self._opened(disk_id) as opened:
            return worker.Operations(opened).call(op, **arguments)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
