"""`linux.resources.devices` → which devices may be used, and that as a program for cgroup v2.

The rules are an ordered list; what they amount to is a default and exceptions to it, which is all that cgroup v1 can
express. A rule that would need an exception to an exception is refused, so that both versions mean the same thing.

The program (type BPF_PROG_TYPE_CGROUP_DEVICE) is called with a pointer to

    struct bpf_cgroup_dev_ctx { u32 access << 16 | type; u32 major; u32 minor; }

and answers 1 to allow. It is one block per exception, each ending in an answer or falling through to the next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import msgspec

from .. import errors
from ..spec.resources import DeviceRule

# What every container may use whatever its config says (the runtime's default devices, and making any node).
DEFAULT_RULES = tuple(
    DeviceRule(allow=True, type=kind, major=major, minor=minor, access=access)
    for kind, major, minor, access in (
        ("c", None, None, "m"),
        ("b", None, None, "m"),
        ("c", 1, 3, "rwm"),  # null
        ("c", 1, 5, "rwm"),  # zero
        ("c", 1, 7, "rwm"),  # full
        ("c", 1, 8, "rwm"),  # random
        ("c", 1, 9, "rwm"),  # urandom
        ("c", 5, 0, "rwm"),  # tty
        ("c", 5, 2, "rwm"),  # ptmx
        ("c", 10, 200, "rwm"),  # net/tun, as runc and crun
        ("c", 136, None, "rwm"),  # pts
    )
)

_ORDER = "rwm"
_EVERY_TYPE = frozenset({"a", ""})


class Device(msgspec.Struct, frozen=True):
    """Devices of one type (b or c); a number of None is every number."""

    type: str
    major: int | None
    minor: int | None

    def __str__(self) -> str:
        major, minor = ("*" if number is None else number for number in (self.major, self.minor))
        return f"{self.type} {major}:{minor}"

    def wider(self) -> list[Device]:
        """All that include this one and are not it."""
        forms = {Device(self.type, m, n) for m in (self.major, None) for n in (self.minor, None)}
        return sorted(forms - {self}, key=str)


class DevicePolicy(msgspec.Struct, frozen=True):
    """`allow` holds for every device and access but the exceptions, for which the opposite does."""

    allow: bool
    exceptions: tuple[tuple[Device, str], ...]

    def describe(self) -> str:
        """The policy as lines."""
        head = "allow all devices" if self.allow else "deny all devices"
        return "\n".join([head, *(f"  except {device} {access}" for device, access in self.exceptions)])


def plan_policy(rules: Sequence[DeviceRule]) -> DevicePolicy:
    """What the rules amount to, later ones over earlier ones; at first nothing is allowed.

    SpecError for what cannot be expressed.
    """
    allow = False
    exceptions: dict[Device, set[str]] = {}
    for index, rule in enumerate(rules):
        path = f"$.linux.resources.devices[{index}]"
        access = _access(rule, path)
        if rule.type in _EVERY_TYPE:
            allow, exceptions = rule.allow, {}
            continue
        if rule.type not in {"b", "c"}:
            raise errors.SpecError(f"{path}.type", f"unknown device type {rule.type!r}")
        device = Device(rule.type, _number(rule.major), _number(rule.minor))
        if rule.allow != allow:
            exceptions.setdefault(device, set()).update(access)
        else:
            _remove(exceptions, device, access, path)
    kept = ((device, "".join(c for c in _ORDER if c in access)) for device, access in exceptions.items() if access)
    return DevicePolicy(allow, tuple(kept))


def _number(number: int | None) -> int | None:
    return None if number is None or number < 0 else number


def _access(rule: DeviceRule, path: str) -> set[str]:
    access = set(rule.access)
    if not access:
        raise errors.SpecError(f"{path}.access", "device access cannot be empty")
    if access - set(_ORDER):
        raise errors.SpecError(f"{path}.access", f"unknown access {rule.access!r}")
    is_narrow = access != set(_ORDER) or _number(rule.major) is not None or _number(rule.minor) is not None
    if rule.type in _EVERY_TYPE and is_narrow:
        raise errors.SpecError(path, "a rule for all types must be for all devices and all access")
    return access


def _remove(exceptions: dict[Device, set[str]], device: Device, access: set[str], path: str) -> None:
    for wider in device.wider():
        if exceptions.get(wider, set()) & access:
            raise errors.SpecError(path, f"an exception for {device} inside that for {wider} cannot be expressed")
    exceptions.get(device, set()).difference_update(access)


# ---- the policy as a program ------------------------------------------------------------------------------------

_TYPE = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
# Opcodes of <linux/bpf.h>: class | size or operation | source.
_LOAD_WORD, _MOV, _MOV_REG, _AND, _RSH = 0x61, 0xB7, 0xBF, 0x57, 0x77
_JNE, _JNE_REG, _JEQ, _EXIT = 0x55, 0x5D, 0x15, 0x95
_R0, _R1, _R2, _R3, _R4, _R5 = range(6)

_Instruction = tuple[int, int, int, int, int]  # opcode, destination, source, offset, immediate


def compile_policy(policy: DevicePolicy) -> bytes:
    """The policy as eBPF instructions, 8 bytes each."""
    program: list[_Instruction] = [
        (_LOAD_WORD, _R2, _R1, 0, 0),
        (_MOV_REG, _R3, _R2, 0, 0),
        (_AND, _R2, 0, 0, 0xFFFF),  # r2: type
        (_RSH, _R3, 0, 0, 16),  # r3: access
        (_LOAD_WORD, _R4, _R1, 4, 0),  # r4: major
        (_LOAD_WORD, _R5, _R1, 8, 0),  # r5: minor
    ]
    for device, access in policy.exceptions:
        program += _block(device, access, policy.allow)
    program += _answer(policy.allow)
    return b"".join(_encode(instruction) for instruction in program)


def _answer(allow: bool) -> list[_Instruction]:
    return [(_MOV, _R0, 0, 0, int(allow)), (_EXIT, 0, 0, 0, 0)]


def _block(device: Device, access: str, default: bool) -> list[_Instruction]:
    """Answer the opposite of the default when the exception matches, else fall through."""
    tests: list[_Instruction] = [(_JNE, _R2, 0, 0, _TYPE[device.type])]
    tests += _test_access(sum(_ACCESS[c] for c in access), default)
    tests += [(_JNE, _R4, 0, 0, device.major)] if device.major is not None else []
    tests += [(_JNE, _R5, 0, 0, device.minor)] if device.minor is not None else []
    body = tests + _answer(not default)
    # Every jump leads past the end of the block; its offset counts from the following instruction.
    jumps = {_JNE, _JNE_REG, _JEQ}
    return [
        (op, dst, src, len(body) - at - 1 if op in jumps else off, imm)
        for at, (op, dst, src, off, imm) in enumerate(body)
    ]


def _test_access(mask: int, default: bool) -> Iterable[_Instruction]:
    """An allowing exception must cover all that is asked for; a denying one matches when it covers any of it."""
    if mask == _ALL:
        return []
    masked: list[_Instruction] = [(_MOV_REG, _R1, _R3, 0, 0), (_AND, _R1, 0, 0, mask)]
    return [*masked, (_JEQ, _R1, 0, 0, 0) if default else (_JNE_REG, _R1, _R3, 0, 0)]


def _encode(instruction: _Instruction) -> bytes:
    opcode, destination, source, offset, immediate = instruction
    return struct.pack("<BBhI", opcode, source << 4 | destination, offset, immediate)
