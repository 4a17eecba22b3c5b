"""What the world may not ask the kernel for, whatever its root may do in its own namespaces: `linux.seccomp`, as data.

Everything else is let through: the world has capabilities over its own user namespace, and containers run in it.
What is here reaches beyond namespaces, or is code of the kernel that only attackers have a use for in a sprite.

BEYOND, refused to every world:

    socket(AF_VSOCK)            vsock ports are the host's, of all machines together: one could be taken from a
                                neighbour. A register is wider than the `int` that the kernel looks at: the rest is
                                masked out.
    socketcall(SYS_SOCKET)      the 32-bit door to the same; its arguments are in memory, where no filter sees them, so
                                it is closed altogether (programs of 32 bits whose C library does not know socket(2)
                                have no network)
    io_uring_*                  opens sockets past this filter

DEFAULT, but for privileged ones:

    keyctl, add_key, ...        keys are counted per user of the host, and not all of their kinds are namespaced;
                                runtimes take ENOSYS for a kernel without, and go on
    userfaultfd                 holds the kernel still in the middle of a copy: the tool of half of all exploits. What
                                the kernel itself says to the unprivileged (vm.unprivileged_userfaultfd=0) is EPERM
    the rest                    as in Docker's default profile for a container that has all capabilities, except two
                                that it refuses and nested containers and debuggers need: pivot_root and personality

NAMESPACES, refused to those of the profile `minimal`, as Docker's default does to a container without capabilities of
its own: new namespaces and mounts, and with them the kernel's code for whoever is root in one. clone3 has its flags in
memory, and C libraries take ENOSYS for a kernel without.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence

_SYS_SOCKET = 1  # of <linux/net.h>
_INT = 0xFFFFFFFF
# Of <linux/sched.h>, in the order of its numbers: mount, cgroup, uts, ipc, user, pid and network namespaces. (That of
# time is no flag of clone's.)
_CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
Rule = Mapping[str, object]
Rules = tuple[Rule, ...]


def _refuse(names: Sequence[str], code: int, index: int | None = None, value: int = 0, mask: int = _INT) -> Rule:
    """With `index`: only when that argument, as an int and of `mask`, is `value`."""
    rule: dict[str, object] = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": code}
    if index is not None:
        rule["args"] = [{"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}]
    return rule


BEYOND: Rules = (
    _refuse(("socket",), errno.EAFNOSUPPORT, 0, socket.AF_VSOCK),
    _refuse(("socketcall",), errno.EAFNOSUPPORT, 0, _SYS_SOCKET),
    _refuse(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS),
)
DEFAULT: Rules = (
    _refuse(("keyctl", "add_key", "request_key"), errno.ENOSYS),
    _refuse(
        (
            "userfaultfd", "kexec_load", "kexec_file_load", "swapon", "swapoff", "uselib", "ustat", "sysfs", "_sysctl",
            "nfsservctl", "create_module", "get_kernel_syms", "query_module", "vm86", "vm86old",
        ),
        errno.EPERM,
    ),
)  # fmt: skip
NAMESPACES: Rules = (
    _refuse(("clone3",), errno.ENOSYS),
    *(_refuse(("clone",), errno.EPERM, 0, flag, flag) for flag in _CLONE_NEW),
    _refuse(
        (
            "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick",
            "open_tree", "move_mount", "mount_setattr", "bpf", "perf_event_open", "fanotify_init", "quotactl",
            "quotactl_fd", "lookup_dcookie", "open_by_handle_at", "acct",
        ),
        errno.EPERM,
    ),
)  # fmt: skip


def profile(machine: str, refused: Iterable[Rules]) -> dict[str, object]:
    """`linux.seccomp` for worlds on this kind of machine (uname -m), on all of its ABIs."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": [dict(rule) for rules in refused for rule in rules],
    }
