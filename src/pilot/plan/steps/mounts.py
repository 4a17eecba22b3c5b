"""Steps about mounts and the root directory.

Two ways: `Mount` is mount(2) by path, for what happens in a namespace where nobody else is. All others go by
descriptor: a tree that nobody can see is made (`OpenTree`, `NewFilesystem`), given its attributes, then attached at a
place found inside the new root. A mount's descriptor stays good after it was attached: it is then that mount.
"""

from __future__ import annotations

import errno
import os

import msgspec

from .. import abi
from ..abi import MountAttribute, MountFlag, Propagation
from ..code import Call, Code, Label, Slot
from .files import directory, shown, write_open

_TREE = Slot("(tree)")
_TARGET = Slot("(target)")
_FS = Slot("(fs)")
_EMPTY = Slot("(empty)")

Options = tuple[tuple[str, str | None], ...]


def _flag_names(flags: MountFlag | MountAttribute) -> list[str]:
    return [flag.name.lower().replace("rdonly", "ro") for flag in type(flags) if flag in flags and flag.name]


def _words(flags: MountFlag | MountAttribute, options: Options = ()) -> str:
    words = _flag_names(flags) + [key if value is None else f"{key}={value}" for key, value in options]
    return f" ({','.join(words)})" if words else ""


def _attributes(
    set_: MountAttribute, clear: MountAttribute, propagation: Propagation = Propagation.UNCHANGED, userns_fd: int = 0
) -> bytes:
    """struct mount_attr."""
    return b"".join(int(value).to_bytes(8, "little") for value in (set_, clear, propagation, userns_fd))


class Mount(msgspec.Struct, frozen=True):
    """mount(2) as it is, by path."""

    source: str | None
    target: str
    fstype: str | None = None
    flags: MountFlag = MountFlag.NONE
    data: str | None = None

    def describe(self) -> str:
        what = self.fstype or self.source or "none"
        words = _flag_names(self.flags) + ([self.data] if self.data else [])
        shown_words = f" ({','.join(words)})" if words else ""
        return f"mount {what} on {self.target}{shown_words}"

    def write(self, code: Code) -> None:
        code.call(Call.MOUNT, self.source, self.target, self.fstype, self.flags, self.data)


class SetPropagation(msgspec.Struct, frozen=True):
    """Propagation of the mount at a path, and of all below it when recursive."""

    path: str
    propagation: Propagation
    recursive: bool = True

    def describe(self) -> str:
        return f"make {self.path} {'r' if self.recursive else ''}{self.propagation.name.lower()}"

    def write(self, code: Code) -> None:
        flags = self.propagation | (MountFlag.REC if self.recursive else 0)
        code.call(Call.MOUNT, None, self.path, None, int(flags), None)


class Unmount(msgspec.Struct, frozen=True):
    """umount2(2); `flags` is 0 or abi.MNT_DETACH."""

    path: str
    flags: int = abi.MNT_DETACH

    def describe(self) -> str:
        return f"umount {'-l ' if self.flags & abi.MNT_DETACH else ''}{self.path}"

    def write(self, code: Code) -> None:
        code.call(Call.UMOUNT2, self.path, self.flags)


class OpenTree(msgspec.Struct, frozen=True):
    """A detached copy of the mount at a path (a bind mount that nobody sees yet), bound to `into`."""

    into: Slot
    base: Slot | None
    path: str
    recursive: bool = True

    def describe(self) -> str:
        return f"copy mount {shown(self.base, self.path)} as {self.into}{' (rbind)' if self.recursive else ' (bind)'}"

    def write(self, code: Code) -> None:
        _write_tree(code, self.base, self.path, self.recursive, self.into)


def _write_tree(code: Code, base: Slot | None, path: str, recursive: bool, into: Slot) -> None:
    """Append open_tree. open_tree has no RESOLVE_ flags, so beneath a base the place is opened first."""
    flags = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | (abi.AT_RECURSIVE if recursive else 0)
    if base is None or not path:
        flags |= 0 if path else abi.AT_EMPTY_PATH
        code.call(Call.OPEN_TREE, directory(base), path, flags, into=into)
        return
    write_open(code, base, path, abi.O_PATH, into=_TARGET)
    code.call(Call.OPEN_TREE, _TARGET, "", flags | abi.AT_EMPTY_PATH, into=into)
    code.call(Call.CLOSE, code.slot(_TARGET))


class NewFilesystem(msgspec.Struct, frozen=True):
    """A new, detached mount of a filesystem, bound to `into`: fsopen, fsconfig for each option, fsmount."""

    into: Slot
    fstype: str
    source: str | None = None
    options: Options = ()
    attributes: MountAttribute = MountAttribute.NONE

    def describe(self) -> str:
        return f"new {self.fstype} as {self.into}{_words(self.attributes, self.options)}"

    def write(self, code: Code) -> None:
        _write_filesystem(code, self.fstype, self.source, self.options, self.attributes, self.into)


