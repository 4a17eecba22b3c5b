"""Steps about what the process is and may do, up to exec."""

from __future__ import annotations

import errno
import os
import struct

import msgspec

from .. import abi
from ..code import Call, Code, Label, Slot, slot_list
from .files import CheckDevice, CheckFilesystem, write_open
from .mounts import AttachMount, OpenTree

_PEER = Slot("(peer)")
_PTMX = (5, 2)
_CONTROL = Slot("(control)")
_INTERFACE_FLAGS = struct.Struct("=16sH22x")  # struct ifreq


class SetHostname(msgspec.Struct, frozen=True):
    """sethostname(2)."""

    name: str

    def describe(self) -> str:
        return f"hostname {self.name}"

    def write(self, code: Code) -> None:
        code.call(Call.SETHOSTNAME, self.name, len(self.name.encode()))


class RaiseLoopback(msgspec.Struct, frozen=True):
    """Bring `lo` up. By the process itself: its parent would need CAP_SYS_PTRACE to get into the network namespace."""

    def describe(self) -> str:
        return "ip link set lo up"

    def write(self, code: Code) -> None:
        code.call(Call.SOCKET, abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_CLOEXEC, 0, into=_CONTROL)
        code.call(Call.IOCTL, _CONTROL, abi.SIOCSIFFLAGS, _INTERFACE_FLAGS.pack(b"lo", abi.IFF_UP))


class SetDomainname(msgspec.Struct, frozen=True):
    """setdomainname(2)."""

    name: str

    def describe(self) -> str:
        return f"domainname {self.name}"

    def write(self, code: Code) -> None:
        code.call(Call.SETDOMAINNAME, self.name, len(self.name.encode()))


class NewSession(msgspec.Struct, frozen=True):
    """setsid(2)."""

    def describe(self) -> str:
        return "setsid"

    def write(self, code: Code) -> None:
        code.call(Call.SETSID)


class OpenTerminal(msgspec.Struct, frozen=True):
    """A new pty of the devpts below `base`: `master` and `peer` are bound; its size is set when rows or columns are.

    With `console` the peer is also mounted on base:dev/console (the path given). What answers to `path` must be the pty
    multiplexer of a devpts: the ioctl of anything else could name any descriptor of ours as the peer.
    """

    base: Slot
    master: Slot
    peer: Slot
    rows: int = 0
    columns: int = 0
    path: str = "dev/pts/ptmx"
    console: str | None = None

    def describe(self) -> str:
        size = f" ({self.rows} rows, {self.columns} columns)" if self.rows or self.columns else ""
        return f"open terminal {self.base}:{self.path}{size}{f' on {self.console}' if self.console else ''}"

    def write(self, code: Code) -> None:
        flags = abi.O_RDWR | abi.O_NOCTTY
        write_open(code, self.base, self.path, flags, into=self.master)
        CheckFilesystem(self.master, "devpts", abi.DEVPTS_SUPER_MAGIC).write(code)
        CheckDevice(self.master, *_PTMX).write(code)
        code.call(Call.IOCTL, self.master, abi.TIOCSPTLCK, bytes(4))
        code.call(Call.IOCTL, self.master, abi.TIOCGPTPEER, flags | abi.O_CLOEXEC, into=self.peer)
        if self.rows or self.columns:
            code.call(Call.IOCTL, self.master, abi.TIOCSWINSZ, struct.pack("<HHHH", self.rows, self.columns, 0, 0))
        if self.console:
            OpenTree(_PEER, self.peer, "", recursive=False).write(code)
            AttachMount(_PEER, self.base, self.console).write(code)
            code.call(Call.CLOSE, code.slot(_PEER))


class ControllingTerminal(msgspec.Struct, frozen=True):
    """Make a terminal the controlling one of this session (after NewSession)."""

    terminal: Slot

    def describe(self) -> str:
        return f"controlling terminal {self.terminal}"

    def write(self, code: Code) -> None:
        code.call(Call.IOCTL, self.terminal, abi.TIOCSCTTY, 0)


