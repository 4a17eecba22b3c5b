"""Serves the texts as files of one FUSE mount, by a thread of the agent.

    <run>/view/NAME     mounted once in a machine's life; the connection's descriptor is in init's store, so that who
                        reads while there is no agent waits for the next one

Stateless but for the texts that are being read: node numbers follow from names, and requests that an agent had taken
before it ended are sent again to the next one (kernel 6.9; on an older one their reader waits until it is killed). All
files are read-only and pass the page cache by, so there is nothing that anybody would have to write back, and memory of
no reader is waited for. A thread of its own, because the agent itself may come upon such a file (a link that the
world's root has put somewhere), and must not wait for itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import threading
from collections.abc import Callable

from ... import errors
from ...kernel import fuse as proto
from ...kernel import mounts
from ...kernel.fuse import Node, Op
from ..machine import Link
from . import places
from .readings import Readings

STORE_NAME = "agent/view"
_MAX_WRITE_BYTES = 4096
_REQUEST_BYTES = 2 * 4096 + _MAX_WRITE_BYTES
_FIRST = 2
_SILENT = frozenset({Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT})
_CONSENT = frozenset({Op.RELEASEDIR, Op.ACCESS, Op.FLUSH, Op.DESTROY})
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC | mounts.Attribute.RDONLY
# Processes of the world are neither ours nor of our user namespace; it lies below ours, which is what is asked for.
_OPTIONS = {"source": "pilot", "rootmode": "40000", "user_id": "0", "group_id": "0", "allow_other": None}
_log = logging.getLogger(__name__)
Text = Callable[[str], str]


class Server:
    """`text(NAME)` is called in the thread; OSError is what the reader hears."""

    def __init__(self, link: Link, run: str, text: Text) -> None:
        self._link = link
        self._directory = os.path.join(run, places.DIRECTORY)
        self._readings = Readings(text)
        self._nodes = {
            name: Node(number, 0, False, False, is_public=True) for number, name in enumerate(places.FILES, _FIRST)
        }
        self._names = {node.number: name for name, node in self._nodes.items()}
        self._fd = self._wake_fd = -1
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Be there; a former agent's mount is gone on with.

        Where that fails worlds are shown the host's numbers, and nothing is left mounted: with nobody to answer, who
        reads would wait for ever.
        """
        try:
            with contextlib.ExitStack() as undo:
                self._open(undo)
                undo.pop_all()
        except (OSError, errors.PilotError, RuntimeError) as error:
            _log.warning("worlds are shown the host's numbers: %s", errors.told(error))

    def _open(self, undo: contextlib.ExitStack) -> None:
        """What can fail without a trace comes first."""
        wake_fd = os.eventfd(0, os.EFD_CLOEXEC)
        undo.callback(os.close, wake_fd)
        taken_over = STORE_NAME in self._link.inherited
        if taken_over:
            self._fd = self._link.take(STORE_NAME)
            undo.callback(os.close, self._fd)
            undo.callback(self._unmount)
        else:
            self._fd = self._mount(undo)
        self._wake_fd = wake_fd
        thread = threading.Thread(target=self._serve, name="view", daemon=True)
        thread.start()
        self._thread = thread
        if taken_over:
            self._resend()

    def _mount(self, undo: contextlib.ExitStack) -> int:
        """The connection's descriptor, which is in init's store before anybody can ask for anything."""
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        mount_fd = mounts.mount_detached("fuse", {**_OPTIONS, "fd": str(fd)}, _ATTRIBUTES)
        try:
            self._clear()
            undo.callback(self._unmount)
            self._link.put(STORE_NAME, fd)
            mounts.move_mount(mount_fd, self._directory)
        finally:
            os.close(mount_fd)
        return fd

    def _clear(self) -> None:
        """A directory, and nothing mounted there. What a former agent left is not even looked at: who looks waits as
        long as somebody has the descriptor of that connection and does not answer."""
        os.makedirs(os.path.dirname(self._directory), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, 0o755)
        self._unmount()

    def _unmount(self) -> None:
        """Also in worlds that have files of it: with its last descriptor the connection ends, and readers hear so."""
        with contextlib.suppress(errors.PilotError):  # where init is gone, so is what it stores
            self._link.drop(STORE_NAME)
        try:  # not asked for first: whoever looks at it waits for an answer
            mounts.umount(self._directory, mounts.Unmount.DETACH | mounts.Unmount.NOFOLLOW)
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
                    _log.error("serve what worlds are shown: %s", error)
                return
            self._one(request)

    def _one(self, request: bytes) -> None:
        _, op, unique, node, *_ = proto.HEADER.unpack_from(request)
        if op in _SILENT:
            return
        try:
            answer, code = self._answer(op, node, memoryview(request)[proto.HEADER.size :]), 0
        except OSError as error:
            answer, code = b"", error.errno or errno.EIO
        except Exception:  # noqa: BLE001 - the edge of this thread: whoever reads must hear of it, and hear EIO
            _log.exception("show a world %s", self._names.get(node, node))
            answer, code = b"", errno.EIO
        try:
            os.writev(self._fd, [proto.ANSWER.pack(proto.ANSWER.size + len(answer), -code, unique), answer])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for it any more
                _log.error("answer what a world is shown: %s", error)

    def _answer(self, op: int, node: int, body: memoryview) -> bytes:
        if op == Op.INIT:
            return proto.init_answer(*proto.parse_init(body), _MAX_WRITE_BYTES)
        if op in _CONSENT:
            return b""
        if op == Op.LOOKUP:
            return proto.entry_answer(_known(self._nodes.get(proto.parse_name(body))))
        if op == Op.GETATTR:
            return proto.attributes_answer(self._node(node))
        if op == Op.OPEN:
            return proto.open_answer(direct=True, handle=self._readings.open())
        if op == Op.OPENDIR:
            return proto.open_answer(direct=False)
        if op == Op.READ:
            name = self._names[self._node(node).number]
            return self._readings.read(proto.parse_handle(body), name, *proto.parse_io(body))
        if op == Op.RELEASE:
            self._readings.close(proto.parse_handle(body))
            return b""
        if op == Op.READDIR:
            return proto.directory_entries(list(self._nodes.items()), *proto.parse_io(body))
        if op == Op.STATFS:
            return proto.statfs_answer(0, 4096)
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def _node(self, number: int) -> Node:
        if number == proto.ROOT:
            return Node(proto.ROOT, 0, True, False)
        return _known(self._nodes.get(self._names.get(number, "")))


def _known(node: Node | None) -> Node:
    if node is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return node
