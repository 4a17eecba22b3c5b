"""Which kind of filesystem something is on, by its magic number (statfs(2)): the kernel's own are no place for files.

What stands there is the kernel's state under the name of a file: a read may wait for ever, a write may set a thing of
the whole machine. The numbers are of <linux/magic.h>; some filesystems have theirs in their own source.
"""

from __future__ import annotations

import ctypes

from . import syscalls

_STATFS_BYTES = 256  # more than any architecture's
# Everything that holds no data of anybody. tmpfs, hugetlbfs and what has a disk or a server behind it are not here.
KERNEL_OWN = frozenset({
    0x9FA0,  # proc
    0x62656572,  # sysfs
    0x27E0EB,  # cgroup
    0x63677270,  # cgroup2
    0x64626720,  # debugfs
    0x74726163,  # tracefs
    0x73636673,  # securityfs
    0xCAFE4A11,  # bpf
    0x62656570,  # configfs
    0xDE5E81E4,  # efivarfs
    0x6165676C,  # pstore
    0xF97CFF8C,  # selinuxfs
    0x43415D53,  # smackfs
    0x5A3C69F0,  # apparmorfs
    0x42494E4D,  # binfmt_misc
    0x65735543,  # fusectl
    0x19800202,  # mqueue
    0x1CD1,  # devpts
    0x6E736673,  # nsfs
    0x50494446,  # pidfs
    0x50495045,  # pipefs
    0x534F434B,  # sockfs
    0x09041934,  # anonymous inodes
    0x07655821,  # resctrl
    0x6E667364,  # nfsd
    0x67596969,  # rpc_pipefs
})  # fmt: skip


def magic(fd: int) -> int:
    """The number of the filesystem that `fd` (O_PATH will do) is on."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    syscalls.checked(syscalls.libc.fstatfs(fd, buffer), "statfs")
    return int(ctypes.c_ulong.from_buffer(buffer).value) & 0xFFFFFFFF


def is_kernel_own(fd: int) -> bool:
    """Whether `fd` is on a filesystem that the kernel makes up."""
    return magic(fd) in KERNEL_OWN
