"""Options of `mounts[].options` that the runtime understands: option → what it does. The rest is the filesystem's data.

Values are the kernel's (mount(2), mount_setattr(2)), written down here for all (`plan.abi`, `kernel.mounts`); this file
has no opinion on how they reach it.
"""

from __future__ import annotations

import enum
import re

import msgspec

from .document import IdMapping


class Flag(enum.IntFlag):
    """MS_* of mount(2)."""

    NONE = 0
    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    REMOUNT = 32
    MANDLOCK = 64
    DIRSYNC = 128
    NOSYMFOLLOW = 256
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    SILENT = 32768
    POSIXACL = 1 << 16
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    I_VERSION = 1 << 23
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25


class Attribute(enum.IntFlag):
    """MOUNT_ATTR_* of fsmount(2) and mount_setattr(2). The atime ones are values of one field, ATIME its mask, which is
    cleared before another is set; RELATIME is its zero."""

    NONE = 0
    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    NOATIME = 0x10
    STRICTATIME = 0x20
    ATIME = 0x70
    NODIRATIME = 0x80
    IDMAP = 0x100000
    NOSYMFOLLOW = 0x200000


# option → (is it cleared?, flag)
FLAGS: dict[str, tuple[bool, Flag]] = {
    "acl": (False, Flag.POSIXACL),
    "async": (True, Flag.SYNCHRONOUS),
    "atime": (True, Flag.NOATIME),
    "bind": (False, Flag.BIND),
    "defaults": (False, Flag.NONE),
    "dev": (True, Flag.NODEV),
    "diratime": (True, Flag.NODIRATIME),
    "dirsync": (False, Flag.DIRSYNC),
    "exec": (True, Flag.NOEXEC),
    "iversion": (False, Flag.I_VERSION),
    "lazytime": (False, Flag.LAZYTIME),
    "loud": (True, Flag.SILENT),
    "mand": (False, Flag.MANDLOCK),
    "noacl": (True, Flag.POSIXACL),
    "noatime": (False, Flag.NOATIME),
    "nodev": (False, Flag.NODEV),
    "nodiratime": (False, Flag.NODIRATIME),
    "noexec": (False, Flag.NOEXEC),
    "noiversion": (True, Flag.I_VERSION),
    "nolazytime": (True, Flag.LAZYTIME),
    "nomand": (True, Flag.MANDLOCK),
    "norelatime": (True, Flag.RELATIME),
    "nostrictatime": (True, Flag.STRICTATIME),
    "nosuid": (False, Flag.NOSUID),
    "nosymfollow": (False, Flag.NOSYMFOLLOW),
    "rbind": (False, Flag.BIND | Flag.REC),
    "relatime": (False, Flag.RELATIME),
    "remount": (False, Flag.REMOUNT),
    "ro": (False, Flag.RDONLY),
    "rw": (True, Flag.RDONLY),
    "silent": (False, Flag.SILENT),
    "strictatime": (False, Flag.STRICTATIME),
    "suid": (True, Flag.NOSUID),
    "symfollow": (True, Flag.NOSYMFOLLOW),
    "sync": (False, Flag.SYNCHRONOUS),
}

PROPAGATION: dict[str, Flag] = {
    "private": Flag.PRIVATE,
    "shared": Flag.SHARED,
    "slave": Flag.SLAVE,
    "unbindable": Flag.UNBINDABLE,
    "rprivate": Flag.PRIVATE | Flag.REC,
    "rshared": Flag.SHARED | Flag.REC,
    "rslave": Flag.SLAVE | Flag.REC,
    "runbindable": Flag.UNBINDABLE | Flag.REC,
}

# Set or clear on the mount and on all mounts below it: option → (set, clear)
RECURSIVE: dict[str, tuple[Attribute, Attribute]] = {
    "rro": (Attribute.RDONLY, Attribute.NONE),
    "rrw": (Attribute.NONE, Attribute.RDONLY),
    "rnosuid": (Attribute.NOSUID, Attribute.NONE),
    "rsuid": (Attribute.NONE, Attribute.NOSUID),
    "rnodev": (Attribute.NODEV, Attribute.NONE),
    "rdev": (Attribute.NONE, Attribute.NODEV),
    "rnoexec": (Attribute.NOEXEC, Attribute.NONE),
    "rexec": (Attribute.NONE, Attribute.NOEXEC),
    "rnodiratime": (Attribute.NODIRATIME, Attribute.NONE),
    "rdiratime": (Attribute.NONE, Attribute.NODIRATIME),
    "rrelatime": (Attribute.NONE, Attribute.ATIME),
    "rnorelatime": (Attribute.NONE, Attribute.ATIME),
    "rnoatime": (Attribute.NOATIME, Attribute.ATIME),
    "ratime": (Attribute.NONE, Attribute.ATIME),
    "rstrictatime": (Attribute.STRICTATIME, Attribute.ATIME),
    "rnostrictatime": (Attribute.NONE, Attribute.ATIME),
    "rnosymfollow": (Attribute.NOSYMFOLLOW, Attribute.NONE),
    "rsymfollow": (Attribute.NONE, Attribute.NOSYMFOLLOW),
}

