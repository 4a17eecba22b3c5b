"""Steps about files: opening, making and writing them beneath a base directory."""

from __future__ import annotations

import errno
import posixpath
import stat

import msgspec

from .. import abi
from ..abi import Resolve
from ..code import Argument, Call, Code, EncodeError, Label, Slot

HOW = abi.O_PATH | abi.O_CLOEXEC
PARENT = Slot("(parent)")


def shown(base: Slot | None, path: str) -> str:
    """'/etc/passwd' without a base, 'root:etc/passwd' with one."""
    return path if base is None else f"{base}:{path or '.'}"


def directory(base: Slot | None) -> Argument:
    """The argument for a dirfd."""
    return abi.AT_FDCWD if base is None else base


def open_how(flags: int, mode: int, resolve: int) -> bytes:
    """struct open_how of openat2(2)."""
    return b"".join(value.to_bytes(8, "little") for value in (flags, mode, resolve))


def write_open(
    code: Code, base: Slot | None, path: str, flags: int, *, into: Slot, mode: int = 0, resolve: Resolve | None = None,
    unless: dict[int, Label] | None = None,
) -> None:  # fmt: skip
    """Append openat2; with a base, and if `resolve` does not say otherwise, the base is the root of `path`."""
    if resolve is None:
        resolve = Resolve.NONE if base is None else Resolve.IN_ROOT
    how = open_how(flags | abi.O_CLOEXEC, mode, resolve)
    code.call(Call.OPENAT2, directory(base), path or ".", how, len(how), into=into, unless=unless)


def write_parent(code: Code, base: Slot, path: str) -> str:
    """Append what binds PARENT to the directory that `path` is in (made when missing); the last component."""
    parent, name = posixpath.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise EncodeError(f"path without a name: {path!r}")
    code.call(Call.MAKE_DIRECTORIES, base, parent, 0o755, into=PARENT)
    return name


class Open(msgspec.Struct, frozen=True):
    """openat2(2) into a slot; `flags` as for open(2), close-on-exec always."""

    into: Slot
    base: Slot | None
    path: str
    flags: int = abi.O_PATH
    mode: int = 0
    resolve: Resolve | None = None

    def describe(self) -> str:
        return f"open {shown(self.base, self.path)} as {self.into}"

    def write(self, code: Code) -> None:
        write_open(code, self.base, self.path, self.flags, into=self.into, mode=self.mode, resolve=self.resolve)


class Close(msgspec.Struct, frozen=True):
    """Close a slot's descriptor; nothing when it is not bound."""

    slot: Slot

    def describe(self) -> str:
        return f"close {self.slot}"

    def write(self, code: Code) -> None:
        code.call(Call.CLOSE, code.slot(self.slot))


class MakeDirectories(msgspec.Struct, frozen=True):
    """mkdir -p beneath `base`, following links inside it; the last one can be bound to a slot.

    Only directories that are missing get `mode` (less the umask).
    """

    base: Slot
    path: str
    mode: int = 0o755
    into: Slot | None = None

    def describe(self) -> str:
        return f"mkdir -p -m {self.mode:o} {shown(self.base, self.path)}"

    def write(self, code: Code) -> None:
        into = self.into or PARENT
        code.call(Call.MAKE_DIRECTORIES, self.base, self.path, self.mode, into=into)
        if self.into is None:
            code.call(Call.CLOSE, code.slot(PARENT))


class MakeSymlink(msgspec.Struct, frozen=True):
    """ln -s target path; a file that is there already is left as it is when `exist_ok`."""

    base: Slot
    path: str
    target: str
    exist_ok: bool = True

    def describe(self) -> str:
        return f"ln -s {self.target} {shown(self.base, self.path)}"

    def write(self, code: Code) -> None:
        name = write_parent(code, self.base, self.path)
        done = Label()
        code.call(Call.SYMLINKAT, self.target, PARENT, name, unless=_if_exists(self.exist_ok, done))
        code.place(done)
        code.call(Call.CLOSE, code.slot(PARENT))


def device_number(major: int, minor: int) -> int:
    """dev_t as system calls have it."""
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