class InstallDescriptors(msgspec.Struct, frozen=True):
    """Slots become descriptors 0, 1, 2, ... in this order, inherited over exec; None closes that number.

    All other descriptors are made close-on-exec. Slots stay usable by later steps, wherever their numbers were.
    """

    slots: tuple[Slot | None, ...]

    def describe(self) -> str:
        return "descriptors " + " ".join(f"{number}={slot or 'closed'}" for number, slot in enumerate(self.slots))

    def write(self, code: Code) -> None:
        code.call(Call.INSTALL, slot_list(code, self.slots), len(self.slots))
        code.call(Call.CLOSE_RANGE, len(self.slots), 0xFFFFFFFF, abi.CLOSE_RANGE_CLOEXEC)


class Umask(msgspec.Struct, frozen=True):
    """umask(2)."""

    mask: int

    def describe(self) -> str:
        return f"umask {self.mask:04o}"

    def write(self, code: Code) -> None:
        code.call(Call.UMASK, self.mask)


_MOST_GROUPS_SHOWN = 32


class SetGroups(msgspec.Struct, frozen=True):
    """setgroups(2): the supplementary groups."""

    groups: tuple[int, ...]

    def describe(self) -> str:
        shown, more = self.groups[:_MOST_GROUPS_SHOWN], len(self.groups) - _MOST_GROUPS_SHOWN
        return f"setgroups {','.join(map(str, shown)) or 'none'}{f' and {more} more' if more > 0 else ''}"

    def write(self, code: Code) -> None:
        code.call(Call.SETGROUPS, len(self.groups), struct.pack(f"<{len(self.groups)}I", *self.groups))


class SetUser(msgspec.Struct, frozen=True):
    """Real, effective and saved gid, then uid. The permitted set is lost unless KeepCapabilities came before."""

    uid: int
    gid: int

    def describe(self) -> str:
        return f"setuid {self.uid}:{self.gid}"

    def write(self, code: Code) -> None:
        code.call(Call.SETRESGID, self.gid, self.gid, self.gid)
        code.call(Call.SETRESUID, self.uid, self.uid, self.uid)


class KeepCapabilities(msgspec.Struct, frozen=True):
    """Keep the permitted set over a change from uid 0; exec clears the flag."""

    keep: bool = True

    def describe(self) -> str:
        return f"{'keep' if self.keep else 'do not keep'} capabilities over setuid"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_SET_KEEPCAPS, int(self.keep), 0, 0, 0)


class DropBoundingSet(msgspec.Struct, frozen=True):
    """Drop all capabilities from the bounding set but these numbers."""

    keep: frozenset[int]

    def describe(self) -> str:
        return f"bounding set {_mask(self.keep):#x}"

    def write(self, code: Code) -> None:
        code.call(Call.DROP_BOUNDING, _mask(self.keep))


class SetCapabilities(msgspec.Struct, frozen=True):
    """capset(2): effective, permitted and inheritable, as capability numbers."""

    effective: frozenset[int]
    permitted: frozenset[int]
    inheritable: frozenset[int]

    def describe(self) -> str:
        sets = (_mask(self.effective), _mask(self.permitted), _mask(self.inheritable))
        return "capabilities effective {:#x} permitted {:#x} inheritable {:#x}".format(*sets)

    def write(self, code: Code) -> None:
        sets = (_mask(self.effective), _mask(self.permitted), _mask(self.inheritable))
        low_and_high = [s & 0xFFFFFFFF for s in sets] + [s >> 32 for s in sets]
        code.call(Call.CAPSET, struct.pack("<Ii", abi.CAP_VERSION_3, 0), struct.pack("<6I", *low_and_high))


class SetAmbientSet(msgspec.Struct, frozen=True):
    """The ambient set becomes exactly these numbers (they have to be permitted and inheritable)."""

    capabilities: frozenset[int]

    def describe(self) -> str:
        return f"ambient set {_mask(self.capabilities):#x}"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        for number in sorted(self.capabilities):
            code.call(Call.PRCTL, abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_RAISE, number, 0, 0)


class SetSecureBits(msgspec.Struct, frozen=True):
    """prctl(PR_SET_SECUREBITS)."""

    bits: int

    def describe(self) -> str:
        return f"securebits {self.bits:#x}"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_SET_SECUREBITS, self.bits, 0, 0, 0)


class NoNewPrivileges(msgspec.Struct, frozen=True):
    """prctl(PR_SET_NO_NEW_PRIVS)."""

    def describe(self) -> str:
        return "no new privileges"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


