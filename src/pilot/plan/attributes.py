"""Mount options → the attributes of one mount and the options of a new filesystem. Pure arithmetic on tables."""

from __future__ import annotations

from ..spec.mount_options import Flag, Options
from .abi import MountAttribute, Propagation

# mount(2) flags that belong to a mount
_ATTRIBUTES: dict[Flag, MountAttribute] = {
    Flag.RDONLY: MountAttribute.RDONLY,
    Flag.NOSUID: MountAttribute.NOSUID,
    Flag.NODEV: MountAttribute.NODEV,
    Flag.NOEXEC: MountAttribute.NOEXEC,
    Flag.NOSYMFOLLOW: MountAttribute.NOSYMFOLLOW,
    Flag.NODIRATIME: MountAttribute.NODIRATIME,
}
# The first of them that is named counts, as in mount(2).
_ATIME: dict[Flag, MountAttribute] = {
    Flag.STRICTATIME: MountAttribute.STRICTATIME,
    Flag.NOATIME: MountAttribute.NOATIME,
    Flag.RELATIME: MountAttribute.NONE,
}
# ... and those that belong to the filesystem, by their name for fsconfig(2). MS_SILENT and MS_I_VERSION have none, and
# change nothing where mount(2) takes them.
_FILESYSTEM: dict[Flag, str] = {
    Flag.SYNCHRONOUS: "sync",
    Flag.DIRSYNC: "dirsync",
    Flag.LAZYTIME: "lazytime",
    Flag.MANDLOCK: "mand",
    Flag.POSIXACL: "acl",
}
# Filesystems of the kernel's own, where one superblock may have many mounts: read-only is said of the mount alone.
_WITHOUT_OWN_READONLY = frozenset({"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "debugfs"})

_NOT_OF_MOUNT = Flag.BIND | Flag.REC | Flag.REMOUNT
_ATIME_FLAGS = Flag.NOATIME | Flag.NODIRATIME | Flag.RELATIME | Flag.STRICTATIME
_REPLACED = (
    MountAttribute.RDONLY
    | MountAttribute.NOSUID
    | MountAttribute.NODEV
    | MountAttribute.NOEXEC
    | MountAttribute.NOSYMFOLLOW
)

_PROPAGATIONS: dict[Flag, Propagation] = {
    Flag.PRIVATE: Propagation.PRIVATE,
    Flag.SLAVE: Propagation.SLAVE,
    Flag.SHARED: Propagation.SHARED,
    Flag.UNBINDABLE: Propagation.UNBINDABLE,
}


def plan_attributes(options: Options) -> tuple[MountAttribute, MountAttribute]:
    """What to set and what to clear on the mount itself."""
    set_, clear = MountAttribute.NONE, MountAttribute.NONE
    for flag, attribute in _ATTRIBUTES.items():
        set_ |= attribute if flag in options.set_flags else MountAttribute.NONE
        clear |= attribute if flag in options.clear_flags else MountAttribute.NONE
    atime = next((flag for flag in _ATIME if flag in options.set_flags), None)
    if atime is not None:
        # The access time rules are values of one field: it is cleared before it is set.
        return set_ | _ATIME[atime], clear | MountAttribute.ATIME
    if options.clear_flags & (Flag.NOATIME | Flag.STRICTATIME):
        clear |= MountAttribute.ATIME
    return set_, clear


def plan_bind_attributes(options: Options, keeps_others: bool) -> tuple[MountAttribute, MountAttribute]:
    """What to set and what to clear on a bind: flags that are named replace those of the source, as mount --bind -o.

    Where none is named the source's stay. With `keeps_others` they always do, but for those that are cleared by name:
    in a user namespace they are locked.
    """
    set_, clear = plan_attributes(options)
    if not (options.set_flags & ~_NOT_OF_MOUNT or options.clear_flags):
        return set_, clear
    if not keeps_others:
        clear |= _REPLACED & ~set_
        if options.set_flags & _ATIME_FLAGS:
            clear |= MountAttribute.ATIME | (MountAttribute.NODIRATIME & ~set_)
    return set_, clear


def plan_locked(options: Options) -> MountAttribute:
    """What the source of a bind must not have in a user namespace, where nobody may take it away again."""
    locked = MountAttribute.RDONLY | MountAttribute.NOSUID | MountAttribute.NODEV | MountAttribute.NOEXEC
    _, clear = plan_attributes(options)
    atime = next((value for flag, value in _ATIME.items() if flag in options.set_flags), None)
    others = MountAttribute.NONE
    if atime is not None:
        others = (MountAttribute.NOATIME | MountAttribute.STRICTATIME) & ~atime
    elif Flag.NOATIME in options.clear_flags:
        others = MountAttribute.NOATIME
    return (clear & locked) | others


def plan_recursive_attributes(options: Options) -> tuple[MountAttribute, MountAttribute]:
    """What to set and what to clear on the mount and on all below it."""
    return MountAttribute(int(options.set_recursive)), MountAttribute(int(options.clear_recursive))


def plan_filesystem_options(fstype: str, options: Options) -> tuple[tuple[str, str | None], ...]:
    """Parameters for fsconfig(2): the filesystem's own data, then what mount(2) has flags for."""
    result: list[tuple[str, str | None]] = []
    for item in options.data:
        key, separator, value = item.partition("=")
        if fstype == "overlay" and key == "lowerdir":
            # fsconfig(2) takes at most 255 bytes at once, so layers are given one by one (Linux 6.5).
            result += [("lowerdir+", layer) for layer in value.split(":")] if len(value) > 255 else [(key, value)]
        else:
            result.append((key, value if separator else None))
    result += [(name, None) for flag, name in _FILESYSTEM.items() if flag in options.set_flags]
    if Flag.RDONLY in options.set_flags and fstype not in _WITHOUT_OWN_READONLY:
        result.append(("ro", None))
    return tuple(result)


def plan_propagation(flag: Flag) -> tuple[Propagation, bool]:
    """A propagation flag → its type, and whether it goes for all mounts below, too."""
    return _PROPAGATIONS[flag & ~Flag.REC], Flag.REC in flag
