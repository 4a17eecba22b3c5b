"""`linux.seccomp` of config.json: which system calls may be made, and what happens on the others."""

# Annotations are objects here, not texts: see `document`.

import msgspec

from .document import Document


class SyscallArgument(Document, frozen=True):
    """Compare argument `index` with `value` by `op`; MASKED_EQ masks with `value` and compares with `value_two`."""

    index: int
    value: int
    op: str
    value_two: int = 0


class SyscallRule(Document, frozen=True):
    """The same action for all of `names` when all of `args` match."""

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SyscallArgument, ...] = ()


class Seccomp(Document, frozen=True):
    """A profile. Actions are SCMP_ACT_…, architectures SCMP_ARCH_…, flags SECCOMP_FILTER_FLAG_…."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[SyscallRule, ...] = msgspec.field(default=())
