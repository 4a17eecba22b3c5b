"""One attached disk, from the FUSE connection up to the mounted ext4: held by descriptors alone, in no namespace.

    worker ◄─ fuse_fd ─ FUSE ─ mount_fd (detached) ─ "disk" ─ loop device ─ ext4 ─ ext4_fd (detached) ─► idmapped clones
                                                       └─► handed out as a file (VM): no loop, no ext4 on this host

Who holds what: volumed, the worker and the keeper (`keeper`) each `fuse_fd`, `delta_fd`, `mount_fd` and the loop
device's descriptor; the machine its idmapped clone. So any two of the three may die, and nobody above sees an error:

    worker   volumed (`supervision`) sees it end, starts another on the same `fuse_fd`, which has unanswered requests
             sent again; what was answered and not stored is in `delta_fd`
    volumed  (and with it the zygote) the next one takes everything back from the worker, or when that is dead or
             silent, from the keeper, and starts a worker; the loop device, mounted again, is the same superblock
    keeper   volumed starts another, and hands it everything again
    machine  its clone goes with it; nothing here changes

All three at once end the FUSE connection: what was synced is there when it is attached again. What the keeper has, a
worker that lives has too: the worker is given a descriptor first, and loses it last.

`detach` fences: after EXT4_IOC_SHUTDOWN a clone that is still mounted somewhere (a stray mount namespace) can do
nothing; if it keeps the loop device busy past a deadline, the FUSE connection is aborted, so that nothing can ever
reach the slab.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Mapping, Sequence

import msgspec

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...kernel import fds as descriptors
from ...kernel import idmap, loop, mounts
from .. import crashpoint, facts, messages
from ..books import delta
from ..checkpoint import Checkpoint
from ..disk import room
from ..requests import to_errand, to_worker
from ..requests.base import A, Request
from ..serving import zygote
from . import frozen, fusectl, keeper, supervision

_log = logging.getLogger(__name__)
_UNBIND_TIMEOUT_S = 5.0
_ADOPT_TIMEOUT_S = 5.0
# What the worker and the keeper are given, in the order of the worker's parcel; without these a disk is lost.
_PARTS = ("fuse", "log", "mount", "loop")
_NEEDED = _PARTS[:3]


class _Loop(msgspec.Struct):
    number: int
    fd: int


class Attachment:
    """See the module. Its methods may come from any thread, but only one of them at a time (`volumes` sees to it),
    except `hand_out` and what the worker's watcher does."""

    def __init__(
        self, volume: VolumeId, directory: str, lineage: Sequence[str], spawner: zygote.Zygote, keep: keeper.Keeper
    ) -> None:
        self.volume = volume
        self._disk = os.path.basename(directory)
        self._keeper = keep
        self._directory = directory
        self._zygote = spawner
        self._worker = supervision.Supervision(volume, directory, lineage, spawner, self._given)
        self._fuse_fd = -1
        self._delta_fd = -1
        self._mount_fd = -1
        self._loop: _Loop | None = None
        self._ext4_fd = -1
        self._is_closed = False

    @property
    def _name(self) -> str:
        """What our loop device is called."""
        return "pilot/" + self._disk

    @property
    def is_cut_off(self) -> bool:
        """Whether it is attached in vain: every request fails. Detach it, and attach it again."""
        return self._worker.is_cut_off

    @property
    def restarts(self) -> int:
        """How often its worker was replaced."""
        return self._worker.restarts

    @property
    def connection(self) -> int:
        """Number of the FUSE connection in fusectl."""
        return self._worker.connection

    @property
    def is_mounted(self) -> bool:
        """Whether the ext4 on it is mounted by this host's kernel."""
        return self._ext4_fd >= 0

    def is_read_only(self) -> bool:
        """Whether the ext4 has met an error and takes no writes any more: detach it, and attach it again. Asked of the
        kernel only when it has counted an error, because it takes a process."""
        if self._ext4_fd < 0 or self._loop is None or not _error_count(self._loop.number):
            return False
        answer, _ = self._zygote.errand(to_errand.IsReadOnly(), [self._ext4_fd])
        return answer.read_only

    # ---- coming up

    def open(self) -> None:
        """Connect and start the worker: the file exists. Undone as a whole when it fails."""
        try:
            self._fuse_fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
            self._delta_fd = delta.create()
            options: dict[str, str | None] = {"source": f"pilot-{self.volume}", "subtype": "pilot"}
            # Others than root reach the file only through a descriptor that they were given, as a VM's process is; that
            # must be able to ask for its size.
            options |= {
                "fd": str(self._fuse_fd),
                "rootmode": "40000",
                "user_id": "0",
                "group_id": "0",
                "allow_other": None,
            }
            attributes = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC
            self._mount_fd = mounts.mount_detached("fuse", options, attributes)
            self._worker.start(resend=False)
            self._keeper.keep(self._disk, self._parts())
            self._worker.connection = fusectl.number_of(self._mount_fd)
        except BaseException:
            self._close()
            raise

    def adopt(self, *, is_new: bool) -> bool:
        """Take everything back from the worker or the keeper that outlived volumed; False when neither has the disk,
        or nothing can be made of it. `is_new`: the last volumed died before it had formatted the disk."""
        kept = self._keeper.take(self._disk)
        if not (self._adopt_from_worker(kept) or self._adopt_from_keeper(kept)):
            return False
        self._keep()
        try:
            self._worker.connection = fusectl.number_of(self._mount_fd)
            if self._loop is not None and is_new:
                self._drop_loop()
            elif self._loop is not None:
                self._ext4_fd = self._mount_ext4(self._loop)
        except OSError as error:
            _log.error("volume %s: take it back: %s", self.volume, error)
            self.close()
            return False
        return True

    def _adopt_from_worker(self, kept: dict[str, int]) -> bool:
        """One that is silent is killed, when the keeper has what is needed for another."""
        is_kept = kept.keys() >= set(_NEEDED)
        try:
            connection = messages.connect(
                self._worker.socket, _ADOPT_TIMEOUT_S if is_kept else supervision.CALL_TIMEOUT_S
            )
        except OSError:
            return False  # nobody listens
        try:
            answer, fds = connection.call(to_worker.TakeBack())
        except errors.PeerError as error:
            _log.error("volume %s: its worker: %s", self.volume, error)
            if is_kept:
                connection.kill_peer()
            return False
        finally:
            connection.close()
        descriptors.close_all(list(kept.values()))
        self._take(dict(zip(_PARTS, fds, strict=False)))
        self._worker.look_after(answer.pid)
        return True

    def _adopt_from_keeper(self, kept: dict[str, int]) -> bool:
        if not kept.keys() >= set(_NEEDED) or supervision.has_ended(kept["fuse"]):
            descriptors.close_all(list(kept.values()))
            return False
        self._take(kept)
        self._worker.replace()
        if self._worker.is_cut_off:
            self._close()
        return not self._worker.is_cut_off

    def _take(self, parts: Mapping[str, int]) -> None:
        self._fuse_fd, self._delta_fd, self._mount_fd = (parts[name] for name in _NEEDED)
        if "loop" in parts:
            self._loop = _Loop(self._loop_number(parts["loop"]), parts["loop"])

    def _loop_number(self, fd: int) -> int:
        return os.minor(os.fstat(fd).st_rdev)

    def mount(self, *, is_new: bool) -> None:
        """Bind a loop device and mount the ext4; `is_new` makes one first."""
        bound, (fd,) = self._zygote.errand(to_errand.Bind(self._name, self._directory), [self._mount_fd])
        self._loop = _Loop(bound.number, fd)
        try:
            self._keep()
            if is_new:
                self._zygote.errand(to_errand.Format(self.volume), [fd])
                crashpoint.reach("attach: formatted")
                # Before anybody can mount it: what has been handed out must never be formatted again.
                self.call(to_worker.SetFacts(facts.encode(formatted=True)))
            self._ext4_fd = self._mount_ext4(self._loop)
        except BaseException:
            self._drop_loop()
            raise

    def _mount_ext4(self, device: _Loop) -> int:
        with room.mounting(self._directory):
            _, (fd,) = self._zygote.errand(to_errand.Mount(self.volume, device.number), [device.fd])
        return fd

    def hand_out(self, uid_base: int, uid_count: int) -> int:
        """A detached clone of the ext4 mount, idmapped to uid_base.. ; the caller owns it."""
        clone_fd = self._clone()
        try:
            if (uid_base, uid_count) != (0, 1 << 32):
                userns_fd = idmap.user_namespace_fd(uid_base, uid_base, uid_count)
                try:
                    mounts.set_attributes(clone_fd, userns_fd=userns_fd)
                finally:
                    os.close(userns_fd)
        except BaseException:
            os.close(clone_fd)
            raise
        return clone_fd

    def _clone(self) -> int:
        """Before Linux 6.15 what is in no mount namespace cannot be cloned. The device mounted again is the same
        superblock."""
        assert self._loop is not None
        try:
            return mounts.open_tree_at(self._ext4_fd, "", clone=True)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        _, (fd,) = self._zygote.errand(to_errand.Mount(self.volume, self._loop.number), [self._loop.fd])
        return fd

    def grow(self, size_bytes: int) -> None:
        """The disk, and what is mounted of it here. A failure in between is made good by the same call, or by the next
        mount."""
        self.call(to_worker.Resize(size_bytes))
        crashpoint.reach("grow: the disk is larger")
        if self._loop is not None and self.is_mounted:
            self._zygote.errand(to_errand.Grow(size_bytes), [self._mount_fd, self._loop.fd, self._ext4_fd])

    def open_file(self) -> int:
        """The disk as a file; the caller owns it."""
        _, (fd,) = self._zygote.errand(to_errand.OpenFile(), [self._mount_fd])
        return fd

    # ---- the worker

    def call(self, request: Request[A]) -> A:
        """Have the worker run an operation of its disk."""
        return self._worker.call(request)

    def watch(self, now_s: float) -> None:
        """Look whether the disk is stuck, and do something about it."""
        self._worker.watch(now_s)

    def renew(self) -> bool:
        """Have a worker of this build; False when it cannot be had."""
        return self._worker.renew()

    def _given(self) -> supervision.Given:
        return supervision.Given(self._fuse_fd, self._delta_fd, self._kept())

    def _kept(self) -> list[int]:
        return [self._mount_fd, *([self._loop.fd] if self._loop else [])]

    def _parts(self) -> dict[str, int]:
        held = (self._fuse_fd, self._delta_fd, *self._kept())
        return dict(zip(_PARTS, held, strict=False))

    def _keep(self) -> None:
        """Have the worker and the keeper keep what we hold now."""
        connection = self._worker.connect()
        try:
            connection.call(to_worker.Keep(), self._kept())
        finally:
            connection.close()
        self._keeper.keep(self._disk, self._parts())

    # ---- checkpoint

    def checkpoint(self, checkpoint: CheckpointId, comment: str | None) -> Checkpoint:
        """Sync, freeze (mounted disks only), cut, thaw, store."""
        connection = self._worker.connect()
        try:
            if not self.is_mounted:
                connection.call(to_worker.Cut(checkpoint))
                return self._publish(connection, comment, 0.0, clean=False)
            with frozen.Frozen(f"checkpoint {self.volume}", self._ext4_fd, self._zygote) as held:
                connection.call(to_worker.Cut(checkpoint))
            crashpoint.reach("checkpoint: thawed")
            return self._publish(connection, comment, held.frozen_ms, clean=held.clean)
        finally:
            connection.close()

    def fork(self, child: str, checkpoint: CheckpointId | None) -> bytes:
        """Pin the present content (at rest, when it is mounted), or a checkpoint's, for a fork; the root."""
        if checkpoint is not None or not self.is_mounted:
            return bytes.fromhex(self.call(to_worker.Fork(child, checkpoint)).root)
        with frozen.Frozen(f"fork {self.volume}", self._ext4_fd, self._zygote):
            return bytes.fromhex(self.call(to_worker.Fork(child, None)).root)

    def _publish(
        self, connection: messages.Connection, comment: str | None, frozen_ms: float, *, clean: bool
    ) -> Checkpoint:
        answer, _ = connection.call(to_worker.Publish(time.time(), comment, round(frozen_ms, 3), clean))
        return answer.parsed()

    # ---- going down

    def close(self) -> None:
        """Sync, fence, let go of everything; nothing of it is left when this returns. Idempotent.

        HostError, afterwards, when what nobody had synced yet could not be written (the host's disk is full).
        """
        if self._is_closed:
            return
        unwritten: Exception | None = None
        try:
            if self._ext4_fd >= 0:
                unwritten = self._fence()
            if self._loop is not None:
                self._drop_loop()
        finally:
            crashpoint.reach("detach: loop is free")
            self._worker.stop()
            self._close()
            self._worker.join()
        if unwritten is not None:
            raise errors.HostError(f"detach volume {self.volume}: it is, but not all was written: {_reason(unwritten)}")

    def _fence(self) -> Exception | None:
        """Sync, and end the superblock; what the sync failed with."""
        unwritten: Exception | None = None
        try:
            self._zygote.errand(to_errand.Sync(), [self._ext4_fd])
        except (OSError, errors.PilotError) as error:  # the latter when it was killed
            unwritten = error
        crashpoint.reach("detach: synced")
        ext4_fd, self._ext4_fd = self._ext4_fd, -1
        self._zygote.errand(to_errand.ShutDown(), [], last=[ext4_fd])
        return unwritten

    def _drop_loop(self) -> None:
        device, self._loop = self._loop, None
        assert device is not None
        self._keeper.drop(self._disk, ["loop"])
        try:
            self._keep()
        except (errors.PilotError, OSError) as error:
            _log.warning("volume %s: take the loop device from its worker: %s", self.volume, error)
        os.close(device.fd)
        if not loop.wait_unbound(device.number, self._name, self._directory, _UNBIND_TIMEOUT_S):
            _log.warning("volume %s: loop%d is still in use: its connection is aborted", self.volume, device.number)
            self._worker.abort()

    def _close(self) -> None:
        self._is_closed = True
        self._worker.give_up()
        self._keeper.drop(self._disk, _PARTS)
        if self._ext4_fd >= 0:
            self._worker.abort()  # it could not be fenced, and its last close would wait for a worker that has gone
        for fd in (self._ext4_fd, self._loop.fd if self._loop else -1, self._mount_fd, self._fuse_fd, self._delta_fd):
            if fd >= 0:
                os.close(fd)
        self._ext4_fd = self._mount_fd = self._fuse_fd = self._delta_fd = -1
        self._loop = None


def _error_count(number: int) -> int:
    """How many errors the ext4 on this loop device has ever met."""
    try:
        with open(f"/sys/fs/ext4/loop{number}/errors_count", "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return 0  # just being unmounted


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
