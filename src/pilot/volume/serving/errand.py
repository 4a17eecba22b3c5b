"""What waits in the kernel for an attached disk, done by a process of its own that the zygote forks.

A thread that waits for a disk inside of mount, syncfs or an ioctl is not woken by kill -9. Were it volumed's, volumed
could not end while no worker answers: it would keep the FUSE connection open and its own place taken, so that no
successor could ever start that worker, and each sync() of the host would wait as well. So volumed goes to no disk
itself, and whoever does holds nothing that keeps one alive:

    volumed ── name, arguments, descriptors ──► zygote ── fork ──► errand:   works ── answer, descriptors ──►
               waits on a socket                                             ends when volumed has closed it

It lets go of its descriptors last, so that what the last close of a filesystem does, is done by it. It must never hold
a FUSE descriptor or a lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ... import errors
from ...kernel import directio, ext4, freeze, loop, mounts, syscalls
from .. import messages
from ..messages import Message

_Answer = tuple[Message, list[int]]
_MKFS_SMALL = ("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "32768", "-E", "nodiscard,assume_storage_prezeroed=1")
_MKFS = (*_MKFS_SMALL, "-J", "size=64")
_SMALL_BYTES = 2 << 30
# mkfs leaves out a last block group that is too small to be of use.
_GROW_BYTES = 8 << 20
_TOOL_TIMEOUT_S = 300


def run(connection: messages.Connection, fds: list[int], name: str, arguments: Message) -> None:
    """The life of the process: one of the functions below, its answer, and its end after the asker's."""
    syscalls.libc.prctl(15, b"volume-errand", 0, 0, 0)
    try:
        answer, answer_fds = _TABLE[name](fds, **arguments)
        connection.send({"ok": True, **answer}, answer_fds)
    except OSError as error:
        connection.send({"ok": False, "errno": error.errno, "error": str(error)})
    except errors.PilotError as error:
        connection.send(messages.error_answer(error))
    connection.receive()


def _open_file(fds: list[int]) -> _Answer:
    """FUSE mount → the disk as a file."""
    return {}, [os.open("disk", os.O_RDWR | os.O_CLOEXEC, dir_fd=fds[0])]


def _bind(fds: list[int], device: str, directory: str) -> _Answer:
    """FUSE mount → a loop device of the disk, its number."""
    disk_fd = _open_file(fds)[1][0]
    number, fd = loop.attach(disk_fd, device, directory)
    os.close(disk_fd)
    return {"number": number}, [fd]


def _format(fds: list[int], what: str) -> _Answer:
    """Make an ext4 on the loop device."""
    size = os.lseek(fds[0], 0, os.SEEK_END)
    # A journal of 64 MiB does not fit a tiny disk; mkfs then chooses.
    _tool(f"format {what}", fds[0], _MKFS if size >= _SMALL_BYTES else _MKFS_SMALL, (0,))
    return {}, []


def _mount(fds: list[int], what: str, number: int) -> _Answer:
    """Loop device → a detached mount of the ext4 on it, which has all of a disk that has grown."""
    _grow(fds[0], what)
    options = {"source": _source(fds[0], number), "discard": None}
    return {}, [mounts.mount_detached("ext4", options, mounts.Attribute.NODEV)]


def _source(fd: int, number: int) -> str:
    """What df calls the disk: the device's usual name, or our descriptor where this host has no such node."""
    path = f"/dev/loop{number}"
    try:
        is_same = os.stat(path).st_rdev == os.fstat(fd).st_rdev
    except FileNotFoundError:
        is_same = False
    return path if is_same else f"/proc/self/fd/{fd}"


def _grow(fd: int, what: str) -> None:
    """Unmounted, because not every host may do it mounted."""
    size = ext4.read_size(fd)
    if size is None or size + _GROW_BYTES > os.lseek(fd, 0, os.SEEK_END):
        return
    _tool(f"grow {what}", fd, ("e2fsck", "-fp"), (0, 1))
    _tool(f"grow {what}", fd, ("resize2fs",), (0,))


def _tool(why: str, fd: int, command: tuple[str, ...], accepted: tuple[int, ...]) -> None:
    import subprocess  # each worker would have it

    done = subprocess.run(
        [*command, f"/proc/self/fd/{fd}"], pass_fds=(fd,), capture_output=True, text=True,
        timeout=_TOOL_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode not in accepted:
        raise errors.HostError(f"{why}: {' '.join(command)}: {(done.stderr or done.stdout).strip()}")


def _sync(fds: list[int]) -> _Answer:
    """syncfs of a mount."""
    directio.sync_filesystem(_root(fds[0]))
    return {}, []


def _is_read_only(fds: list[int]) -> _Answer:
    """Whether a filesystem takes no writes any more, as ext4 does once its journal could not be written."""
    root_fd = _root(fds[0])
    try:
        return {"read_only": freeze.is_ext4_read_only(root_fd)}, []
    finally:
        os.close(root_fd)


def _shut_down(fds: list[int]) -> _Answer:
    """End the superblock of an ext4 mount: whoever has it still, can do nothing any more."""
    freeze.shut_down_ext4(_root(fds[0]))
    return {}, []


def _thaw(fds: list[int]) -> _Answer:
    """Undo a freeze whose guard was killed."""
    return {"thawed": freeze.thaw(_root(fds[0]))}, []


def _root(mount_fd: int) -> int:
    """What takes ioctls: a mount's descriptor is O_PATH."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)


_TABLE: dict[str, Callable[..., _Answer]] = {
    "open_file": _open_file,
    "bind": _bind,
    "format": _format,
    "mount": _mount,
    "sync": _sync,
    "is_read_only": _is_read_only,
    "shut_down": _shut_down,
    "thaw": _thaw,
}
