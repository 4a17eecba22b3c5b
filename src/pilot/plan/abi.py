"""Numbers of the kernel's interface that Programs are made of.

Only what is the same on every architecture. tests/checks compares each of them with the C headers, through
`pilot.kernel._launch.constants()`.
"""

from __future__ import annotations

import enum

from ..spec import mount_options

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

O_RDONLY = 0
O_WRONLY = 1
O_RDWR = 2
O_CREAT = 0o100
O_EXCL = 0o200
O_NOCTTY = 0o400
O_TRUNC = 0o1000
O_CLOEXEC = 0o2000000
O_PATH = 0o10000000


class Namespace(enum.IntFlag):
    """Kinds of namespace, as clone3(2), unshare(2) and setns(2) take them."""

    TIME = 0x80
    MOUNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NETWORK = 0x40000000


class Resolve(enum.IntFlag):
    """openat2(2): how far a path may lead."""

    NONE = 0
    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


MountFlag = mount_options.Flag
MountAttribute = mount_options.Attribute


class Propagation(enum.IntEnum):
    """mount_setattr(2): with whom mounts and unmounts are shared."""

    UNCHANGED = 0
    UNBINDABLE = 0x20000
    PRIVATE = 0x40000
    SLAVE = 0x80000
    SHARED = 0x100000


OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 1
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_VERSION_3 = 0x20080522

TIOCSCTTY = 0x540E
TIOCSWINSZ = 0x5414
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

AF_INET = 2
SOCK_DGRAM = 2
SOCK_CLOEXEC = O_CLOEXEC
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1

KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_SETPERM = 5
KEY_SPEC_SESSION_KEYRING = -3
IOPRIO_WHO_PROCESS = 1
CLOSE_RANGE_CLOEXEC = 4