def _write_filesystem(
    code: Code, fstype: str, source: str | None, options: Options, attributes: MountAttribute, into: Slot
) -> None:
    code.call(Call.FSOPEN, fstype, abi.FSOPEN_CLOEXEC, into=_FS)
    if source is not None:
        code.call(Call.FSCONFIG, _FS, abi.FSCONFIG_SET_STRING, "source", source, 0)
    for key, value in options:
        how = abi.FSCONFIG_SET_FLAG if value is None else abi.FSCONFIG_SET_STRING
        code.call(Call.FSCONFIG, _FS, how, key, value, 0)
    code.call(Call.FSCONFIG, _FS, abi.FSCONFIG_CMD_CREATE, None, None, 0)
    code.call(Call.FSMOUNT, _FS, abi.FSMOUNT_CLOEXEC, attributes, into=into)
    code.call(Call.CLOSE, code.slot(_FS))


class SetMountAttributes(msgspec.Struct, frozen=True):
    """mount_setattr(2) on a slot: what to set, what to clear, propagation, and the user namespace of an idmap.

    `idmap` can be set once, on a tree that was never attached.
    """

    slot: Slot
    set: MountAttribute = MountAttribute.NONE
    clear: MountAttribute = MountAttribute.NONE
    propagation: Propagation = Propagation.UNCHANGED
    recursive: bool = False
    idmap: Slot | None = None

    def describe(self) -> str:
        words = [f"+{name}" for name in _flag_names(self.set)] + [f"-{name}" for name in _flag_names(self.clear)]
        words += [self.propagation.name.lower()] if self.propagation else []
        words += [f"idmap={self.idmap}"] if self.idmap else []
        return f"set mount attributes of {self.slot}{' recursively' if self.recursive else ''}: {','.join(words)}"

    def write(self, code: Code) -> None:
        flags = abi.AT_EMPTY_PATH | (abi.AT_RECURSIVE if self.recursive else 0)
        if self.idmap is None:
            attributes = _attributes(self.set, self.clear, self.propagation)
            code.call(Call.MOUNT_SETATTR, self.slot, "", flags, attributes, len(attributes))
        else:
            attributes = _attributes(self.set | MountAttribute.IDMAP, self.clear, self.propagation)
            code.call(Call.SET_IDMAP, self.slot, "", flags, attributes, self.idmap)


class AttachMount(msgspec.Struct, frozen=True):
    """Attach a detached mount at `path` inside `base`, making what is missing: a directory, or a file for a file.

    With path "" it covers the base itself. Base and tree must be of the namespace that the step runs in: the base of
    the old root is opened after the clone, not passed in (EINVAL otherwise). A link may lead to procfs, where a mount
    would fool the runtime, or the container, about itself: EXDEV, unless `in_proc`.
    """

    tree: Slot
    base: Slot
    path: str
    mode: int = 0o755
    in_proc: bool = False

    def describe(self) -> str:
        return f"attach {self.tree} on {shown(self.base, self.path)}"

    def write(self, code: Code) -> None:
        _write_attach(code, self.tree, self.base, self.path, self.mode, self.in_proc)


def _write_attach(code: Code, tree: Slot, base: Slot, path: str, mode: int, in_proc: bool = False) -> None:
    code.call(Call.OPEN_TARGET, base, path, tree, mode, into=_TARGET)
    if not in_proc:
        code.call(Call.CHECK_FILESYSTEM, _TARGET, abi.PROC_SUPER_MAGIC, 0)
    code.call(Call.CHECK_KIND, tree, _TARGET)
    _write_move(code, tree)


def _write_move(code: Code, tree: Slot) -> None:
    flags = abi.MOVE_MOUNT_F_EMPTY_PATH | abi.MOVE_MOUNT_T_EMPTY_PATH
    code.call(Call.MOVE_MOUNT, tree, "", _TARGET, "", flags)
    code.call(Call.CLOSE, code.slot(_TARGET))


class MountFilesystem(msgspec.Struct, frozen=True):
    """NewFilesystem and AttachMount in one: mount -t fstype source base:path -o options."""

    fstype: str
    base: Slot
    path: str
    source: str | None = None
    options: Options = ()
    attributes: MountAttribute = MountAttribute.NONE
    mode: int = 0o755

    def describe(self) -> str:
        return f"mount {self.fstype} on {shown(self.base, self.path)}{_words(self.attributes, self.options)}"

    def write(self, code: Code) -> None:
        _write_filesystem(code, self.fstype, self.source, self.options, self.attributes, _TREE)
        _write_attach(code, _TREE, self.base, self.path, self.mode)
        code.call(Call.CLOSE, code.slot(_TREE))


