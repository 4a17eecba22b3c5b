"""A process in the world that does what the agent asks: `enter`, then one request after the other, until end of file.

It is a Python of the machine, started by the agent (`pool`), that joins the world's namespaces, its root and its
cgroup: from then on it is the world's root, with the same capabilities over the same things, charged to the same
limits. It is not in the world's pid namespace, so nothing in there sees it. Its working directory is its own
/proc/self/fd, because the world's /proc knows nothing of it (`operations._path_of`).

    1 thread, 1 socket (SEQPACKET):   ◄── Request [inotify]      ──► Answer [file, rows or inotify]

It keeps nothing from one request to the next, and may be killed at any time.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib.machinery
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import msgspec

from ...kernel import syscalls
from .. import rootfs
from . import messages, operations, text, watching

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
OOM_SCORE = 500
Reply = tuple[messages.Answer, list[int]]
_decoder = msgspec.json.Decoder(messages.AnyRequest)
_encode = msgspec.json.Encoder().encode


def main(socket_fd: int, pid_fd: int, root_fd: int, namespaces: int) -> None:
    """The process. Takes all descriptors over; `namespaces` are the CLONE_NEW* in which the world differs from us."""
    syscalls.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    syscalls.libc.prctl(_PR_SET_NAME, ctypes.c_char_p(b"pilot-files"), 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    with socket.socket(fileno=socket_fd) as connection:
        _import_no_more()
        enter(pid_fd, root_fd, namespaces)
        with rootfs.Root.open("/") as root:
            while request := _receive(connection):
                _answer(connection, root, *request)


def _import_no_more() -> None:
    """What is not loaded by now would be loaded from the world: its code, in a process that it cannot see."""
    import array  # noqa: F401 - what socket.recv_fds imports when it is called

    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder]


def enter(pid_fd: int, root_fd: int, namespaces: int) -> None:
    """Become the world's root. Single-threaded: a user namespace is joined by whole processes only (setns(2))."""
    own_fds = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(OOM_SCORE))
    if namespaces:
        syscalls.checked(syscalls.libc.setns(pid_fd, namespaces), "join the world's namespaces")
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    os.fchdir(root_fd)
    os.chroot(".")
    os.fchdir(own_fds)
    os.umask(0o022)
    for fd in (pid_fd, root_fd, own_fds):
        os.close(fd)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]] | None:
    data, fds, _, _ = socket.recv_fds(connection, messages.MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
    return (data, fds) if data else None


def _answer(connection: socket.socket, root: rootfs.Root, data: bytes, given: list[int]) -> None:
    answer, fds = _serve(root, data, given)
    try:
        socket.send_fds(connection, [_encode(answer)], fds)
    finally:
        for fd in {*fds, *given}:
            os.close(fd)


def _serve(root: rootfs.Root, data: bytes, given: list[int]) -> Reply:
    try:
        request = _decoder.decode(data)
        return _SERVE[type(request)](root, request, given)
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else None
        return messages.Answer(problem=messages.problem(error, path and text.tell(path))), []
    except MemoryError:
        full = OSError(errno.ENOMEM, "the world has no memory left for this")
        return messages.Answer(problem=messages.problem(full, None)), []
    except ValueError as error:
        return messages.Answer(problem=messages.Problem(errno=0, text=str(error))), []


def _clean(path: str, request: messages.Request) -> str:
    return rootfs.clean(text.parse(path), text.parse(request.working_dir))


def _list(root: rootfs.Root, request: messages.ListFiles, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    pattern = text.parse(request.pattern)
    return messages.Answer(), [operations.list_entries(root, path, recursive=request.recursive, pattern=pattern)]


def _read(root: rootfs.Root, request: messages.OpenForReading, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    fd, size_bytes = operations.open_for_reading(root, path)
    return messages.Answer(path=text.tell(path), size_bytes=size_bytes), [fd]


def _write(root: rootfs.Root, request: messages.OpenForWriting, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    if request.offset is None:
        fd = operations.open_for_writing(root, path, request.mode, make_parents=request.make_parents)
    else:
        fd = operations.open_to_go_on(root, path, request.mode, request.offset)
    return messages.Answer(path=text.tell(path)), [fd]


def _delete(root: rootfs.Root, request: messages.Delete, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    operations.delete(root, path, recursive=request.recursive)
    return messages.Answer(path=text.tell(path)), []


def _rename(root: rootfs.Root, request: messages.Rename, _: Sequence[int]) -> Reply:
    source, dest = _clean(request.source, request), _clean(request.dest, request)
    operations.rename(root, source, dest)
    return messages.Answer(path=text.tell(source), dest=text.tell(dest)), []


def _copy(root: rootfs.Root, request: messages.Copy, _: Sequence[int]) -> Reply:
    source, dest = _clean(request.source, request), _clean(request.dest, request)
    rows = operations.copy(root, source, dest, recursive=request.recursive, preserve=request.preserve)
    return messages.Answer(), [rows]


def _change_mode(root: rootfs.Root, request: messages.ChangeMode, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    return messages.Answer(), [operations.change_mode(root, path, request.mode, recursive=request.recursive)]


def _change_owner(root: rootfs.Root, request: messages.ChangeOwner, _: Sequence[int]) -> Reply:
    path = _clean(request.path, request)
    uid = operations.find_id(root, "/etc/passwd", request.uid)
    gid = operations.find_id(root, "/etc/group", request.gid)
    return messages.Answer(), [operations.change_owner(root, path, uid, gid, recursive=request.recursive)]


def _watch(root: rootfs.Root, request: messages.Watch, given: Sequence[int]) -> Reply:
    paths = [_clean(path, request) for path in request.paths]
    return messages.Answer(), watching.watch(root, request, paths, list(given))


def _sizes(root: rootfs.Root, request: messages.Sizes, _: Sequence[int]) -> Reply:
    return messages.Answer(sizes=[watching.size(root, _clean(path, request)) for path in request.paths]), []


_SERVE: dict[type, Callable[..., Reply]] = {
    messages.ListFiles: _list,
    messages.OpenForReading: _read,
    messages.OpenForWriting: _write,
    messages.Delete: _delete,
    messages.Rename: _rename,
    messages.Copy: _copy,
    messages.ChangeMode: _change_mode,
    messages.ChangeOwner: _change_owner,
    messages.Watch: _watch,
    messages.Sizes: _sizes,
}
