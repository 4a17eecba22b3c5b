"""What the world may not ask the kernel for, whatever its root may do in its own namespaces: `linux.seccomp`, as data.

Everything else is let through: the world has all capabilities over its own user namespace, and containers run in it.
What is here reaches beyond namespaces, or is code of the kernel that only attackers have a use for in a sprite.

    socket(AF_VSOCK)            vsock ports are the host's, of all machines together: one could be taken from a
    neighbour.
                                A register is wider than the `int` that the kernel looks at: the rest is masked out.
    socketcall(SYS_SOCKET)      the 32-bit door to the same; its arguments are in memory, where no filter sees them,
    so it is
                                closed altogether (programs of 32 bits whose C library does not know socket(2) have no
                                network)
    io_uring_*                  opens sockets past this filter
    keyctl, add_key, ...        keys are counted per user of the host, and not all of their kinds are namespaced;
    runtimes
                                take ENOSYS for a kernel without, and go on
    userfaultfd                 holds the kernel still in the middle of a copy: the tool of half of all exploits. What
    the
                                kernel itself says to the unprivileged (vm.unprivileged_userfaultfd=0) is EPERM
    the rest                    as in Docker's default profile for a container that has all capabilities, except two
    that
                                it refuses and nested containers and debuggers need: pivot_root and personality
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

_SYS_SOCKET = 1  # of <linux/net.h>
_INT = 0xFFFFFFFF
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_NOT_THERE = ("io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key")
_FORBIDDEN = (
    "userfaultfd", "kexec_load", "kexec_file_load", "swapon", "swapoff", "uselib", "ustat", "sysfs", "_sysctl",
    "nfsservctl", "create_module", "get_kernel_syms", "query_module", "vm86", "vm86old",
)  # fmt: skip


def profile(machine: str) -> dict[str, object]:
    """`linux.seccomp` for worlds on this kind of machine (uname -m), on all of its ABIs."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": [
            _refuse(("socket",), errno.EAFNOSUPPORT, 0, socket.AF_VSOCK),
            _refuse(("socketcall",), errno.EAFNOSUPPORT, 0, _SYS_SOCKET),
            _refuse(_NOT_THERE, errno.ENOSYS),
            _refuse(_FORBIDDEN, errno.EPERM),
        ],
    }


def _refuse(names: Sequence[str], code: int, index: int | None = None, value: int = 0) -> dict[str, object]:
    """With `index`: only when that argument, as an int, is `value`."""
    rule: dict[str, object] = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": code}
    if index is not None:
        rule["args"] = [{"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": _INT, "valueTwo": value}]
    return rule
