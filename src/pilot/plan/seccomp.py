"""`linux.seccomp` → a filter as numbers: what each action, architecture, operator and flag of the profile means.

Names of system calls stay names: which of them exist is for libseccomp to know (`kernel.seccomp`), and unknown ones are
skipped there, because profiles name calls of newer kernels. Everything else that is unknown is a SpecError.

A call that is newer than the whole profile must fail with ENOSYS and not as the default action says: a C library that
gets EPERM for a new call does not try the old one. `unknown_is_enosys` asks for that.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence

import msgspec

from .. import errors
from ..spec import seccomp as spec_
from ..spec.seccomp import Seccomp

_PATH = "$.linux.seccomp"

KILL_PROCESS, KILL_THREAD, TRAP, ERRNO = 0x80000000, 0x00000000, 0x00030000, 0x00050000
NOTIFY, TRACE, LOG, ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000

ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_NOTIFY": NOTIFY,
    "SCMP_ACT_ALLOW": ALLOW,
}
_WITH_ERRNO = frozenset({ERRNO, TRACE})

# libseccomp's enum scmp_compare.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

_LE, _64 = 0x40000000, 0x80000000
# AUDIT_ARCH_* of <linux/audit.h>, which are libseccomp's tokens: ELF machine, and whether 64 bit and little-endian.
ARCHITECTURES = {
    "SCMP_ARCH_X86": 3 | _LE,
    "SCMP_ARCH_X86_64": 62 | _64 | _LE,
    "SCMP_ARCH_X32": 62 | _LE,
    "SCMP_ARCH_ARM": 40 | _LE,
    "SCMP_ARCH_AARCH64": 183 | _64 | _LE,
    "SCMP_ARCH_LOONGARCH64": 258 | _64 | _LE,
    "SCMP_ARCH_M68K": 4,
    "SCMP_ARCH_MIPS": 8,
    "SCMP_ARCH_MIPS64": 8 | _64,
    "SCMP_ARCH_MIPS64N32": 8 | _64 | 0x20000000,
    "SCMP_ARCH_MIPSEL": 8 | _LE,
    "SCMP_ARCH_MIPSEL64": 8 | _64 | _LE,
    "SCMP_ARCH_MIPSEL64N32": 8 | _64 | _LE | 0x20000000,
    "SCMP_ARCH_PARISC": 15,
    "SCMP_ARCH_PARISC64": 15 | _64,
    "SCMP_ARCH_PPC": 20,
    "SCMP_ARCH_PPC64": 21 | _64,
    "SCMP_ARCH_PPC64LE": 21 | _64 | _LE,
    "SCMP_ARCH_RISCV64": 243 | _64 | _LE,
    "SCMP_ARCH_S390": 22,
    "SCMP_ARCH_S390X": 22 | _64,
    "SCMP_ARCH_SH": 42 | _LE,
    "SCMP_ARCH_SHEB": 42,
}

# SECCOMP_FILTER_FLAG_* of <linux/seccomp.h>.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # all threads of a process that has one: nothing to do, as in runc
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_NEW_LISTENER = 8


class Comparison(msgspec.Struct, frozen=True):
    """Argument `index` of the call against `value`; for MASKED_EQ `value` is the mask and `value_two` the datum."""

    index: int
    operator: int
    value: int
    value_two: int


class Rule(msgspec.Struct, frozen=True):
    """The action on a call when all comparisons hold."""

    name: str
    action: int
    comparisons: tuple[Comparison, ...] = ()


class FilterPlan(msgspec.Struct, frozen=True):
    """All that libseccomp has to be told. `flags` are for seccomp(2); `rules` are in the profile's order.

    `names` are all calls that the profile knows of, those with the default action too.
    """

    default: int
    architectures: tuple[int, ...]
    rules: tuple[Rule, ...]
    names: tuple[str, ...]
    flags: int
    unknown_is_enosys: bool

    @property
    def notifies(self) -> bool:
        """Whether loading the filter gives a listener descriptor."""
        return bool(self.flags & _NEW_LISTENER)

    def digest(self) -> str:
        """Names the compiled program, together with libseccomp's version."""
        # The repr of numbers, texts and tuples of them is one text per value.
        return hashlib.sha256(repr(self).encode()).hexdigest()


