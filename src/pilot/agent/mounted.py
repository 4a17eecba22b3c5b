"""Files that the agent itself answers: one FUSE mount, served by a thread of its own through all agents of a machine.

    <run>/NAME     mounted once in a machine's life; the connection's descriptor is in init's store, so that who asks
                   while there is no agent waits for the next one

Requests that an agent had taken before it ended are sent again to the next one (kernel 6.9; on an older one who asked
waits, even when it is killed, until the machine ends). All files pass the page cache by, so there is nothing that
anybody would have to write back, and memory of no reader is waited for. A thread of its own, because the agent itself
may come upon such a file (a link that the root of a world has put somewhere), and must not wait for itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
import select
import threading
from collections.abc import Callable

from .. import errors
from ..kernel import fuse as proto
from ..kernel import mounts
from ..kernel.fuse import Op
from .machine import Link

_MAX_WRITE_BYTES = 4096
_REQUEST_BYTES = 2 * 4096 + _MAX_WRITE_BYTES
_SILENT = frozenset({Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT})
_CONSENT = frozenset({Op.RELEASEDIR, Op.ACCESS, Op.FLUSH, Op.DESTROY})
# Processes of the world are neither ours nor of our user namespace; it lies below ours, which is what is asked for.
_OPTIONS = {"source": "pilot", "rootmode": "40000", "user_id": "0", "group_id": "0", "allow_other": None}
_GONE = (errno.ENOENT, errno.ENODEV)  # nobody waits for an answer any more
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Request:
    """`unique`: what an answer that comes later is for. `thread`: who asks; 0 for one of no namespace of ours."""

    op: int
    unique: int
    node: int
    body: memoryview
    thread: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether a thread of this process asks. It must not be made to wait for what another one of it has to do: a
        process that is killed meanwhile would never end, nor would this connection."""
        return os.path.exists(f"/proc/self/task/{self.thread}")


# In the thread. None: it is answered later (`Mounted.answer`). OSError is what who asks hears.
Answer = Callable[[Request], bytes | None]


@dataclasses.dataclass(frozen=True)
class Place:
    """`store_name`: in init's store. `else_`: what is so when it cannot be served, for the log."""

    name: str
    store_name: str
    directory: str
    else_: str
    attributes: mounts.Attribute
    by_modes: bool = False  # the kernel lets in whom the files' modes let in


class Mounted:
    """What is asked there is asked of `answer`."""

    def __init__(self, link: Link, place: Place, answer: Answer) -> None:
        self._link = link
        self._place = place
        self._answer = answer
        self._fd = self._wake_fd = -1
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def open(self) -> None:
        """Be there; a former agent's mount is gone on with.

        Where that fails nothing is left mounted: with nobody to answer, who reads would wait for ever.
        """
        try:
            with contextlib.ExitStack() as undo:
                self._open(undo)
                undo.pop_all()
        except (OSError, errors.PilotError, RuntimeError) as error:
            _log.warning("%s: %s", self._place.else_, errors.told(error))

    def _open(self, undo: contextlib.ExitStack) -> None:
        """What can fail without a trace comes first."""
        wake_fd = os.eventfd(0, os.EFD_CLOEXEC)
        undo.callback(os.close, wake_fd)
        taken_over = self._place.store_name in self._link.inherited
        if taken_over:
            self._fd = self._link.take(self._place.store_name)
            undo.callback(os.close, self._fd)
            undo.callback(self._unmount)
        else:
            self._fd = self._mount(undo)
        self._wake_fd = wake_fd
        thread = threading.Thread(target=self._serve, name=self._place.name, daemon=True)
        thread.start()
        self._thread = thread
        if taken_over:
            self._resend()

    def _mount(self, undo: contextlib.ExitStack) -> int:
        """The connection's descriptor, which is in init's store before anybody can ask for anything."""
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        by_modes = {"default_permissions": None} if self._place.by_modes else {}
        mount_fd = mounts.mount_detached("fuse", {**_OPTIONS, **by_modes, "fd": str(fd)}, self._place.attributes)
        try:
            self._clear()
            undo.callback(self._unmount)
            self._link.put(self._place.store_name, fd)
            mounts.move_mount(mount_fd, self._place.directory)
        finally:
            os.close(mount_fd)
        return fd

    def _clear(self) -> None:
        """A directory, and nothing mounted there. What a former agent left is not even looked at: who looks waits as
        long as somebody has the descriptor of that connection and does not answer."""
        os.makedirs(os.path.dirname(self._place.directory), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._place.directory, 0o755)
        self._unmount()

    def _unmount(self) -> None:
        """Also in worlds that have files of it: with its last descriptor the connection ends, and readers hear so."""
        with contextlib.suppress(errors.PilotError):  # where init is gone, so is what it stores
            self._link.drop(self._place.store_name)
        try:  # not asked for first: whoever looks at it waits for an answer
            mounts.umount(self._place.directory, mounts.Unmount.DETACH | mounts.Unmount.NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EINVAL:  # nothing is mounted
                raise

    def _resend(self) -> None:
        try:
            os.write(self._fd, proto.ANSWER.pack(proto.ANSWER.size, proto.NOTIFY_RESEND, 0))
        except OSError as error:
            _log.info("requests that a former agent took are not sent again: %s", error.strerror)

    def close(self) -> None:
        """Leave the mount to the next agent."""
        if self._thread is None:
            return
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        self._thread = None
        os.close(self._fd)
        os.close(self._wake_fd)
        self._fd = self._wake_fd = -1

    def answer(self, unique: int, said: bytes, code: int = 0) -> None:
        """From any thread; nothing when it is closed, as the next agent is asked again."""
        try:
            os.writev(self._fd, [proto.ANSWER.pack(proto.ANSWER.size + len(said), -code, unique), said])
        except OSError as error:
            if error.errno not in (*_GONE, errno.EBADF):
                _log.error("answer who asks at %s: %s", self._place.directory, error)

    # ---- the thread

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._wake_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if self._wake_fd in ready:
                return
            try:
                request = os.read(self._fd, _REQUEST_BYTES)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT):
                    continue  # somebody gave up in between
                if error.errno != errno.ENODEV:  # unmounted
                    _log.error("serve %s: %s", self._place.directory, error)
                return
            self._one(request)

    def _one(self, data: bytes) -> None:
        _, op, unique, node, _, _, thread, *_ = proto.HEADER.unpack_from(data)
        if op in _SILENT:
            return
        try:
            said = self._common(Request(op, unique, node, memoryview(data)[proto.HEADER.size :], thread))
        except OSError as error:
            self.answer(unique, b"", error.errno or errno.EIO)
        except Exception:  # noqa: BLE001 - the edge of this thread: whoever asks must hear of it, and hear EIO
            _log.exception("serve %s", self._place.directory)
            self.answer(unique, b"", errno.EIO)
        else:
            if said is not None:
                self.answer(unique, said)

    def _common(self, request: Request) -> bytes | None:
        """What every mount answers in the same way, and what only this one does."""
        if request.op == Op.INIT:
            return proto.init_answer(*proto.parse_init(request.body), _MAX_WRITE_BYTES)
        if request.op in _CONSENT:
            return b""
        if request.op == Op.OPENDIR:
            return proto.open_answer(direct=False)
        if request.op == Op.STATFS:
            return proto.statfs_answer(0, 4096)
        if request.op == Op.READ and not proto.is_for_a_reader(request.body):
            # What sendfile(2) and its like ask for stays in the page cache, for others: who is refused it reads.
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if request.op in proto.NAMING:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return self._answer(request)


def not_implemented() -> OSError:
    return OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
