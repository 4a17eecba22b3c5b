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

from ... import errors
from ...kernel import directio, ext4, freeze, loop, mounts, syscalls
from .. import messages
from ..requests import to_errand
from ..requests.base import Answer, AnyRequest, Doers, Failure

Made = tuple[Answer, list[int]]
_DONE = Answer()
_MKFS_SMALL = ("mkfs.ext4", "-q", "-F", "-m", "0", "-i", "32768", "-E", "nodiscard,assume_storage_prezeroed=1")
_MKFS = (*_MKFS_SMALL, "-J", "size=64")
_SMALL_BYTES = 2 << 30
# mkfs leaves out a last block group that is too small to be of use.
_GROW_BYTES = 8 << 20
_TOOL_TIMEOUT_S = 300


def run(connection: messages.Connection, fds: list[int], request: AnyRequest) -> None:
    """The life of the process: one of the functions below, its answer, and its end after the asker's."""
    syscalls.libc.prctl(15, b"volume-errand", 0, 0, 0)
    try:
        answer, answer_fds = DOERS.do(fds, request)
        connection.send(answer, answer_fds)
    except OSError as error:
        connection.send(Failure(error=str(error), errno=error.errno))
    except errors.PilotError as error:
        connection.send(Failure.of(error))
    connection.receive()


def _open_file(fds: list[int], _: to_errand.OpenFile) -> Made:
    """FUSE mount → the disk as a file."""
    return _DONE, [_open(fds)]


def _open(fds: list[int]) -> int:
    return os.open("disk", os.O_RDWR | os.O_CLOEXEC, dir_fd=fds[0])


def _bind(fds: list[int], asked: to_errand.Bind) -> Made:
    """FUSE mount → a loop device of the disk, its number."""
    disk_fd = _open(fds)
    number, fd = loop.attach(disk_fd, asked.device, asked.directory)
    os.close(disk_fd)
    return to_errand.Bound(number), [fd]


def _format(fds: list[int], asked: to_errand.Format) -> Made:
    """Make an ext4 on the loop device."""
    size = os.lseek(fds[0], 0, os.SEEK_END)
    # A journal of 64 MiB does not fit a tiny disk; mkfs then chooses.
    _tool(f"format {asked.what}", fds[0], _MKFS if size >= _SMALL_BYTES else _MKFS_SMALL, (0,))
    return _DONE, []


def _mount(fds: list[int], asked: to_errand.Mount) -> Made:
    """Loop device → a detached mount of the ext4 on it, which has all of a disk that has grown; one more of an ext4
    that is mounted is as large as that is."""
    if not os.path.exists(f"/sys/fs/ext4/loop{asked.number}"):
        _grow(fds[0], asked.what)
    options = {"source": _source(fds[0], asked.number), "discard": None}
    return _DONE, [mounts.mount_detached("ext4", options, mounts.Attribute.NODEV)]


def _source(fd: int, number: int) -> str:
    """What df calls the disk: the device's usual name, or our descriptor where this host has no such node."""
    path = f"/dev/loop{number}"
    try:
        is_same = os.stat(path).st_rdev == os.fstat(fd).st_rdev
    except FileNotFoundError:
        is_same = False
    return path if is_same else f"/proc/self/fd/{fd}"


def _grow_mounted(fds: list[int], asked: to_errand.Grow) -> Made:
    """FUSE mount, loop device, mount of the ext4 on it: each follows the one below, while all of them are used."""
    mount_fd, device_fd, ext4_fd = fds
    disk_fd = _open([mount_fd])
    try:
        os.ftruncate(disk_fd, asked.size_bytes)  # the worker knows already: this kernel's idea of the size follows
    finally:
        os.close(disk_fd)
    loop.follow_size(device_fd)
    ext4.grow_mounted(f"/proc/self/fd/{ext4_fd}")
    return _DONE, []


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


def _sync(fds: list[int], _: to_errand.Sync) -> Made:
    """syncfs of a mount."""
    directio.sync_filesystem(_root(fds[0]))
    return _DONE, []


def _is_read_only(fds: list[int], _: to_errand.IsReadOnly) -> Made:
    """Whether a filesystem takes no writes any more, as ext4 does once its journal could not be written."""
    root_fd = _root(fds[0])
    try:
        return to_errand.ReadOnly(freeze.is_ext4_read_only(root_fd)), []
    finally:
        os.close(root_fd)


def _shut_down(fds: list[int], _: to_errand.ShutDown) -> Made:
    """End the superblock of an ext4 mount: whoever has it still, can do nothing any more."""
    freeze.shut_down_ext4(_root(fds[0]))
    return _DONE, []


def _thaw(fds: list[int], _: to_errand.Thaw) -> Made:
    """Undo a freeze whose guard was killed."""
    return to_errand.Thawed(freeze.thaw(_root(fds[0]))), []


def _root(mount_fd: int) -> int:
    """What takes ioctls: a mount's descriptor is O_PATH."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)


# Who does what to the descriptors that came along.
DOERS = Doers[list[int], Made]()
DOERS.add(to_errand.OpenFile, _open_file)
DOERS.add(to_errand.Bind, _bind)
DOERS.add(to_errand.Format, _format)
DOERS.add(to_errand.Mount, _mount)
DOERS.add(to_errand.Grow, _grow_mounted)
DOERS.add(to_errand.Sync, _sync)
DOERS.add(to_errand.IsReadOnly, _is_read_only)
DOERS.add(to_errand.ShutDown, _shut_down)
DOERS.add(to_errand.Thaw, _thaw)