class BindMount(msgspec.Struct, frozen=True):
    """OpenTree, SetMountAttributes and AttachMount in one: mount --bind (or --rbind) source base:path.

    `set` and `clear` go to the top mount, `recursive_set` and `recursive_clear` to all of the tree. `source` is looked
    up in the mount namespace that the step runs in, from `source_base` when given ("" is the slot itself).
    """

    source: str
    base: Slot
    path: str
    source_base: Slot | None = None
    recursive: bool = True
    set: MountAttribute = MountAttribute.NONE
    clear: MountAttribute = MountAttribute.NONE
    recursive_set: MountAttribute = MountAttribute.NONE
    recursive_clear: MountAttribute = MountAttribute.NONE
    propagation: Propagation = Propagation.UNCHANGED
    mode: int = 0o755

    def describe(self) -> str:
        words = ["rbind" if self.recursive else "bind"]
        words += _flag_names(self.set) + [f"-{name}" for name in _flag_names(self.clear)]
        words += [f"r{name}" for name in _flag_names(self.recursive_set)]
        words += [f"-r{name}" for name in _flag_names(self.recursive_clear)]
        words += [self.propagation.name.lower()] if self.propagation else []
        return f"mount {shown(self.source_base, self.source)} on {shown(self.base, self.path)} ({','.join(words)})"

    def write(self, code: Code) -> None:
        _write_tree(code, self.source_base, self.source, self.recursive, _TREE)
        if self.recursive_set or self.recursive_clear:
            recursive = SetMountAttributes(_TREE, self.recursive_set, self.recursive_clear, recursive=True)
            recursive.write(code)
        if self.set or self.clear or self.propagation:
            SetMountAttributes(_TREE, self.set, self.clear, self.propagation).write(code)
        _write_attach(code, _TREE, self.base, self.path, self.mode)
        code.call(Call.CLOSE, code.slot(_TREE))


class CopyUp(msgspec.Struct, frozen=True):
    """Copy what is below directory `source` into directory `target`: modes, owners, times, links and nodes kept."""

    source: Slot
    target: Slot

    def describe(self) -> str:
        return f"cp -a {self.source}/. {self.target}"

    def write(self, code: Code) -> None:
        code.call(Call.COPY_UP, self.source, self.target)


class MaskPath(msgspec.Struct, frozen=True):
    """Hide a path: a file under `null`, a directory under an empty read-only tmpfs, the same for all of a Program.

    A pod may hide hundreds of directories, and each filesystem takes its time to make and to end. `null` is a slot with
    /dev/null, opened in the mount namespace that the step runs in (a mount cannot be copied out of another).
    A path that does not exist is left alone.
    """

    base: Slot
    path: str
    null: Slot

    def describe(self) -> str:
        return f"mask {shown(self.base, self.path)}"

    def write(self, code: Code) -> None:
        done, is_file, is_first, attach = Label(), Label(), Label(), Label()
        absent = {errno.ENOENT: done}
        flags = abi.O_PATH | os.O_DIRECTORY
        write_open(code, self.base, self.path, flags, into=_TARGET, unless={**absent, errno.ENOTDIR: is_file})
        copied = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | abi.AT_EMPTY_PATH
        code.call(Call.OPEN_TREE, _EMPTY, "", copied, into=_TREE, unless={errno.EBADF: is_first})
        code.skip_to(attach)
        code.place(is_first)
        _write_filesystem(code, "tmpfs", "tmpfs", (("nr_inodes", "1"),), MountAttribute.RDONLY, _EMPTY)
        _write_move(code, _EMPTY)
        code.skip_to(done)
        code.place(is_file)
        write_open(code, self.base, self.path, abi.O_PATH, into=_TARGET, unless={**absent, errno.ENOTDIR: done})
        _write_tree(code, self.null, "", False, _TREE)
        code.place(attach)
        _write_move(code, _TREE)
        code.call(Call.CLOSE, code.slot(_TREE))
        code.place(done)


class ReadonlyPath(msgspec.Struct, frozen=True):
    """Bind a path onto itself, recursively, and make the top read-only; a path that does not exist is left alone."""

    base: Slot
    path: str

    def describe(self) -> str:
        return f"make {shown(self.base, self.path)} read-only"

    def write(self, code: Code) -> None:
        done = Label()
        absent = {errno.ENOENT: done, errno.ENOTDIR: done}
        write_open(code, self.base, self.path, abi.O_PATH, into=_TARGET, unless=absent)
        flags = abi.OPEN_TREE_CLONE | abi.OPEN_TREE_CLOEXEC | abi.AT_RECURSIVE | abi.AT_EMPTY_PATH
        code.call(Call.OPEN_TREE, _TARGET, "", flags, into=_TREE)
        SetMountAttributes(_TREE, MountAttribute.RDONLY).write(code)
        _write_move(code, _TREE)
        code.call(Call.CLOSE, code.slot(_TREE))
        code.place(done)


