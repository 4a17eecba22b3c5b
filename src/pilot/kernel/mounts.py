"""Mounts: typed wrappers of the kernel's two mount interfaces, and what is mounted as values.

The new interface makes a *detached* mount, which lives as long as a descriptor of it and is in no mount namespace:

    fsopen ── fsconfig(key, value)* ── fsconfig(CREATE) ── fsmount ──► mount_fd ── move_mount ──► in the tree
    open_tree(clone) of what is mounted already ──────────────────────► mount_fd ── mount_setattr (flags, idmap)

Every function raises `OSError` with errno, what was tried, what the kernel logged about it, and the path. Every
descriptor returned is close-on-exec and belongs to the caller; descriptors passed in stay the caller's. Nothing here
decides what to mount, follows a policy about paths, or remembers anything.
"""

from __future__ import annotations

import ctypes
import enum
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..plan import abi
from . import syscalls
from .syscalls import AT_FDCWD

Flag = abi.MountFlag
Attribute = abi.MountAttribute
Propagation = abi.Propagation


class Unmount(enum.IntFlag):
    """Flags of umount2(2)."""

    NONE = 0
    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = _OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_MOVE_MOUNT_BENEATH = 0x200
_SET_FLAG, _SET_STRING, _SET_FD, _CREATE, _RECONFIGURE = 0, 1, 5, 6, 7


# ---- the new interface ------------------------------------------------------------------------------------------


def fsopen(fstype: str) -> int:
    """A new, unconfigured filesystem context; ENODEV when the kernel has no `fstype`."""
    return syscalls.call(syscalls.FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC, what=f"fsopen {fstype}")


def fsconfig(fs_fd: int, key: str, value: str | int | None = None) -> None:
    """Set a parameter of a filesystem context: a text, a descriptor (int), or a flag (None)."""
    if value is None:
        _fsconfig(fs_fd, _SET_FLAG, key, None, 0, f"set {key}")
    elif isinstance(value, str):
        _fsconfig(fs_fd, _SET_STRING, key, os.fsencode(value), 0, f"set {key}={value}")
    else:
        _fsconfig(fs_fd, _SET_FD, key, None, value, f"set {key} to descriptor {value}")


def create(fs_fd: int) -> None:
    """Make the superblock that the context describes."""
    _fsconfig(fs_fd, _CREATE, None, None, 0, "create superblock")


def reconfigure(fs_fd: int) -> None:
    """Apply the parameters set since `fspick` to the existing superblock."""
    _fsconfig(fs_fd, _RECONFIGURE, None, None, 0, "reconfigure superblock")


def fspick(path: str | os.PathLike[str]) -> int:
    """A context for reconfiguring the filesystem mounted at `path`."""
    name = os.fspath(path)
    return syscalls.call(syscalls.FSPICK, AT_FDCWD, os.fsencode(name), 1, what="fspick", path=name)


def fsmount(fs_fd: int, attributes: Attribute = Attribute.NONE) -> int:
    """A detached mount of a created superblock."""
    return _logged(fs_fd, syscalls.FSMOUNT, fs_fd, _FSMOUNT_CLOEXEC, int(attributes), what="fsmount")


def mount_detached(
    fstype: str,
    options: Mapping[str, str | int | None] | None = None,
    attributes: Attribute = Attribute.NONE,
) -> int:
    """fsopen → fsconfig → fsmount in one go: a detached mount, in no mount namespace. `source` is an option too."""
    fs_fd = fsopen(fstype)
    try:
        for key, value in (options or {}).items():
            fsconfig(fs_fd, key, value)
        create(fs_fd)
        return fsmount(fs_fd, attributes)
    except OSError as error:
        error.strerror = f"mount {fstype}: {error.strerror}"
        source = (options or {}).get("source")
        error.filename = source if isinstance(source, str) else None
        raise
    finally:
        os.close(fs_fd)


def open_tree(path: str | os.PathLike[str], *, clone: bool = False, recursive: bool = False) -> int:
    """A descriptor of the mount at `path`; `clone` makes a detached copy of it (a bind), `recursive` with all below."""
    return open_tree_at(AT_FDCWD, path, clone=clone, recursive=recursive)


