"""All volumes of a host: names, disks, and which are attached. What volumed does, without its socket.

    create   disks/.new-<disk> filled ─ rename to disks/<disk> ─ link names/<volume>              the link is the birth
    fork     pin in the source ("fork/<disk>") ─ then as create
    delete   unlink names/<volume> ─ collect                                                      the unlink is death

    `shelf`   names, directories, locks      `attached`   which disks workers have     `collecting`   what nobody needs
    `durable` what has to come to the store

A sealed disk never changes, so its forks need no pin. Thread-safe: per volume one operation at a time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING

from msgspec import structs

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...kernel import ext4, files
from .. import answers, crashpoint, layout
from .. import facts as fact_rows
from ..checkpoint import Checkpoint
from ..disk import disk, room
from ..facts import Facts
from ..requests import to_worker
from ..requests.base import A, Request
from ..serving import worker, zygote
from . import attachment
from .attached import Attached
from .collecting import Collecting
from .durable import Durable
from .shelf import NEW, Shelf

if TYPE_CHECKING:  # it loads what speaks to stores
    from ..remote.live import depot


class Volumes:
    """See the module. `directory` is `<state>/volumes`."""

    def __init__(self, directory: str, spawner: zygote.Zygote, store: depot.Depot | None = None) -> None:
        self.shelf = Shelf(directory)
        self._store = store
        self._adopting = threading.Lock()
        self.attached = Attached(self.shelf, spawner)
        self.durable = Durable(self.shelf, store, self.attached.has)
        self._collecting = Collecting(self.shelf, self.durable, self._call)
        self.attached.adopt_all()
        self._collecting.collect()
        self.attached.keep_reserve()

    # ---- what there is

    def list(self) -> Sequence[answers.Volume]:
        """All volumes, as `stat` has them."""
        found = []
        for volume in self.shelf.volumes():
            with contextlib.suppress(errors.NotFound):  # deleted since its name was read
                found.append(self.stat(volume))
        return found

    def stat(self, volume: VolumeId) -> answers.Volume:
        """What is known of a volume; NotFound. Of a damaged one: why it cannot be used."""
        disk_id = self.shelf.disk_of(volume)
        damaged: str | None = None
        try:
            facts = self.shelf.facts(disk_id)
        except errors.HostError as error:
            facts, damaged = Facts(), str(error)
        attached = self.attached.get(disk_id)
        known = answers.Volume(
            volume=volume,
            disk=disk_id,
            size_bytes=facts.size_bytes,
            allocated_bytes=_allocated_bytes(os.path.join(self.shelf.path(disk_id), "slab")),
            free_bytes=room.free_bytes(self.shelf.directory),
            sealed=facts.sealed,
            vm=facts.vm,
            formatted=facts.formatted,
            attached=None if attached is None else "mount" if attached.is_mounted else "file",
            worker_restarts=attached.restarts if attached else 0,
            read_only=attached is not None and attached.is_read_only(),
            cut_off=attached is not None and attached.is_cut_off,
            checkpoints=len(facts.checkpoints),
            damaged=damaged,
            quota_bytes=facts.local.quota_bytes,
        )
        if facts.local.store is None:
            return structs.replace(known, not_durable=self.durable.why_not(volume))
        return _in_store(known, facts, attached)

    def read_only(self) -> Mapping[VolumeId, int]:
        """Those whose filesystem takes no writes any more, with what each may take by now."""
        found = [attached.volume for attached in self.attached.all() if attached.is_read_only()]
        return {volume: self._left_bytes(self.shelf.disk_of(volume)) for volume in found}

    def _left_bytes(self, disk_id: str) -> int:
        return room.left_bytes(self.shelf.path(disk_id), self.shelf.facts(disk_id).local.quota_bytes)

    def free_bytes(self) -> int:
        """What new chunks may take on the host's disk."""
        return room.free_bytes(self.shelf.directory)

    def checkpoints(self, volume: VolumeId) -> Sequence[Checkpoint]:
        """A volume's checkpoints, the oldest first."""
        return self.shelf.facts(self.shelf.disk_of(volume)).list_checkpoints()

    # ---- birth and death

    def create(self, volume: VolumeId, size_bytes: int) -> None:
        """A new, empty volume; Conflict when the name is taken."""
        layout.check_size(size_bytes)
        child = secrets.token_hex(8)
        with self.shelf.one(volume), self.shelf.born(child):
            self.shelf.check_free(volume)
            self.shelf.check_room("create", volume)
            self._make(volume, child, self.durable.register(volume, child, Facts(size_bytes=size_bytes)), None)

    def fork(self, source: VolumeId, volume: VolumeId, checkpoint: CheckpointId | None) -> None:
        """A new volume with the present content of `source`, or that of its checkpoint. Nothing is copied.

        A mounted source is synced and frozen for the cut, as for a checkpoint.
        """
        child = secrets.token_hex(8)
        first, second = sorted((source, volume))  # the same order for everybody: two forks cannot wait for each other
        with self.shelf.one(first), self.shelf.one(second), self.shelf.born(child):
            self.shelf.check_free(volume)
            self.shelf.check_room("fork", volume)
            disk_id = self.shelf.disk_of(source)
            facts = self.shelf.facts(disk_id)
            if (store := self.durable.store_of(disk_id)) is not None:
                store.mark_forked(disk_id)  # those above it were marked when it was born
            own = self.durable.register(volume, child, facts.for_fork([*facts.lineage, disk_id]))
            root = self._pin_fork(disk_id, facts, child, checkpoint)
            crashpoint.reach("fork: pinned")
            self._make(volume, child, own, root)

    def _pin_fork(self, disk_id: str, facts: Facts, child: str, checkpoint: CheckpointId | None) -> bytes:
        if facts.sealed and checkpoint is None:
            with contextlib.closing(self.shelf.meta(disk_id)) as stored:
                return stored.root("head")
        if (attached := self.attached.get(disk_id)) is not None:
            return attached.fork(child, checkpoint)
        with self.durable.opened(disk_id) as opened:
            return opened.roots.fork(child, checkpoint)

    def _make(self, volume: VolumeId, disk_id: str, facts: Facts, root: bytes | None) -> None:
        building = self.shelf.building(disk_id)
        try:
            crashpoint.reach("create: directory is made")
            disk.create(building, facts, root)
            crashpoint.reach("create: filled")
            self.shelf.place(building, volume, disk_id)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)  # what cannot be removed is collected
            raise

    def take_in(self, volume: VolumeId, disk_id: str) -> None:
        """A disk that was filled and synced as `<state>/volumes/incoming/<disk>` (an import) becomes a volume.

        Conflict when the name is taken, NotFound when there is no such disk; it stays where it is then.
        """
        building = os.path.join(self.shelf.directory, layout.INCOMING, disk_id)
        with self.shelf.one(volume), self.shelf.born(disk_id):
            self.shelf.check_free(volume)
            if not layout.is_disk_id(disk_id) or not os.path.isdir(building):
                raise errors.NotFound(f"take in volume {volume}: no disk {disk_id!r} is incoming")
            self.shelf.place(building, volume, disk_id)
            self.durable.fall_behind(volume)

    def delete(self, volume: VolumeId) -> None:
        """Forget a volume and its checkpoints; its forks stay. StateError while it is attached; NotFound."""
        with self.shelf.one(volume), self.shelf.tree:
            disk_id = self.attached.check_detached(volume, "delete")
            self.durable.unname(volume, disk_id)
            self.shelf.take_name(volume)
            crashpoint.reach("delete: unlinked")
            self._collecting.collect()

    # ---- from another host

    def adopt(self, volume: VolumeId, url: str | None) -> None:
        """A volume that is in the store comes to this host, which holds it from now on: the map only; chunks follow
        when they are read. Whoever held it is fenced. Conflict when the name is taken here; NotFound."""
        if self._store is None:
            raise errors.StateError(f"adopt volume {volume}: this volumed has no object store", hint="--store URL")
        with self._adopting, self.shelf.one(volume):
            self.shelf.check_free(volume)
            self.shelf.check_room("adopt", volume)
            disk_id = self._store.find(volume, url)
            with self.shelf.born(disk_id):
                if os.path.exists(self.shelf.path(disk_id)):
                    raise errors.Conflict(f"adopt volume {volume}: its disk {disk_id} is here already")
                self._take_over(volume, disk_id, self._store)

    def _take_over(self, volume: VolumeId, disk_id: str, store: depot.Depot) -> None:
        from ..remote.live import adopt  # with all that speaks to stores

        shelf = self.shelf
        found = store.look(disk_id)
        children = dict(zip(found[0].lineage, [*found[0].lineage, disk_id][1:], strict=True))
        new = [ancestor for ancestor in children if not os.path.exists(shelf.path(ancestor))]
        with contextlib.ExitStack() as births:
            for ancestor in new:
                births.enter_context(shelf.born(ancestor))
            with futures.ThreadPoolExecutor(len(new) + 1, "adopt") as pool:
                asked = [pool.submit(adopt.import_ancestor, store.objects, a, shelf.building(a)) for a in new]
                adopt.take_over(store.objects, disk_id, shelf.building(disk_id), store.new_holder(), found)
                for one in asked:
                    one.result()
            crashpoint.reach("adopt: taken over")
            with shelf.tree:  # ancestors without forks are collected, so all come at once
                for ancestor, child in children.items():
                    # One that was read before the claim may have been read before the child's pin was stored.
                    path = os.path.join(shelf.disks, (NEW if ancestor in new else "") + ancestor)
                    adopt.extend_ancestor(store.objects, ancestor, path, child)
                for built in [*new, disk_id]:
                    os.rename(os.path.join(shelf.disks, NEW + built), shelf.path(built))
                files.sync_directory(shelf.disks)
                crashpoint.reach("adopt: renamed")
                shelf.give_name(volume, disk_id)

    # ---- what it is

    def seal(self, volume: VolumeId) -> None:
        """Make it a base: read-only for ever, its forks share it. StateError while it is attached."""
        with self.shelf.one(volume):
            disk_id = self.attached.check_detached(volume, "seal")
            self._call(disk_id, to_worker.SetFacts(fact_rows.encode(sealed=True)))

    def resize(self, volume: VolumeId, size_bytes: int) -> None:
        """Grow a volume. Its filesystem follows at once where it is mounted here, in the VM that has it as a file now
        when that is told, and else at the next `attach`.

        StateError while it is mounted here, where this host's root may not grow what is mounted.
        """
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "resize")
            if not ext4.may_grow_mounted():
                self.attached.check_unmounted(volume, disk_id, "resize")
            if (attached := self.attached.get(disk_id)) is not None:
                attached.grow(size_bytes)
            else:
                self._call(disk_id, to_worker.Resize(size_bytes))

    def limit(self, volume: VolumeId, quota_bytes: int | None) -> None:
        """What it may take here from now on, of real bytes; None: what there is."""
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "limit")
            self._call(disk_id, to_worker.SetFacts(fact_rows.encode(quota_bytes=quota_bytes)))

    # ---- attach and detach

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        """A descriptor of a detached, idmapped ext4 mount; the caller owns it. Idempotent: clones of one mount."""
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "attach")
            facts = self.shelf.facts(disk_id)
            if facts.vm:
                raise errors.StateError(
                    f"attach volume {volume}: it belongs to virtual machines",
                    hint="a guest may have prepared it to attack the kernel that mounts it",
                )
            attached = self.attached.get(disk_id) or self.attached.open(volume, disk_id, self.durable)
            if not attached.is_mounted:
                self._mount(disk_id, attached, is_new=not facts.formatted)
            return attached.hand_out(uid_base, uid_count)

    def _mount(self, disk_id: str, attached: attachment.Attachment, *, is_new: bool) -> None:
        try:
            attached.mount(is_new=is_new)
            crashpoint.reach("attach: mounted")
        except BaseException:
            self.attached.close(disk_id)
            raise

    def attach_file(self, volume: VolumeId) -> int:
        """A descriptor of the disk as a file, for a VM; marks the volume for ever. The caller owns it. Idempotent."""
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "attach")
            attached = self.attached.check_unmounted(volume, disk_id, "attach")
            attached = attached or self.attached.open(volume, disk_id, self.durable)
            attached.call(to_worker.SetFacts(fact_rows.encode(vm=True)))
            return attached.open_file()

    def detach(self, volume: VolumeId) -> None:
        """Sync, fence and let go; nothing happens when it is not attached."""
        with self.shelf.one(volume):
            disk_id = self.shelf.disk_of(volume)
            if self.attached.has(disk_id):
                self.attached.close(disk_id)
                self.durable.fall_behind(volume)

    # ---- checkpoints

    def checkpoint(self, volume: VolumeId, comment: str | None, checkpoint: CheckpointId | None) -> Checkpoint:
        """Save the present content under an id (chosen here when None); Conflict when it is taken."""
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "checkpoint")
            name = checkpoint or self._next_id(disk_id)
            if (attached := self.attached.get(disk_id)) is not None:
                return attached.checkpoint(name, comment)
            with self.durable.opened(disk_id) as opened:
                cut = opened.roots.cut(name)
                return cut.publish(created_at=time.time(), comment=comment, frozen_ms=0.0, clean=True)

    def _next_id(self, disk_id: str) -> CheckpointId:
        taken = self.shelf.facts(disk_id).checkpoints
        number = 1
        while f"v{number}" in taken:
            number += 1
        return CheckpointId(f"v{number}")

    def restore(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """The volume's content becomes that of the checkpoint. StateError while it is mounted."""
        with self.shelf.one(volume):
            disk_id = self.shelf.writable(volume, "restore")
            self.attached.check_unmounted(volume, disk_id, "restore")
            self._call(disk_id, to_worker.Restore(checkpoint))

    def delete_checkpoint(self, volume: VolumeId, checkpoint: CheckpointId) -> None:
        """Forget a checkpoint and free what only it held; NotFound."""
        with self.shelf.one(volume):
            self._call(self.shelf.disk_of(volume), to_worker.DeleteCheckpoint(checkpoint))

    # ---- damage

    def mend(self, disk_id: str, slots: Sequence[int]) -> to_worker.Mended:
        """Have slots of a disk, perhaps of one that has no name any more, as its store has them (`worker.mend`).
        StateError for a disk without a store, or that a worker which knows of none has attached."""
        if disk_id not in self.shelf.complete():
            raise errors.NotFound(f"mend disk {disk_id}: not found")
        facts = self.shelf.facts(disk_id)
        if facts.local.store is None:
            raise errors.StateError(f"mend disk {disk_id}: it is in no store")
        with self.shelf.one(self.shelf.named().get(disk_id, VolumeId(disk_id))):
            if (attached := self.attached.get(disk_id)) is not None:
                return attached.call(to_worker.Mend(slots))
            from ..remote.live import link  # not in the zygote, where there is no store

            lineage = self.shelf.lineage(facts)
            with contextlib.closing(disk.Disk(self.shelf.path(disk_id), lineage)) as opened:
                tied = link.Link(opened, lineage)
                try:
                    return worker.mend(opened, slots)
                finally:
                    tied.close(0.0)

    def close(self) -> None:
        """Detach everything."""
        self.attached.close_all()

    def _call(self, disk_id: str, request: Request[A]) -> A:
        return self.attached.call(self.durable, disk_id, request)


def _in_store(known: answers.Volume, facts: Facts, attached: attachment.Attachment | None) -> answers.Volume:
    local = facts.local
    usage = attached.call(to_worker.AskStore()).store if attached else None
    return structs.replace(
        known,
        url=f"{(local.store or '').rstrip('/')}/vol/{known.disk}",
        durability=str(facts.durability),
        durable_at=local.durable_at,
        not_durable="nothing of it has been sent yet" if local.durable_at is None else None,
        remote_seq=local.seq,
        unsent_bytes=usage.unsent_bytes if usage else None,
        cold_bytes=usage.cold_bytes if usage else None,
    )


def _allocated_bytes(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0  # damage: the rest of what `stat` says tells more
