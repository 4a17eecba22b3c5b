"""The process that serves one attached disk: FUSE threads over `disk.Disk`, and a control socket for volumed.

    zygote ── fork ──► worker: opens the disk, listens at disks/<disk>/worker.sock, answers "ready" on the given socket
    volumed ── worker.sock ──► cut, publish, fork, … (`requests.to_worker`), keep, parcel, stop

It lives until "stop", or until the FUSE connection ends; not until volumed does: a new volumed connects again, and
takes back ("parcel") the FUSE descriptor and what the old one gave for safekeeping ("keep": the FUSE mount, the loop
device). It must never hold anything on a filesystem that lies on its own disk. A cut whose connection ends, or is
silent for 10 seconds, before "publish" is cancelled.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...ids import CheckpointId
from ...kernel import fds as descriptors
from ...kernel import syscalls
from .. import build, messages
from ..disk import disk as disks
from ..requests import to_worker, to_zygote
from ..requests.base import A, Answer, AnyRequest, Doers, Failure, R, Request, answer_of, op_of
from . import fuse

if TYPE_CHECKING:
    from ..remote.live import link

_log = logging.getLogger(__name__)
SOCKET = "worker.sock"
_PUBLISH_TIMEOUT_S = 10
_DRAIN_TIMEOUT_S = 30
_PR_SET_NAME, _PR_SET_IO_FLUSHER = 15, 57


def operate(disk: disks.Disk, request: Request[A]) -> A:
    """What a disk can be asked wherever it is open: here and, for one that is not attached, by volumed."""
    answer = OPERATIONS.do(disk, request)
    assert isinstance(answer, answer_of(request))
    return answer


def mend(disk: disks.Disk, slots: Sequence[int]) -> to_worker.Mended:
    """Have these slots as the store has them; of a disk that is tied to its store."""
    mended, failed = [], {}
    for slot in slots:
        try:
            disk.warmth.vouch(slot)
            mended.append(slot)
        except OSError as error:
            failed[slot] = error.strerror or str(error)
    return to_worker.Mended(mended, failed)


def _in_store(disk: disks.Disk, _: to_worker.AskStore) -> to_worker.InStore:
    usage = disk.usage()
    return to_worker.InStore(to_worker.Usage(usage["unsent_bytes"], usage["cold_bytes"]))


def _operations() -> Doers[disks.Disk, Answer]:
    found = Doers[disks.Disk, Answer]()

    def add(kind: type[R], do: Callable[[disks.Disk, R], object]) -> None:
        def done(disk: disks.Disk, request: R) -> Answer:
            do(disk, request)
            return Answer()

        found.add(kind, done)

    add(to_worker.Flush, lambda disk, _: disk.flush())
    add(to_worker.SetFacts, lambda disk, asked: disk.change_facts(lambda known: known.with_rows(asked.facts)))
    add(to_worker.Unfork, lambda disk, asked: disk.roots.unfork(asked.child))
    add(to_worker.Abandon, lambda disk, _: disk.roots.abandon())
    add(to_worker.Restore, lambda disk, asked: disk.roots.restore(asked.checkpoint))
    add(to_worker.Resize, lambda disk, asked: disk.resize(asked.size_bytes))
    add(to_worker.DeleteCheckpoint, lambda disk, asked: disk.roots.delete_checkpoint(asked.checkpoint))
    found.add(to_worker.AskStore, _in_store)
    found.add(to_worker.Fork, lambda disk, asked: to_worker.Root(disk.roots.fork(asked.child, asked.checkpoint).hex()))
    found.add(to_worker.Mend, lambda disk, asked: mend(disk, asked.slots))
    return found


OPERATIONS = _operations()


class Worker:
    """Owns the disk, the server and the control socket."""

    def __init__(self, directory: str, lineage: list[str], fuse_fd: int, delta_fd: int, kept: list[int]) -> None:
        self._fuse_fd = fuse_fd
        self._delta_fd = delta_fd
        self._disk = disks.Disk(directory, lineage, delta_fd)
        self._link = _link(self._disk, lineage)
        self._server = fuse.Server(fuse_fd, self._disk)
        self._listener = messages.listen(os.path.join(directory, SOCKET))
        self._stopped = threading.Event()
        self._parcel = kept

    def run(self, ready: messages.Connection, *, resend: bool) -> None:
        """Serve until the connection ends or "stop" comes."""
        self._server.start(resend=resend)
        if self._link is not None:
            self._link.start(hydrate=True)
        accepting = (self._listener, self._serve, "control")
        threading.Thread(target=messages.serve_each, args=accepting, name="control", daemon=True).start()
        ready.send(to_zygote.Serving(os.getpid()))
        ready.close()
        threading.Thread(target=self._watch_connection, name="connection", daemon=True).start()
        self._stopped.wait()
        self._drain()

    def _drain(self) -> bool:
        """Everything stable here, and in the store if it answers; whether it has all."""
        drained = self._link is None or self._link.close(_DRAIN_TIMEOUT_S)
        if self._disk.debt.fenced is None:
            self._disk.commit()
        return drained

    def _watch_connection(self) -> None:
        self._server.join()
        self._stopped.set()

    def _serve(self, sock: socket.socket) -> None:
        connection = messages.Connection(sock)
        try:
            for request, fds in connection.requests(to_worker.KINDS):
                unwanted = fds
                if isinstance(request, to_worker.Keep):
                    self._parcel, unwanted = fds, self._parcel
                descriptors.close_all(unwanted)
                self._one(connection, request)
        except errors.PeerError as error:
            _log.warning("control: %s", error)
        finally:
            connection.close()

    def _one(self, connection: messages.Connection, request: AnyRequest) -> None:
        try:
            self._do(connection, request)
        except (errors.PilotError, OSError) as error:
            _log.warning("%s: %s", op_of(request), error)
            connection.send(Failure.of(error))

    def _do(self, connection: messages.Connection, request: AnyRequest) -> None:
        if type(request) in OPERATIONS:
            connection.send(operate(self._disk, request))
            return
        match request:
            case to_worker.Keep():
                connection.send(Answer())
            case to_worker.TakeBack():
                connection.send(to_worker.Parcel(os.getpid()), [self._fuse_fd, self._delta_fd, *self._parcel])
            case to_worker.Ping():
                connection.send(self._vital_signs())
            case to_worker.Cut():
                self._cut(connection, request.checkpoint)
            case to_worker.Publish():
                raise errors.StateError("publish: nothing was cut on this connection")
            case to_worker.Stop():
                connection.send(to_worker.Stopped(self._drain()))
                self._stopped.set()

    def _vital_signs(self) -> to_worker.Signs:
        return to_worker.Signs(
            pid=os.getpid(),
            # Waiting for the store is progress to the watchdog: it would not help to kill us.
            answered=self._server.answered + self._disk.debt.patience,
            fenced=self._disk.debt.fenced,
            store_error=self._link.error if self._link else None,
            build=build.identity(),
        )

    def _cut(self, connection: messages.Connection, checkpoint: CheckpointId) -> None:
        cut = self._disk.roots.cut(checkpoint)
        try:
            connection.socket.settimeout(_PUBLISH_TIMEOUT_S)
            connection.send(to_worker.WasCut(cut.generation))
            asked = self._publish(connection, checkpoint)
        except BaseException:
            cut.cancel()
            raise
        done = cut.publish(
            created_at=asked.created_at, comment=asked.comment, frozen_ms=asked.frozen_ms, clean=asked.clean
        )
        connection.socket.settimeout(None)
        connection.send(to_worker.Published(done.text()))

    def _publish(self, connection: messages.Connection, checkpoint: CheckpointId) -> to_worker.Publish:
        for request, fds in connection.requests(to_worker.KINDS):
            descriptors.close_all(fds)
            if isinstance(request, to_worker.Publish):
                return request
            break
        raise errors.PeerError(f"checkpoint {checkpoint}: cancelled before it was published")


def _link(disk: disks.Disk, lineage: list[str]) -> link.Link | None:
    """The disk's tie to its store; its modules are loaded only where there is one."""
    if disk.facts().local.store is None:
        return None
    from ..remote.live import link

    return link.Link(disk, lineage)


def main(
    directory: str, lineage: list[str], fuse_fd: int, delta_fd: int, ready_fd: int, kept: list[int], *, resend: bool
) -> None:
    """The life of a worker, in a process that the zygote forked."""
    syscalls.libc.prctl(_PR_SET_NAME, b"volume-worker", 0, 0, 0)
    # Keeps memory reclaim from waiting for our own disk. Without CAP_SYS_RESOURCE (EPERM) cgroup and O_DIRECT remain.
    syscalls.libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)
    gc.freeze()
    ready = messages.Connection(socket.socket(fileno=ready_fd))
    try:
        worker = Worker(directory, lineage, fuse_fd, delta_fd, kept)
    except (errors.PilotError, OSError) as error:
        ready.send(Failure.of(error))
        return
    worker.run(ready, resend=resend)
