"""Applies the entries of one layer to the tree below `/` (image-spec, layer.md). Only where `/` is the destination.

Names are resolved by the kernel, links and all: the caller has made the destination the root, so nothing leads out.
An entry's last component is never followed. What is there already:

    directory onto directory    keeps what is below, and gets the entry's owner, mode, times and attributes
    anything else               is removed with all below, and made anew
    .wh.NAME                    NAME of lower layers goes; what this layer brought stays, before or after
    .wh..wh..opq                all of lower layers goes from the directory; the same
    other .wh..wh.*             aufs's own, ignored

So that "lower" is exact whatever links lead to a directory, what this layer made is remembered as (inode of the
directory, name), and forgotten when it is removed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ... import errors
from . import limits, tree
from .tarstream import Entry, Kind

_WHITEOUT = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_LONGEST_NAME = 4096
_CAPABILITY = b"security.capability"
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_NODES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}

Data = Callable[[], Iterable[tuple[int, bytes]]]
IdMap = Sequence[tuple[int, int, int]]


@dataclass
class Budget:
    """What is left of the limits: all layers of an image draw on it."""

    limit: limits.Unpacking
    entries: int = 0
    removals: int = 0

    def entry(self) -> None:
        """One more."""
        self.entries += 1
        if self.entries > self.limit.entries:
            raise errors.SpecError("layers", f"more than {self.limit.entries} entries")

    def removal(self) -> None:
        """One more that was looked at."""
        self.removals += 1
        if self.removals > self.limit.removals:
            raise errors.SpecError("layers", f"whiteouts look at more than {self.limit.removals} entries")


@dataclass(frozen=True)
class Owners:
    """Which ids of the image are which on the disk: rows of (inside, outside, count); without rows, the same."""

    uids: IdMap = ()
    gids: IdMap = ()

    def of(self, uid: int, gid: int) -> tuple[int, int]:
        """Those on the disk; SpecError for one without a place."""
        return _mapped(self.uids, uid, "user"), _mapped(self.gids, gid, "group")

    @property
    def root(self) -> int:
        """Where the image's root is."""
        return _mapped(self.uids, 0, "user")


def _mapped(rows: IdMap, number: int, what: str) -> int:
    if not rows:
        return number
    for inside, outside, count in rows:
        if inside <= number < inside + count:
            return outside + number - inside
    raise errors.SpecError(f"{what} {number}", "has no place in the id map")


@dataclass
class _Made:
    """What this layer made: names by the inode of their directory."""

    names: dict[int, set[bytes]] = field(default_factory=dict)

    def add(self, inode: int, name: bytes) -> None:
        self.names.setdefault(inode, set()).add(name)

    def has(self, inode: int, name: bytes) -> bool:
        return name in self.names.get(inode, ())

    def forget(self, directory: int, name: bytes, inode: int) -> None:
        self.names.get(directory, set()).discard(name)
        self.names.pop(inode, None)