class MakeNode(msgspec.Struct, frozen=True):
    """mknod with exactly `mode` (type and permissions, whatever the umask) and owner."""

    base: Slot
    path: str
    mode: int
    major: int = 0
    minor: int = 0
    uid: int = 0
    gid: int = 0
    exist_ok: bool = False

    def describe(self) -> str:
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}.get(stat.S_IFMT(self.mode), "?")
        number = "" if kind == "p" else f" {self.major} {self.minor}"
        return f"mknod -m {stat.S_IMODE(self.mode):o} {shown(self.base, self.path)} {kind}{number}"

    def write(self, code: Code) -> None:
        name = write_parent(code, self.base, self.path)
        done = Label()
        number = device_number(self.major, self.minor)
        code.call(Call.MKNODAT, PARENT, name, self.mode, number, unless=_if_exists(self.exist_ok, done))
        code.call(Call.FCHMODAT, PARENT, name, stat.S_IMODE(self.mode))
        code.call(Call.FCHOWNAT, PARENT, name, self.uid, self.gid, abi.AT_SYMLINK_NOFOLLOW)
        code.place(done)
        code.call(Call.CLOSE, code.slot(PARENT))


class CheckDevice(msgspec.Struct, frozen=True):
    """Fail (ENODEV) when what a slot holds is not this character device, whatever its name was."""

    slot: Slot
    major: int
    minor: int

    def describe(self) -> str:
        return f"check that {self.slot} is character device {self.major}:{self.minor}"

    def write(self, code: Code) -> None:
        code.call(Call.CHECK_DEVICE, self.slot, device_number(self.major, self.minor))


class CheckFilesystem(msgspec.Struct, frozen=True):
    """Fail (EXDEV) when what a slot holds is not in a filesystem of this magic number (statfs(2))."""

    slot: Slot
    name: str
    magic: int

    def describe(self) -> str:
        return f"check that {self.slot} is in {self.name}"

    def write(self, code: Code) -> None:
        code.call(Call.CHECK_FILESYSTEM, self.slot, self.magic, 1)


class ChangeMode(msgspec.Struct, frozen=True):
    """chmod of a slot's file (opened for reading or writing, not O_PATH)."""

    slot: Slot
    mode: int

    def describe(self) -> str:
        return f"chmod {self.mode:o} {self.slot}"

    def write(self, code: Code) -> None:
        code.call(Call.FCHMOD, self.slot, self.mode)


class ChangeOwner(msgspec.Struct, frozen=True):
    """chown of a slot's file; O_PATH will do. With `if_permitted` EPERM, EINVAL and EROFS are harmless."""

    slot: Slot
    uid: int
    gid: int
    if_permitted: bool = False

    def describe(self) -> str:
        return f"chown {self.uid}:{self.gid} {self.slot}"

    def write(self, code: Code) -> None:
        done = Label()
        # EINVAL: the id is not mapped in the user namespace that owns the file system.
        harmless = dict.fromkeys((errno.EPERM, errno.EINVAL, errno.EROFS), done) if self.if_permitted else None
        code.call(Call.FCHOWNAT, self.slot, "", self.uid, self.gid, abi.AT_EMPTY_PATH, unless=harmless)
        code.place(done)


class WriteFile(msgspec.Struct, frozen=True):
    """Write `data` to a file that exists, in one write: sysctls, maps, oom_score_adj. `resolve` as for Open."""

    base: Slot | None
    path: str
    data: bytes
    flags: int = abi.O_WRONLY
    resolve: Resolve | None = None

    def describe(self) -> str:
        return f"write {self.data.decode(errors='backslashreplace').strip()!r} to {shown(self.base, self.path)}"

    def write(self, code: Code) -> None:
        write_open(code, self.base, self.path, self.flags, into=PARENT, resolve=self.resolve)
        code.call(Call.WRITE, PARENT, self.data, len(self.data))
        code.call(Call.CLOSE, code.slot(PARENT))


class Write(msgspec.Struct, frozen=True):
    """Write `data` to a slot, in one write."""

    slot: Slot
    data: bytes

    def describe(self) -> str:
        return f"write {self.data.decode(errors='backslashreplace').strip()!r} to {self.slot}"

    def write(self, code: Code) -> None:
        code.call(Call.WRITE, self.slot, self.data, len(self.data))


class Remove(msgspec.Struct, frozen=True):
    """unlink a name in the directory of `base`; no matter when it is not there."""

    base: Slot
    name: str

    def describe(self) -> str:
        return f"rm -f {shown(self.base, self.name)}"

    def write(self, code: Code) -> None:
        done = Label()
        code.call(Call.UNLINKAT, self.base, self.name, 0, unless={errno.ENOENT: done})
        code.place(done)


def _if_exists(harmless: bool, done: Label) -> dict[int, Label] | None:
    return {errno.EEXIST: done} if harmless else None