def open_tree_at(dir_fd: int, path: str | os.PathLike[str], *, clone: bool = False, recursive: bool = False) -> int:
    """As `open_tree`, relative to `dir_fd`; an empty path means what `dir_fd` itself refers to."""
    name = os.fspath(path)
    flags = _OPEN_TREE_CLOEXEC | (0 if name else syscalls.AT_EMPTY_PATH)
    flags |= (_OPEN_TREE_CLONE if clone else 0) | (syscalls.AT_RECURSIVE if recursive and clone else 0)
    return syscalls.call(syscalls.OPEN_TREE, dir_fd, os.fsencode(name), flags, what="open_tree", path=name)


def device_node(mode: int, number: int, uid: int, gid: int) -> int:
    """A detached mount of a new device node in a tmpfs of its own; EINVAL before Linux 6.15."""
    tmpfs_fd = mount_detached("tmpfs", {"mode": "0700", "nr_inodes": "2"}, Attribute.NOSUID | Attribute.NOEXEC)
    try:
        os.mknod("node", mode, number, dir_fd=tmpfs_fd)
        os.chmod("node", mode & 0o7777, dir_fd=tmpfs_fd)
        os.chown("node", uid, gid, dir_fd=tmpfs_fd)
        return open_tree_at(tmpfs_fd, "node", clone=True)
    finally:
        os.close(tmpfs_fd)


def move_mount(mount_fd: int, target: str | os.PathLike[str] | int, *, beneath: bool = False) -> None:
    """Put a detached mount into the tree at `target`, a path or a descriptor of the place. `mount_fd` stays open.

    `beneath` (Linux 6.5): below what is mounted there, so that it is seen when that is gone.
    """
    if isinstance(target, int):
        to_fd, name, flags = target, "", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    else:
        to_fd, name, flags = AT_FDCWD, os.fspath(target), _MOVE_MOUNT_F_EMPTY_PATH
    flags |= _MOVE_MOUNT_BENEATH if beneath else 0
    path = name or f"descriptor {to_fd}"
    syscalls.call(syscalls.MOVE_MOUNT, mount_fd, b"", to_fd, os.fsencode(name), flags, what="move_mount", path=path)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def set_attributes(
    mount: str | os.PathLike[str] | int,
    *,
    add: Attribute = Attribute.NONE,
    clear: Attribute = Attribute.NONE,
    propagation: Propagation | None = None,
    userns_fd: int | None = None,
    recursive: bool = False,
) -> None:
    """mount_setattr(2) on a path or a mount descriptor.

    `userns_fd` idmaps the mount to that user namespace: only on a detached mount, once. EINVAL when the filesystem
    does not know idmapped mounts.
    """
    dir_fd, name = (mount, "") if isinstance(mount, int) else (AT_FDCWD, os.fspath(mount))
    if userns_fd is not None:
        add |= Attribute.IDMAP
    attr = _MountAttr(int(add), int(clear), int(propagation or 0), userns_fd or 0)
    flags = (0 if name else syscalls.AT_EMPTY_PATH) | (syscalls.AT_RECURSIVE if recursive else 0)
    syscalls.call(
        syscalls.MOUNT_SETATTR, dir_fd, os.fsencode(name), flags, ctypes.byref(attr), ctypes.sizeof(attr),
        what="mount_setattr", path=name or f"descriptor {dir_fd}",
    )  # fmt: skip


# ---- the old interface ------------------------------------------------------------------------------------------


def mount(
    source: str | None,
    target: str | os.PathLike[str],
    fstype: str | None = None,
    flags: Flag = Flag.NONE,
    data: str | None = None,
) -> None:
    """mount(2)."""
    name = os.fspath(target)
    result = syscalls.libc.mount(
        _bytes(source), os.fsencode(name), _bytes(fstype), ctypes.c_ulong(int(flags)), _bytes(data)
    )
    syscalls.checked(result, f"mount {fstype or source or flags!r}", name)


