"""One attached disk, from the FUSE connection up to the mounted ext4: held by descriptors alone, in no namespace.

    worker ◄─ fuse_fd ─ FUSE ─ mount_fd (detached) ─ "disk" ─ loop device ─ ext4 ─ ext4_fd (detached) ─► idmapped clones
                                                       └─► handed out as a file (VM): no loop, no ext4 on this host

Who holds what: volumed, the worker and the keeper (`keeper`) each `fuse_fd`, `delta_fd`, `mount_fd` and the loop
device's descriptor; the machine its idmapped clone. So any two of the three may die, and nobody above sees an error:

    worker   volumed sees it end, starts another on the same `fuse_fd`, which has unanswered requests sent again;
             what was answered and not stored is in `delta_fd`
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

import dataclasses
import itertools
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...kernel import idmap, loop, mounts
from .. import crashpoint, facts, messages
from ..books import delta
from ..checkpoint import Checkpoint
from ..serving import worker, zygote
from . import frozen, fusectl, keeper, watchdog

_log = logging.getLogger(__name__)
_CALL_TIMEOUT_S = 60.0
_UNBIND_TIMEOUT_S = 5.0
_RESTART_TIMEOUT_S = 10.0
_COME_UP_S = 10.0
_RESTART_PAUSES_S = (0.02, 0.1, 0.5, 2.0, 5.0)
_STOP_TIMEOUT_S = 5.0
_PING_TIMEOUT_S = 2.0
_ADOPT_TIMEOUT_S = 5.0
# What the worker and the keeper are given, in the order of the worker's parcel; without these a disk is lost.
_PARTS = ("fuse", "log", "mount", "loop")
_NEEDED = _PARTS[:3]
# The first kernel that sends unanswered requests to another process when it asks.
_RESENDS_SINCE = (6, 9)


@dataclasses.dataclass(slots=True)
class _Loop:
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
        self.restarts = 0
        self._directory = directory
        self._lineage = lineage
        self._zygote = spawner
        self._fuse_fd = -1
        self._delta_fd = -1
        self._mount_fd = -1
        self._loop: _Loop | None = None
        self._ext4_fd = -1
        self._closing = False
        self._replacing = threading.Lock()
        self._broken = False
        # Number of the FUSE connection in fusectl. Asked once: stat is a request, which a stuck worker does not answer.
        self.connection = -1
        self._worker_fd = -1
        self._stuck = watchdog.Watch()
        self._watcher: threading.Thread | None = None

    @property
    def _name(self) -> str:
        """What our loop device is called."""
        return "pilot/" + self._disk

    @property
    def is_cut_off(self) -> bool:
        """Whether it is attached in vain: every request fails. Detach it, and attach it again."""
        return self._broken

    @property
    def is_mounted(self) -> bool:
        """Whether the ext4 on it is mounted by this host's kernel."""
        return self._ext4_fd >= 0

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
            self._start_worker(resend=False)
            self._keeper.keep(self._disk, self._parts())
            self.connection = fusectl.number_of(self._mount_fd)
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
            self.connection = fusectl.number_of(self._mount_fd)
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
                os.path.join(self._directory, worker.SOCKET), _ADOPT_TIMEOUT_S if is_kept else _CALL_TIMEOUT_S
            )
        except OSError:
            return False  # nobody listens
        try:
            answer, fds = connection.call("parcel")
        except errors.PeerError as error:
            _log.error("volume %s: its worker: %s", self.volume, error)
            if is_kept:
                connection.kill_peer()
            return False
        finally:
            connection.close()
        messages.close_all(list(kept.values()))
        self._take(dict(zip(_PARTS, fds, strict=False)))
        self._watch_worker(answer["pid"])
        return True

    def _adopt_from_keeper(self, kept: dict[str, int]) -> bool:
        if not kept.keys() >= set(_NEEDED) or _has_ended(kept["fuse"]):
            messages.close_all(list(kept.values()))
            return False
        self._take(kept)
        self._replace()
        if self._broken:
            self._close()
        return not self._broken

    def _take(self, parts: Mapping[str, int]) -> None:
        self._fuse_fd, self._delta_fd, self._mount_fd = (parts[name] for name in _NEEDED)
        if "loop" in parts:
            self._loop = _Loop(self._loop_number(parts["loop"]), parts["loop"])

    def _loop_number(self, fd: int) -> int:
        return os.minor(os.fstat(fd).st_rdev)

    def mount(self, *, is_new: bool) -> None:
        """Bind a loop device and mount the ext4; `is_new` makes one first."""
        bound, (fd,) = self._zygote.errand("bind", [self._mount_fd], device=self._name, directory=self._directory)
        self._loop = _Loop(bound["number"], fd)
        try:
            self._keep()
            if is_new:
                self._zygote.errand("format", [fd], what=self.volume)
                crashpoint.reach("attach: formatted")
                # Before anybody can mount it: what has been handed out must never be formatted again.
                self.call("set_facts", facts=facts.encode(formatted=True))
            self._ext4_fd = self._mount_ext4(self._loop)
        except BaseException:
            self._drop_loop()
            raise

    def _mount_ext4(self, device: _Loop) -> int:
        _, (fd,) = self._zygote.errand("mount", [device.fd], what=self.volume, number=device.number)
        return fd

    def hand_out(self, uid_base: int, uid_count: int) -> int:
        """A detached clone of the ext4 mount, idmapped to uid_base.. ; the caller owns it."""
        clone_fd = mounts.open_tree_at(self._ext4_fd, "", clone=True)
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

    def open_file(self) -> int:
        """The disk as a file; the caller owns it."""
        _, (fd,) = self._zygote.errand("open_file", [self._mount_fd])
        return fd

    # ---- the worker

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Have the worker run an operation of its disk."""
        return self._call_once(op, **arguments)[0]

    def _call_once(self, op: str, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        connection = self._connect()
        try:
            return connection.call(op, **arguments)
        finally:
            connection.close()

    def _connect(self, wait_s: float = _RESTART_TIMEOUT_S) -> messages.Connection:
        """A connection to the worker; waits that long for the successor of one that has just ended."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._connect_once()
            except (OSError, errors.PeerError) as error:
                if self._broken or time.monotonic() > deadline:
                    raise errors.PeerError(f"reach the worker of {self.volume}: {error}") from error
                time.sleep(0.005)

    def _connect_once(self) -> messages.Connection:
        connection = messages.connect(os.path.join(self._directory, worker.SOCKET), _CALL_TIMEOUT_S)
        try:
            connection.call("ping")  # a connection to a worker that is being killed looks like any other
        except BaseException:
            connection.close()
            raise
        return connection

    def _start_worker(self, *, resend: bool) -> None:
        given = (self._directory, self._lineage, self._fuse_fd, self._delta_fd, self._kept())
        self._watch_worker(self._zygote.worker(*given, resend=resend))

    def _kept(self) -> list[int]:
        return [self._mount_fd, *([self._loop.fd] if self._loop else [])]

    def _parts(self) -> dict[str, int]:
        held = (self._fuse_fd, self._delta_fd, *self._kept())
        return dict(zip(_PARTS, held, strict=False))

    def _keep(self) -> None:
        """Have the worker and the keeper keep what we hold now."""
        connection = self._connect()
        try:
            connection.call("keep", self._kept())
        finally:
            connection.close()
        self._keeper.keep(self._disk, self._parts())

    def _watch_worker(self, pid: int) -> None:
        try:
            self._worker_fd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._worker_fd = -1  # gone already
        thread = threading.Thread(target=self._replace_when_dead, name="watch-worker", daemon=True)
        self._watcher = thread
        thread.start()

    def _replace_when_dead(self) -> None:
        if self._worker_fd >= 0:
            select.select([self._worker_fd], [], [])
            os.close(self._worker_fd)
            self._worker_fd = -1
        with self._replacing:
            if not (self._closing or self._broken):
                self._replace()

    def _replace(self) -> None:
        """Start another worker; when that fails again and again, cut the disk off."""
        self.restarts += 1
        if _has_ended(self._fuse_fd):
            self._cut_off("its FUSE connection has ended")
            return
        if not can_resend(os.uname().release):
            self._cut_off("this kernel does not send another worker the requests of one that ended; attach it again")
            return
        _log.warning("volume %s: its worker ended, starting another", self.volume)
        if not self._comes_up():
            self._cut_off("its worker does not come up")
            return
        crashpoint.reach("replace: worker is up")

    def _comes_up(self) -> bool:
        deadline = time.monotonic() + _COME_UP_S
        for pause_s in _RESTART_PAUSES_S:
            try:
                self._start_worker(resend=True)
                return True
            except (errors.PilotError, OSError) as error:
                _log.error("volume %s: start its worker: %s", self.volume, error)
            if time.monotonic() > deadline:
                break
            time.sleep(pause_s)
        return False

    def _cut_off(self, why: str) -> None:
        _log.error("volume %s is cut off: %s", self.volume, why)
        self._broken = True
        self.abort()

    def watch(self, now_s: float) -> None:
        """Look whether the disk is stuck, and do something about it."""
        if self._closing or self._broken:
            return
        verdict = self._stuck.observe(now_s, watchdog.Observation(fusectl.waiting(self.connection), self._answered()))
        if verdict is not watchdog.Verdict.FINE:
            _log.error("volume %s: no request is answered: %s", self.volume, verdict.value)
        if verdict is watchdog.Verdict.REPLACE:
            # A negative one means that it has just ended, and is being replaced anyway: EBADF, an OSError.
            signal.pidfd_send_signal(self._worker_fd, signal.SIGKILL)
        elif verdict is watchdog.Verdict.ABORT:
            self._cut_off("it stays stuck")

    def _answered(self) -> int | None:
        try:
            connection = messages.connect(os.path.join(self._directory, worker.SOCKET), _PING_TIMEOUT_S)
            try:
                signs = connection.call("ping")[0]
            finally:
                connection.close()
        except (OSError, errors.PeerError):
            return None  # silent, or just being replaced: the watchdog counts either as no progress
        if signs.get("fenced"):
            self._cut_off(signs["fenced"])
        return int(signs["answered"])

    def abort(self) -> None:
        """Fail all that waits for this disk, now and later: a stuck disk must not hang the host."""
        try:
            fusectl.abort(self.connection)
        except FileNotFoundError:
            pass  # the connection is gone already, and so is all that waited for it

    # ---- checkpoint

    def checkpoint(self, checkpoint: CheckpointId, comment: str | None) -> Checkpoint:
        """Sync, freeze (mounted disks only), cut, thaw, store."""
        connection = self._connect()
        try:
            if not self.is_mounted:
                connection.call("cut", checkpoint=checkpoint)
                return self._publish(connection, comment, 0.0, clean=False)
            with frozen.Frozen(f"checkpoint {self.volume}", self._ext4_fd, self._zygote) as held:
                connection.call("cut", checkpoint=checkpoint)
            crashpoint.reach("checkpoint: thawed")
            return self._publish(connection, comment, held.frozen_ms, clean=held.clean)
        finally:
            connection.close()

    def fork(self, child: str, checkpoint: CheckpointId | None) -> bytes:
        """Pin the present content (at rest, when it is mounted), or a checkpoint's, for a fork; the root."""
        if checkpoint is not None or not self.is_mounted:
            return bytes.fromhex(self.call("fork", child=child, checkpoint=checkpoint)["root"])
        with frozen.Frozen(f"fork {self.volume}", self._ext4_fd, self._zygote):
            return bytes.fromhex(self.call("fork", child=child, checkpoint=None)["root"])

    def _publish(
        self, connection: messages.Connection, comment: str | None, frozen_ms: float, *, clean: bool
    ) -> Checkpoint:
        answer, _ = connection.call(
            "publish", created_at=time.time(), comment=comment, frozen_ms=round(frozen_ms, 3), clean=clean
        )
        return Checkpoint.parse(answer["checkpoint"])

    # ---- going down

    def close(self) -> None:
        """Sync, fence, let go of everything; nothing of it is left when this returns. Idempotent.

        HostError, afterwards, when what nobody had synced yet could not be written (the host's disk is full).
        """
        if self._closing:
            return
        unwritten: Exception | None = None
        try:
            if self._ext4_fd >= 0:
                unwritten = self._fence()
            if self._loop is not None:
                self._drop_loop()
        finally:
            crashpoint.reach("detach: loop is free")
            with self._replacing:  # a successor that is just coming up is stopped too
                self._closing = True
            self._stop_worker()
            self._close()
            if self._watcher is not None:
                self._watcher.join(_STOP_TIMEOUT_S)
        if unwritten is not None:
            raise errors.HostError(f"detach volume {self.volume}: it is, but not all was written: {_reason(unwritten)}")

    def _stop_worker(self) -> None:
        if not self._broken:
            try:
                self.call("stop")
                return
            except (errors.PilotError, OSError) as error:
                _log.warning("volume %s: stop its worker: %s; killing it", self.volume, error)
        try:
            signal.pidfd_send_signal(self._worker_fd, signal.SIGKILL)
        except OSError as error:
            _log.debug("kill worker: %s", error)  # it has ended already

    def _fence(self) -> Exception | None:
        """Sync, and end the superblock; what the sync failed with."""
        unwritten: Exception | None = None
        try:
            self._zygote.errand("sync", [self._ext4_fd])
        except (OSError, errors.PilotError) as error:  # the latter when it was killed
            unwritten = error
        crashpoint.reach("detach: synced")
        ext4_fd, self._ext4_fd = self._ext4_fd, -1
        self._zygote.errand("shut_down", [], last=[ext4_fd])
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
            self.abort()

    def _close(self) -> None:
        self._closing = True
        self._keeper.drop(self._disk, _PARTS)
        if self._ext4_fd >= 0:
            self.abort()  # it could not be fenced, and its last close would wait for a worker that has gone
        for fd in (self._ext4_fd, self._loop.fd if self._loop else -1, self._mount_fd, self._fuse_fd, self._delta_fd):
            if fd >= 0:
                os.close(fd)
        self._ext4_fd = self._mount_fd = self._fuse_fd = self._delta_fd = -1
        self._loop = None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def can_resend(release: str) -> bool:
    """Whether a kernel of this release (uname) sends a new worker the requests that its predecessor left unanswered."""
    major, minor = (int("".join(itertools.takewhile(str.isdigit, part))) for part in release.split(".")[:2])
    return (major, minor) >= _RESENDS_SINCE


def _has_ended(fuse_fd: int) -> bool:
    """Whether the FUSE connection of this descriptor is gone for good."""
    poll = select.poll()
    poll.register(fuse_fd, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
