"""The process that serves one attached disk: FUSE threads over `disk.Disk`, and a control socket for volumed.

    zygote ── fork ──► worker: opens the disk, listens at disks/<disk>/worker.sock, answers "ready" on the given socket
    volumed ── worker.sock ──► cut, publish, fork, … (methods of `disk.Disk`), keep, parcel, stop

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
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...ids import CheckpointId
from ...kernel import fds as descriptors
from ...kernel import syscalls
from .. import build, messages
from ..disk import disk as disks
from ..messages import Message
from . import fuse

if TYPE_CHECKING:
    from ..remote.live import link

_log = logging.getLogger(__name__)
SOCKET = "worker.sock"
_PUBLISH_TIMEOUT_S = 10
_DRAIN_TIMEOUT_S = 30
_PR_SET_NAME, _PR_SET_IO_FLUSHER = 15, 57


class Operations:
    """A disk's methods by name, with arguments and results that JSON can carry; used here and, detached, by volumed."""

    def __init__(self, disk: disks.Disk) -> None:
        self._disk = disk

    def call(self, op: str, **arguments: object) -> Message:
        """Run operation `op`; PeerError when there is none of that name."""
        method = getattr(self, "do_" + op, None)
        if method is None:
            raise errors.PeerError(f"operation {op}: unknown")
        result: Message = method(**arguments) or {}
        return result

    def do_facts(self) -> Message:
        return {"facts": self._disk.facts().rows(), "usage": self._disk.usage()}

    def do_store(self) -> Message:
        usage = self._disk.usage()
        return {"store": {"unsent_bytes": usage["unsent_bytes"], "cold_bytes": usage["cold_bytes"]}}

    def do_flush(self) -> None:
        self._disk.flush()

    def do_set_facts(self, facts: dict[str, str | None]) -> None:
        self._disk.change_facts(lambda known: known.with_rows(facts))

    def do_fork(self, child: str, checkpoint: str | None) -> Message:
        root = self._disk.roots.fork(child, CheckpointId(checkpoint) if checkpoint else None)
        return {"root": root.hex()}

    def do_forks(self) -> Message:
        return {"forks": self._disk.roots.forks()}

    def do_unfork(self, child: str) -> None:
        self._disk.roots.unfork(child)

    def do_abandon(self) -> None:
        self._disk.roots.abandon()

    def do_restore(self, checkpoint: str) -> None:
        self._disk.roots.restore(CheckpointId(checkpoint))

    def do_mend(self, slots: list[int]) -> Message:
        return mend(self._disk, slots)

    def do_resize(self, size_bytes: int) -> None:
        self._disk.resize(size_bytes)

    def do_delete_checkpoint(self, checkpoint: str) -> None:
        self._disk.roots.delete_checkpoint(CheckpointId(checkpoint))


def mend(disk: disks.Disk, slots: Sequence[int]) -> Message:
    """Have these slots as the store has them; of a disk that is tied to its store."""
    mended, failed = [], {}
    for slot in slots:
        try:
            disk.warmth.vouch(slot)
            mended.append(slot)
        except OSError as error:
            failed[slot] = error.strerror or str(error)
    return {"mended": mended, "failed": failed}


class Worker:
    """Owns the disk, the server and the control socket."""

    def __init__(self, directory: str, lineage: list[str], fuse_fd: int, delta_fd: int, kept: list[int]) -> None:
        self._fuse_fd = fuse_fd
        self._delta_fd = delta_fd
        self._disk = disks.Disk(directory, lineage, delta_fd)
        self._operations = Operations(self._disk)
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
        threading.Thread(target=self._accept, name="control", daemon=True).start()
        ready.send({"ok": True, "pid": os.getpid()})
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

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(sock,), name="control", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = messages.Connection(sock)
        try:
            while (received := connection.receive()) is not None:
                request, fds = received
                if request.get("op") == "keep":
                    self._parcel, fds = fds, self._parcel
                descriptors.close_all(fds)
                self._one(connection, request)
        except errors.PeerError as error:
            _log.warning("control: %s", error)
        finally:
            connection.close()

    def _one(self, connection: messages.Connection, request: Message) -> None:
        op = str(request.pop("op", ""))
        try:
            if op == "keep":
                connection.send({"ok": True})
            elif op == "parcel":
                connection.send({"ok": True, "pid": os.getpid()}, [self._fuse_fd, self._delta_fd, *self._parcel])
            elif op == "ping":
                connection.send({"ok": True, **self._vital_signs()})
            elif op == "cut":
                self._cut(connection, CheckpointId(request["checkpoint"]))
            elif op == "stop":
                connection.send({"ok": True, "drained": self._drain()})
                self._stopped.set()
            else:
                connection.send({"ok": True, **self._operations.call(op, **request)})
        except (errors.PilotError, OSError, KeyError, TypeError) as error:
            _log.warning("%s: %s", op, error)
            connection.send(messages.error_answer(error))

    def _vital_signs(self) -> Message:
        # Waiting for the store is progress to the watchdog: it would not help to kill us.
        answered = self._server.answered + self._disk.debt.patience
        error = self._link.error if self._link else None
        return {
            "pid": os.getpid(), "build": build.identity(), "answered": answered,
            "fenced": self._disk.debt.fenced, "store_error": error,
        }  # fmt: skip

    def _cut(self, connection: messages.Connection, checkpoint: CheckpointId) -> None:
        cut = self._disk.roots.cut(checkpoint)
        try:
            connection.socket.settimeout(_PUBLISH_TIMEOUT_S)
            connection.send({"ok": True, "generation": cut.generation})
            received = connection.receive()
            if received is None or received[0].pop("op", None) != "publish":
                raise errors.PeerError(f"checkpoint {checkpoint}: cancelled before it was published")
        except BaseException:
            cut.cancel()
            raise
        done = cut.publish(**received[0])
        connection.socket.settimeout(None)
        connection.send({"ok": True, "checkpoint": done.text()})


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
        ready.send(messages.error_answer(error))
        return
    worker.run(ready, resend=resend)