def plan_filter(profile: Seccomp) -> FilterPlan:
    """A profile as numbers; SpecError names what is unknown or does not fit together."""
    default = _action(profile.default_action, profile.default_errno_ret, "defaultAction", "defaultErrnoRet")
    rules: list[Rule] = []
    names: dict[str, None] = {}
    for index, rule in enumerate(profile.syscalls):
        names.update(dict.fromkeys(rule.names))
        rules += _plan_rule(rule, index, default)
    notifies = any(rule.action == NOTIFY for rule in rules)
    _check_listener(profile, notifies, default, rules)
    return FilterPlan(
        default=default,
        architectures=tuple(
            _lookup(ARCHITECTURES, name, "architectures", "string {} is not a valid arch for seccomp")
            for name in profile.architectures
        ),
        rules=tuple(rules),
        names=tuple(names),
        flags=_flags(profile, notifies),
        unknown_is_enosys=_wants_enosys(profile, default),
    )


def _wants_enosys(profile: Seccomp, default: int) -> bool:
    """Not where the default lets calls through, nor where it says ENOSYS itself."""
    return default not in {ALLOW, LOG} and profile.default_errno_ret != errno.ENOSYS


def _plan_rule(rule: spec_.SyscallRule, index: int, default: int) -> list[Rule]:
    place = f"syscalls[{index}]"
    action = _action(rule.action, rule.errno_ret, f"{place}.action", f"{place}.errnoRet")
    comparisons = tuple(
        Comparison(
            _checked_index(arg, f"{place}.args"),
            _lookup(OPERATORS, arg.op, f"{place}.args.op", "string {} is not a valid operator for seccomp"),
            arg.value,
            arg.value_two,
        )
        for arg in rule.args
    )
    if action == default:
        return []
    return [Rule(name, action, group) for name in rule.names for group in _groups(comparisons)]


def _groups(comparisons: tuple[Comparison, ...]) -> Sequence[tuple[Comparison, ...]]:
    """Comparisons that must hold together. One argument compared twice means *or*: a rule for each comparison."""
    indexes = [comparison.index for comparison in comparisons]
    if len(set(indexes)) == len(indexes):
        return [comparisons]
    return [(comparison,) for comparison in comparisons]


def _checked_index(argument: spec_.SyscallArgument, place: str) -> int:
    if not 0 <= argument.index <= 5:
        raise errors.SpecError(f"{_PATH}.{place}.index", f"{argument.index} is not within 0 to 5")
    for name, value in (("value", argument.value), ("valueTwo", argument.value_two)):
        if not 0 <= value < 1 << 64:
            raise errors.SpecError(f"{_PATH}.{place}.{name}", f"{value} is not a number of 64 bits")
    return argument.index


def _action(name: str, errno_ret: int | None, place: str, errno_place: str) -> int:
    action = _lookup(ACTIONS, name, place, "string {} is not a valid action for seccomp")
    if action not in _WITH_ERRNO:
        if errno_ret is not None:
            raise errors.SpecError(f"{_PATH}.{errno_place}", f"{name} does not take an errno")
        return action
    number = errno.EPERM if errno_ret is None else errno_ret
    if not 0 <= number <= 0xFFFF:
        raise errors.SpecError(f"{_PATH}.{errno_place}", f"{number} is not within 0 to 65535")
    return action | number


def _lookup(table: dict[str, int], name: str, place: str, what: str) -> int:
    """`what` is what runc says of a name that there is not, with {} for the name."""
    try:
        return table[name]
    except KeyError:
        raise errors.SpecError(f"{_PATH}.{place}", what.format(name)) from None


def _flags(profile: Seccomp, notifies: bool) -> int:
    """No `flags` at all means the runtime's default; speculation is then left to the machine's own setting."""
    named = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] if profile.flags is None else list(profile.flags)
    flags = 0
    for name in named:
        flags |= _lookup(FLAGS, name, "flags", "seccomp flag {} is not known")
    return flags | _NEW_LISTENER if notifies else flags


def _check_listener(profile: Seccomp, notifies: bool, default: int, rules: Sequence[Rule]) -> None:
    if default == NOTIFY:
        raise errors.SpecError(f"{_PATH}.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
    if any(rule.action == NOTIFY and rule.name == "write" for rule in rules):
        # The runtime itself must write the listener's descriptor to the other side after the filter is loaded.
        raise errors.SpecError(f"{_PATH}.syscalls", "SCMP_ACT_NOTIFY cannot be used for the write syscall")
    if notifies and not profile.listener_path:
        raise errors.SpecError(f"{_PATH}.listenerPath", "seccomp listenerPath is not set")
    if profile.listener_metadata and not profile.listener_path:
        raise errors.SpecError(f"{_PATH}.listenerMetadata", "given without listenerPath")