class PivotRoot(msgspec.Struct, frozen=True):
    """Make the mount of `root` the root directory and let go of the old one; the working directory is then /."""

    root: Slot

    def describe(self) -> str:
        return f"pivot_root to {self.root}"

    def write(self, code: Code) -> None:
        write_open(code, None, "/", abi.O_PATH | os.O_DIRECTORY, into=_TARGET)
        code.call(Call.FCHDIR, self.root)
        code.call(Call.PIVOT_ROOT, ".", ".")
        # The old root lies on top of the new one now; "." would still be the new one, as mount(2) reads it. The old one
        # must not share its unmounting with anybody.
        code.call(Call.FCHDIR, _TARGET)
        code.call(Call.CLOSE, code.slot(_TARGET))
        code.call(Call.MOUNT, None, ".", None, int(MountFlag.SLAVE | MountFlag.REC), None)
        code.call(Call.UMOUNT2, ".", abi.MNT_DETACH)
        code.call(Call.CHDIR, "/")


class TakeMount(msgspec.Struct, frozen=True):
    """Another slot for a mount: `into` is then what `mount` is."""

    into: Slot
    mount: Slot

    def describe(self) -> str:
        return f"take {self.mount} as {self.into}"

    def write(self, code: Code) -> None:
        code.call(Call.OPEN_TREE, self.mount, "", abi.OPEN_TREE_CLOEXEC | abi.AT_EMPTY_PATH, into=self.into)


class OpenPlace(msgspec.Struct, frozen=True):
    """Where the rootfs is to be mounted: its own path, or / for whoever is not allowed to get there."""

    into: Slot
    path: str

    def describe(self) -> str:
        return f"open {self.path}, or else /, as {self.into}"

    def write(self, code: Code) -> None:
        done, is_forbidden = Label(), Label()
        flags = abi.O_PATH | os.O_DIRECTORY
        write_open(code, None, self.path, flags, into=self.into, unless={errno.EACCES: is_forbidden})
        code.skip_to(done)
        code.place(is_forbidden)
        write_open(code, None, "/", flags, into=self.into)
        code.place(done)


class HideMount(msgspec.Struct, frozen=True):
    """Unmount what is at a path, or cover it where that is not permitted; a path that does not exist is hidden enough.

    The runtime namespace never hears of it.
    """

    path: str

    def describe(self) -> str:
        return f"hide {self.path}"

    def write(self, code: Code) -> None:
        done, is_locked = Label(), Label()
        absent = {errno.ENOENT: done}
        code.call(Call.MOUNT, None, self.path, None, int(MountFlag.SLAVE | MountFlag.REC), None, unless=absent)
        locked = {errno.EINVAL: is_locked, errno.EPERM: is_locked}
        code.call(Call.UMOUNT2, self.path, abi.MNT_DETACH, unless={**absent, **locked})
        code.skip_to(done)
        code.place(is_locked)
        code.call(Call.MOUNT, "tmpfs", self.path, "tmpfs", 0, None)
        code.place(done)


class MoveRoot(msgspec.Struct, frozen=True):
    """mount --move of the mount of `root` onto /, which it then covers."""

    root: Slot

    def describe(self) -> str:
        return f"move {self.root} to /"

    def write(self, code: Code) -> None:
        write_open(code, None, "/", abi.O_PATH, into=_TARGET)
        done = Label()
        flags = abi.MOVE_MOUNT_F_EMPTY_PATH | abi.MOVE_MOUNT_T_EMPTY_PATH
        # ELOOP: it covers / already (OpenPlace).
        code.call(Call.MOVE_MOUNT, self.root, "", _TARGET, "", flags, unless={errno.ELOOP: done})
        code.place(done)


class ChangeRoot(msgspec.Struct, frozen=True):
    """chroot(2) alone: without a mount namespace of one's own, or where pivot_root cannot (an initramfs).

    Without a mount namespace it holds nobody who may chroot(2) himself. Within one the tree covers the old root, so
    that whoever climbs out comes back to it; what is beneath stays mounted, though.
    """

    root: Slot

    def describe(self) -> str:
        return f"chroot {self.root}"

    def write(self, code: Code) -> None:
        code.call(Call.FCHDIR, self.root)
        code.call(Call.CHROOT, ".")
        code.call(Call.CHDIR, "/")