class Seccomp(msgspec.Struct, frozen=True):
    """Load a filter (an array of struct sock_filter); as late as the privileges allow.

    Steps after it make the system calls that they are made of, and no others: Execute only execve.

    `flags` are SECCOMP_FILTER_FLAG_*; with NEW_LISTENER the listener is bound to `listener`.
    """

    filter: bytes
    flags: int = 0
    listener: Slot | None = None

    def describe(self) -> str:
        return f"seccomp filter flags: {self.flags}, of {len(self.filter) // 8} instructions"  # runc's words, first

    def write(self, code: Code) -> None:
        code.call(Call.SECCOMP, self.filter, len(self.filter) // 8, self.flags, into=self.listener)


class SetLimit(msgspec.Struct, frozen=True):
    """setrlimit; `resource` is the kernel's number. 2**64 - 1 is infinity."""

    resource: int
    soft: int
    hard: int

    def describe(self) -> str:
        return f"rlimit {self.resource} {self.soft}:{self.hard}"

    def write(self, code: Code) -> None:
        code.call(Call.PRLIMIT64, 0, self.resource, struct.pack("<QQ", self.soft, self.hard), None)


class SetPersonality(msgspec.Struct, frozen=True):
    """personality(2)."""

    persona: int

    def describe(self) -> str:
        return f"personality {self.persona:#x}"

    def write(self, code: Code) -> None:
        code.call(Call.PERSONALITY, self.persona)


class SetScheduler(msgspec.Struct, frozen=True):
    """sched_setattr(2); times in nanoseconds."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime_ns: int = 0
    deadline_ns: int = 0
    period_ns: int = 0

    def describe(self) -> str:
        return f"scheduler policy {self.policy} nice {self.nice} priority {self.priority}"

    def write(self, code: Code) -> None:
        times = (self.runtime_ns, self.deadline_ns, self.period_ns)
        attributes = struct.pack("<IIQiIQQQ", 48, self.policy, self.flags, self.nice, self.priority, *times)
        code.call(Call.SCHED_SETATTR, 0, attributes, 0)


class SetIoPriority(msgspec.Struct, frozen=True):
    """ioprio_set(2) for this process; `io_class` 1 real time, 2 best effort, 3 idle."""

    io_class: int
    priority: int

    def describe(self) -> str:
        return f"ionice class {self.io_class} priority {self.priority}"

    def write(self, code: Code) -> None:
        code.call(Call.IOPRIO_SET, abi.IOPRIO_WHO_PROCESS, 0, self.io_class << 13 | self.priority)


class SetMemoryPolicy(msgspec.Struct, frozen=True):
    """set_mempolicy(2): mode with its flags, and node numbers."""

    mode: int
    nodes: frozenset[int] = frozenset()

    def describe(self) -> str:
        return f"memory policy {self.mode:#x} nodes {','.join(map(str, sorted(self.nodes))) or 'none'}"

    def write(self, code: Code) -> None:
        if not self.nodes:
            code.call(Call.SET_MEMPOLICY, self.mode, None, 0)
            return
        mask = _bitmap(self.nodes)
        code.call(Call.SET_MEMPOLICY, self.mode, mask, len(mask) * 8 + 1)  # the kernel looks at one bit fewer


class SetCpuAffinity(msgspec.Struct, frozen=True):
    """sched_setaffinity(2) for this process."""

    cpus: frozenset[int]

    def describe(self) -> str:
        return f"cpu affinity {_ranges(sorted(self.cpus))}"

    def write(self, code: Code) -> None:
        mask = _bitmap(self.cpus)
        code.call(Call.SCHED_SETAFFINITY, 0, len(mask), mask)


class JoinKeyring(msgspec.Struct, frozen=True):
    """A new session keyring of this name, searchable by its owner; nothing where the kernel has no keyrings."""

    name: str
    permissions: int = 0x3F1B0000

    def describe(self) -> str:
        return f"session keyring {self.name}"

    def write(self, code: Code) -> None:
        done = Label()
        code.call(Call.KEYCTL, abi.KEYCTL_JOIN_SESSION_KEYRING, self.name, unless={errno.ENOSYS: done})
        code.call(Call.KEYCTL, abi.KEYCTL_SETPERM, abi.KEY_SPEC_SESSION_KEYRING, self.permissions)
        code.place(done)


class SetDumpable(msgspec.Struct, frozen=True):
    """prctl(PR_SET_DUMPABLE). False keeps processes of a namespace about to be joined from looking into this one.

    exec makes it dumpable again. Writing its own uid_map needs True.
    """

    dumpable: bool

    def describe(self) -> str:
        return "dumpable" if self.dumpable else "not dumpable"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_SET_DUMPABLE, int(self.dumpable), 0, 0, 0)


class SetParentDeathSignal(msgspec.Struct, frozen=True):
    """prctl(PR_SET_PDEATHSIG). A change of uid clears it."""

    signal: int

    def describe(self) -> str:
        return f"parent death signal {self.signal}"

    def write(self, code: Code) -> None:
        code.call(Call.PRCTL, abi.PR_SET_PDEATHSIG, self.signal, 0, 0, 0)


class ChangeDirectory(msgspec.Struct, frozen=True):
    """chdir, then check that the working directory is inside the root (a leaked descriptor may lead out)."""

    path: str

    def describe(self) -> str:
        return f"cd {self.path}"

    def write(self, code: Code) -> None:
        code.call(Call.CHDIR, self.path)
        code.call(Call.CHECK_CWD)


class EnterDirectory(msgspec.Struct, frozen=True):
    """fchdir to what a slot has open."""

    directory: Slot

    def describe(self) -> str:
        return f"cd {self.directory}"

    def write(self, code: Code) -> None:
        code.call(Call.FCHDIR, self.directory)


class FindExecutable(msgspec.Struct, frozen=True):
    """Fail now, while the parent still listens, when none of `candidates` is a file that may be executed.

    ENOENT when there is none, EACCES when there is but without permission, EISDIR for a directory.
    """

    candidates: tuple[str, ...]

    def describe(self) -> str:
        return f"find executable {self.candidates[-1] if len(self.candidates) == 1 else ' '.join(self.candidates)}"

    def write(self, code: Code) -> None:
        code.call(Call.FIND_EXECUTABLE, self.candidates)


MOST_SHOWN = 200
_ANY_OTHER = 127
# errno → in words; where the kernel's are the wrong ones, better ones.
EXECUTE_ERRORS = {
    errno.ENOENT: "no such file or directory (or what runs it: the interpreter of a script, the loader of a program)",
    **{
        number: os.strerror(number)[:1].lower() + os.strerror(number)[1:]
        for number in (
            errno.E2BIG, errno.EACCES, errno.EINVAL, errno.EIO, errno.EISDIR, errno.ELIBBAD, errno.ELOOP,
            errno.ENAMETOOLONG, errno.ENOEXEC, errno.ENOMEM, errno.ENOTDIR, errno.EPERM, errno.ETXTBSY,
        )
    },
    _ANY_OTHER: "the kernel refused it",
}  # fmt: skip


class Execute(msgspec.Struct, frozen=True):
    """execve the first of `candidates` that can be; what a PATH search comes down to. Always the last step.

    `holds` are slots that stay open until then, and are closed by the execution: somebody waits for that.
    """

    candidates: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    holds: tuple[Slot, ...] = ()

    def describe(self) -> str:
        return f"exec {' '.join(self.arguments)}"

    def write(self, code: Code) -> None:
        for slot in self.holds:
            code.slot(slot)
        code.call(Call.EXECUTE, self.candidates, self.arguments, self.environment, self._complaints())

    def _complaints(self) -> tuple[str, ...]:
        """For a released process, which has its stderr alone: a line per error of execve(2), after its number."""
        name = self.arguments[0][:MOST_SHOWN] if self.arguments else ""
        return tuple(f"{chr(number)}pilot: exec {name}: {reason}\n" for number, reason in EXECUTE_ERRORS.items())


def _ranges(numbers: list[int]) -> str:
    """0,1,2,7 → 0-2,7"""
    present = set(numbers)
    starts = [n for n in numbers if n - 1 not in present]
    ends = [n for n in numbers if n + 1 not in present]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _mask(numbers: frozenset[int]) -> int:
    return sum(1 << number for number in numbers)


def _bitmap(numbers: frozenset[int]) -> bytes:
    mask = _mask(numbers)
    return mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little")