def bind(source: str | os.PathLike[str], target: str | os.PathLike[str], *, recursive: bool = False) -> None:
    """Make what is at `source` visible at `target` too."""
    mount(os.fspath(source), target, None, Flag.BIND | (Flag.REC if recursive else Flag.NONE))


def umount(target: str | os.PathLike[str], flags: Unmount = Unmount.NONE) -> None:
    """umount2(2): EBUSY when it is in use, EINVAL when nothing is mounted there."""
    name = os.fspath(target)
    syscalls.checked(syscalls.libc.umount2(os.fsencode(name), int(flags)), "umount", name)


# ---- what is mounted --------------------------------------------------------------------------------------------


class MountEntry(NamedTuple):
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), unescaped.

    `root` is the directory of the filesystem that forms this mount, `optional` as in `shared:2`.
    """

    mount_id: int
    parent_id: int
    device: tuple[int, int]
    root: str
    mount_point: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def peer_group(self) -> int | None:
        """The id of the peer group when the mount is shared, else None."""
        return next((int(o[7:]) for o in self.optional if o.startswith("shared:")), None)


def parse_mountinfo(text: str) -> list[MountEntry]:
    """All of a mountinfo file, in mount order. ValueError on a line that is not one of mountinfo."""
    return [_parse_line(line) for line in text.splitlines() if line]


def read_mountinfo(pid: int | None = None) -> list[MountEntry]:
    """What is mounted in the mount namespace of `pid`, or in our own."""
    # surrogateescape: mount points are bytes, not necessarily UTF-8.
    with open(f"/proc/{pid or 'self'}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mountinfo(file.read())


def mounts_below(entries: Iterable[MountEntry], path: str) -> Iterator[MountEntry]:
    """The entries at `path` or under it, the latest first: the order in which they can be unmounted."""
    root = os.path.normpath(path)
    prefix = root.rstrip("/") + "/"
    for entry in reversed(list(entries)):
        if entry.mount_point == root or entry.mount_point.startswith(prefix):
            yield entry


def is_mount_point(path: str | os.PathLike[str]) -> bool:
    """Whether something is mounted exactly at `path`, bind mounts included (which `os.path.ismount` misses)."""
    real = os.path.realpath(path)
    return any(entry.mount_point == real for entry in read_mountinfo())


def _parse_line(line: str) -> MountEntry:
    left, separator, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    if not separator or len(fields) < 6 or len(tail) < 3:
        raise ValueError(f"not a line of mountinfo: {line!r}")
    major, minor = fields[2].split(":")
    return MountEntry(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=(int(major), int(minor)),
        root=_unescape(fields[3]),
        mount_point=_unescape(fields[4]),
        options=tuple(fields[5].split(",")),
        optional=tuple(fields[6:]),
        fstype=_unescape(tail[0]),
        source=_unescape(tail[1]),
        super_options=tuple(_unescape(tail[2]).split(",")),
    )


def _unescape(text: str) -> str:
    """The kernel writes blank, tab, newline, backslash and # as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _fsconfig(fs_fd: int, command: int, key: str | None, value: bytes | None, aux: int, what: str) -> None:
    _logged(fs_fd, syscalls.FSCONFIG, fs_fd, command, _bytes(key), value, aux, what=what)


def _logged(fs_fd: int, number: int, *arguments: object, what: str) -> int:
    """A call on a filesystem context; what the kernel wrote into the context's log joins the error."""
    try:
        return syscalls.call(number, *arguments, what=what)
    except OSError as error:
        messages = _read_log(fs_fd)
        if messages:
            error.strerror = f"{error.strerror} ({'; '.join(messages)})"
        raise


def _read_log(fs_fd: int) -> list[str]:
    """The context's pending messages, without their level letter; each read takes one."""
    messages: list[str] = []
    while True:
        try:
            message = os.read(fs_fd, 4096)
        except OSError:  # ENODATA: the log is empty
            return messages
        if not message:
            return messages
        text = message.decode(errors="replace").strip()
        messages.append(text[2:] if text[1:2] == " " else text)