class Layer:
    """One layer on its way onto the tree. `apply` each entry, then `finish`."""

    def __init__(self, owners: Owners, *, devices: bool, budget: Budget) -> None:
        self._owners = owners
        self._devices = devices
        self._budget = budget
        self._made = _Made()
        self._hidden: set[tuple[int, bytes]] = set()
        self._times: dict[int, tuple[bytes, int]] = {}
        self._parent = _Directory(b"/", os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        self._parent_known = False

    def apply(self, entry: Entry, data: Data) -> None:
        """SpecError for an entry that cannot be meant; OSError as the kernel says it."""
        self._budget.entry()
        names = _components(entry.name)
        if any(name.startswith(_META) for name in names[:-1]):
            return
        if not names:
            self._root(entry)
            return
        if any(name.startswith(_WHITEOUT) for name in names[:-1]):
            raise errors.SpecError("name", "something below a whiteout")
        parent = self._open_parent(names[:-1])
        if names[-1].startswith(_WHITEOUT):
            self._whiteout(parent, names[-1])
        else:
            self._make(parent, names[-1], entry, data)

    def finish(self) -> None:
        """Directories get their times when nothing more is put into them."""
        for inode, (path, mtime_ns) in self._times.items():
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue  # a link on the way was replaced since: the directory keeps the time of the unpacking
            try:
                if os.fstat(fd).st_ino == inode:
                    os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
        self._parent.close()

    # Directories that entries are put into.

    def _open_parent(self, names: list[bytes]) -> _Directory:
        path = b"/" + b"/".join(names)
        if not (self._parent_known and path == self._parent.path):
            try:
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                self._make_parents(names)
                fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._parent.close()
            self._parent = _Directory(path, fd)
            self._parent_known = True
        self._times.setdefault(self._parent.inode, (path, self._parent.mtime_ns))
        return self._parent

    def _make_parents(self, names: list[bytes]) -> None:
        """Those that no entry spoke of: root's, 0755, of the epoch. Each counts as an entry."""
        for count in range(1, len(names) + 1):
            path = b"/" + b"/".join(names[:count])
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                continue
            self._budget.entry()
            os.chown(path, *self._owners.of(0, 0))
            self._times[os.stat(path).st_ino] = (path, 0)

    # Whiteouts and replacements.

    def _whiteout(self, parent: _Directory, name: bytes) -> None:
        if name == _OPAQUE:
            if (parent.inode, b"") not in self._hidden:
                self._hidden.add((parent.inode, b""))
                for child in parent.list():
                    self._hide(parent, child)
        elif not name.startswith(_META):
            hidden = name[len(_WHITEOUT) :]
            if hidden in (b"", b".", b".."):
                raise errors.SpecError("name", f"a whiteout of {os.fsdecode(hidden)!r}")
            self._hide(parent, hidden)

    def _hide(self, parent: _Directory, name: bytes) -> None:
        """What lower layers have of that name; once is enough, as all that comes later is this layer's."""
        if (parent.inode, name) in self._hidden:
            return
        self._hidden.add((parent.inode, name))
        self._remove(parent, name, self._is_made)

    def _is_made(self, inode: int, name: bytes) -> bool:
        self._budget.removal()
        return self._made.has(inode, name)

    def _all(self, _inode: int, _name: bytes) -> bool:
        self._budget.removal()
        return False

    def _remove(self, parent: _Directory, name: bytes, spare: tree.Test) -> None:
        try:
            mode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        tree.remove(parent.fd, name, spare, self._gone)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self._parent_known = False  # a path that went through it leads elsewhere now

    def _gone(self, directory: int, name: bytes, inode: int) -> None:
        self._made.forget(directory, name, inode)
        self._times.pop(inode, None)
        self._hidden.discard((inode, b""))

    # Entries.

    def _root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise errors.SpecError("name", f"a {entry.kind.value} in the place of the root")
        self._describe_directory(b"/", self._parent.fd, b"/", entry)

    def _make(self, parent: _Directory, name: bytes, entry: Entry, data: Data) -> None:
        if entry.kind is Kind.LINK:
            self._link(parent, name, entry)
        elif entry.kind is Kind.DIRECTORY:
            self._directory(parent, name, entry)
        else:
            self._remove(parent, name, self._all)
            if entry.kind is Kind.FILE:
                self._file(parent, name, entry, data)
            elif entry.kind is Kind.SYMLINK:
                os.symlink(entry.target, name, dir_fd=parent.fd)
                self._own(parent, name, entry)
            else:
                self._node(parent, name, entry)
        self._made.add(parent.inode, name)

    def _link(self, parent: _Directory, name: bytes, entry: Entry) -> None:
        """To a name of this tree, itself a symbolic link perhaps; all that the entry says besides is the target's."""
        target = b"/" + b"/".join(_components(entry.target))
        wanted = os.stat(target, follow_symlinks=False)
        try:
            present = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            present = None
        if present is not None and present.st_ino == wanted.st_ino:
            return
        if stat.S_ISDIR(wanted.st_mode):
            raise errors.SpecError("target", "a hard link to a directory")
        source, last = os.path.split(target)
        source_fd = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._remove(parent, name, self._all)
            os.link(last, name, src_dir_fd=source_fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        finally:
            os.close(source_fd)

    def _directory(self, parent: _Directory, name: bytes, entry: Entry) -> None:
        try:
            present = stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            present = False
        if not present:
            self._remove(parent, name, self._all)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        self._describe_directory(name, parent.fd, os.path.join(parent.path, name), entry)

    def _describe_directory(self, name: bytes, directory_fd: int, path: bytes, entry: Entry) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            self._describe(fd, entry)
            self._times[os.fstat(fd).st_ino] = (path, entry.mtime_ns)
        finally:
            os.close(fd)

    def _file(self, parent: _Directory, name: bytes, entry: Entry, data: Data) -> None:
        if entry.size > self._budget.limit.file_bytes:
            raise errors.SpecError("size", f"{entry.size} bytes, at most {self._budget.limit.file_bytes} are taken")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent.fd)
        try:
            end = 0
            for offset, part in data():
                _write_at(fd, part, offset)
                end = offset + len(part)
            if end != entry.size:
                os.ftruncate(fd, entry.size)  # a hole at the end
            self._describe(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _node(self, parent: _Directory, name: bytes, entry: Entry) -> None:
        device = 0
        if entry.kind is not Kind.FIFO:
            device = self._device(entry)
        os.mknod(name, entry.mode | _NODES[entry.kind], device, dir_fd=parent.fd)
        self._own(parent, name, entry)
        os.chmod(name, entry.mode, dir_fd=parent.fd)

    def _device(self, entry: Entry) -> int:
        if not self._devices:
            raise errors.SpecError("type", f"a {entry.kind.value}, and none may be made here")
        major, minor = entry.device
        if entry.kind is Kind.CHARACTER and (major, minor) == (0, 0):
            raise errors.SpecError("type", "the device 0:0, which overlayfs takes for a whiteout")
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise errors.SpecError("type", f"a device {major}:{minor}, which Linux has no number for")
        return os.makedev(major, minor)

    def _own(self, parent: _Directory, name: bytes, entry: Entry) -> None:
        uid, gid = self._owners.of(entry.uid, entry.gid)
        os.chown(name, uid, gid, dir_fd=parent.fd, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent.fd, follow_symlinks=False)

    def _describe(self, fd: int, entry: Entry) -> None:
        """Owner first: a change of it takes setuid and capabilities away (chown(2))."""
        os.fchown(fd, *self._owners.of(entry.uid, entry.gid))
        os.fchmod(fd, entry.mode)
        wanted = {name: value for name, value in entry.xattrs.items() if _is_kept(name)}
        for stale in {os.fsencode(name) for name in os.listxattr(fd)} - wanted.keys():
            if _is_kept(stale):
                os.removexattr(fd, stale)
        for name, value in wanted.items():
            os.setxattr(fd, name, self._capability(value) if name == _CAPABILITY else value)

    def _capability(self, value: bytes) -> bytes:
        """Where the image's root is somebody else, its file capabilities are for whoever that is: revision 3
        (capabilities(7)) names it, revision 2 means the host's root."""
        root = self._owners.root
        revision_2 = len(value) == 20 and value[3] == 2
        if root == 0 or not revision_2:
            return value
        return value[:3] + b"\3" + value[4:] + root.to_bytes(4, "little")


class _Directory:
    """One that entries are put into, by whatever path it was reached."""

    def __init__(self, path: bytes, fd: int) -> None:
        self.path = path
        self.fd = fd
        found = os.fstat(fd)
        self.inode = found.st_ino
        self.mtime_ns = found.st_mtime_ns

    def list(self) -> list[bytes]:
        """All names in it."""
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)

    def close(self) -> None:
        """It is not asked again."""
        os.close(self.fd)


def _components(name: bytes) -> list[bytes]:
    if len(name) > _LONGEST_NAME:
        raise errors.SpecError("name", f"of {len(name)} bytes")
    names = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in names:
        raise errors.SpecError("name", "'..' in it")
    return names


def _is_kept(xattr: bytes) -> bool:
    """Those that mean something to whoever runs the image. `trusted.*` are overlayfs's, labels the host's."""
    return xattr.startswith(b"user.") or xattr == _CAPABILITY or xattr in _ACLS


def _write_at(fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, offset)
        rest, offset = rest[done:], offset + done