# Ours: a bind is copied where what is read-only is locked for the container's root.
LOCKED = "x-pilot.locked"
EXTENSIONS = frozenset({"tmpcopyup", "idmap", "ridmap"})

NAMES = tuple(sorted({*FLAGS, *PROPAGATION, *RECURSIVE, *EXTENSIONS}))


class Options(msgspec.Struct, frozen=True):
    """A parsed option list. `set_flags` and `clear_flags` are disjoint: the last option about a flag wins."""

    set_flags: Flag = Flag.NONE
    clear_flags: Flag = Flag.NONE
    propagation: tuple[Flag, ...] = ()
    set_recursive: Attribute = Attribute.NONE
    clear_recursive: Attribute = Attribute.NONE
    copy_up: bool = False
    locked: bool = False
    idmap: bool = False
    idmap_recursive: bool = False
    idmap_text: str = ""  # crun's: the mappings themselves, `uids=0-1000-10;gids=0-1000-10`
    data: tuple[str, ...] = ()

    @property
    def is_bind(self) -> bool:
        return bool(self.set_flags & Flag.BIND)


# As mount(2) takes them apart: commas separate, but for those after a backslash and within quotes.
_DATUM = re.compile(r"""(?:\\.|"[^"]*"|[^,\\"]|["\\])+""", re.DOTALL)


def parse_options(options: tuple[str, ...]) -> Options:
    """Option list → what to do; what no table knows is data of the filesystem, in its order."""
    result = Options()
    for option in options:
        result = _apply(result, option)
    return result


_IDMAP = re.compile(r"(uids|gids)=(\d+-\d+-\d+(?:#\d+-\d+-\d+)*)")


def parse_idmap(text: str) -> tuple[tuple[IdMapping, ...], tuple[IdMapping, ...]] | None:
    """`uids=0-1000-10#20-2000-1;gids=0-1000-10` → mappings of users and of groups; None for what is no such."""
    found: dict[str, tuple[IdMapping, ...]] = {}
    for part in text.split(";"):
        match = _IDMAP.fullmatch(part)
        if match is None:
            return None
        rows = (map(int, row.split("-")) for row in match[2].split("#"))
        found[match[1]] = tuple(IdMapping(container_id=a, host_id=b, size=c) for a, b, c in rows)
    return (found["uids"], found["gids"]) if len(found) == 2 else None


def _apply(done: Options, option: str) -> Options:
    if option in FLAGS:
        clear, flag = FLAGS[option]
        if clear:
            return msgspec.structs.replace(done, set_flags=done.set_flags & ~flag, clear_flags=done.clear_flags | flag)
        return msgspec.structs.replace(done, set_flags=done.set_flags | flag, clear_flags=done.clear_flags & ~flag)
    if option in PROPAGATION:
        return msgspec.structs.replace(done, propagation=(*done.propagation, PROPAGATION[option]))
    if option in RECURSIVE:
        set_, clear_ = RECURSIVE[option]
        # Of two that contradict each other the last counts, as of the others, and as in later runcs.
        kept, cleared = done.set_recursive & ~clear_, done.clear_recursive & ~set_
        return msgspec.structs.replace(done, set_recursive=kept | set_, clear_recursive=cleared | clear_)
    if option == LOCKED:
        return msgspec.structs.replace(done, locked=True)
    if option == "tmpcopyup":
        return msgspec.structs.replace(done, copy_up=True)
    name, _, text = option.partition("=")
    if name in {"idmap", "ridmap"}:
        return msgspec.structs.replace(done, idmap=True, idmap_recursive=name == "ridmap", idmap_text=text)
    return msgspec.structs.replace(done, data=(*done.data, *_DATUM.findall(option)))
