"""A planned filter → classic BPF, by libseccomp; kept by digest, because building one takes milliseconds.

libseccomp is called by ctypes, and only when a filter is not in the cache:

    memory ── <directory>/<digest>-<libseccomp version>-<machine>.bpf ── libseccomp → memfd → bytes

A file is 32 bytes of SHA-256, then the program that they are of.

In front of libseccomp's program stands a stub that answers ENOSYS for numbers above all that the profile names:

    load architecture; for each architecture:  not this one → next;  load number;  above the last → ENOSYS;  → filter

Nothing here loads a filter: that is a step of the launcher, between clone and exec.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import os
import struct
from collections.abc import Iterator, Sequence

import msgspec

from .. import errors
from ..plan.seccomp import ARCHITECTURES, ERRNO, FilterPlan, Rule
from . import files

_CHECK_SIZE = hashlib.sha256().digest_size
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_INSTRUCTION = struct.Struct("=HBBI")
_X32 = ARCHITECTURES["SCMP_ARCH_X32"]
_X86_64 = ARCHITECTURES["SCMP_ARCH_X86_64"]
_X32_BIT = 0x40000000
_ATTRIBUTE_NO_NEW_PRIVS, _ATTRIBUTE_OPTIMIZE = 3, 8
_TREE_FROM = 32  # rules; fewer are as quick in a list
_UNKNOWN = -1  # __NR_SCMP_ERROR

_memory: dict[str, bytes] = {}


class Filter(msgspec.Struct, frozen=True):
    """For seccomp(SECCOMP_SET_MODE_FILTER, flags, instructions): `struct sock_filter`s, 8 bytes each."""

    instructions: bytes
    flags: int
    notifies: bool

    @property
    def count(self) -> int:
        """Number of instructions."""
        return len(self.instructions) // _INSTRUCTION.size


def compile_filter(plan: FilterPlan, cache_directory: str | None = None) -> Filter:
    """The program for `plan`; from `cache_directory` when it is there, and put there when it is not.

    HostError: libseccomp is missing, or does not know an architecture or action. A cache that cannot be written is
    done without.
    """
    digest = plan.digest()
    program = _memory.get(digest)
    if program is None:
        program = _memory[digest] = _from_disk(plan, digest, cache_directory)
    return Filter(program, plan.flags, plan.notifies)


def _from_disk(plan: FilterPlan, digest: str, directory: str | None) -> bytes:
    if directory is None:
        return _build(plan)
    path = os.path.join(directory, f"{digest}-{_version()}-{os.uname().machine}.bpf")
    program = _read(path)
    if program is None:
        program = _build(plan)
        _store(path, program)
    return program


def _read(path: str) -> bytes | None:
    """A stored program; None when there is none, or not all of it."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    check, program = content[:_CHECK_SIZE], content[_CHECK_SIZE:]
    return program if program and check == hashlib.sha256(program).digest() else None


def _store(path: str, program: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        files.replace(path, hashlib.sha256(program).digest() + program)
    except OSError:
        pass  # a read-only or full directory costs time, not correctness


def _build(plan: FilterPlan) -> bytes:
    library = _library()
    stub = _stub(_last_numbers(library, plan)) if plan.unknown_is_enosys else b""
    program = stub + _compile(library, plan)
    if len(program) // _INSTRUCTION.size > MAX_INSTRUCTIONS:
        raise errors.HostError(
            f"seccomp filter of {len(program) // 8} instructions: the kernel takes {MAX_INSTRUCTIONS}"
        )
    return program


# ---- libseccomp -------------------------------------------------------------------------------------------------


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class _Version(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("major", "minor", "micro")]


def load() -> None:
    """Load the library now, from where it is found now; HostError where there is none."""
    _library()


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise errors.HostError("seccomp: no libseccomp.so.2 on this machine", hint="install libseccomp2") from error
    context, number = ctypes.c_void_p, ctypes.c_uint32
    for name, result, arguments in (
        ("seccomp_init", context, [number]),
        ("seccomp_release", None, [context]),
        ("seccomp_arch_add", ctypes.c_int, [context, number]),
        ("seccomp_attr_set", ctypes.c_int, [context, ctypes.c_int, number]),
        ("seccomp_syscall_resolve_name", ctypes.c_int, [ctypes.c_char_p]),
        ("seccomp_syscall_resolve_name_arch", ctypes.c_int, [number, ctypes.c_char_p]),
        ("seccomp_arch_native", number, []),
        ("seccomp_export_bpf", ctypes.c_int, [context, ctypes.c_int]),
        ("seccomp_version", ctypes.POINTER(_Version), []),
        (
            "seccomp_rule_add_array",
            ctypes.c_int,
            [context, number, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _version() -> str:
    version = _library().seccomp_version().contents
    return f"{version.major}.{version.minor}.{version.micro}"


def _compile(library: ctypes.CDLL, plan: FilterPlan) -> bytes:
    context = library.seccomp_init(plan.default)
    if not context:
        raise errors.HostError(f"seccomp: libseccomp does not know the default action {plan.default:#x}")
    try:
        # Whether privileges are given up is the launcher's business, not the filter's.
        _check(library.seccomp_attr_set(context, _ATTRIBUTE_NO_NEW_PRIVS, 0), "set attribute")
        if len(plan.rules) > _TREE_FROM:
            _check(library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, 2), "set attribute")
        for token in plan.architectures:
            _check(library.seccomp_arch_add(context, token), f"add architecture {token:#x}", (errno.EEXIST,))
        for rule in plan.rules:
            _add_rule(library, context, rule)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _add_rule(library: ctypes.CDLL, context: int, rule: Rule) -> None:
    number = library.seccomp_syscall_resolve_name(rule.name.encode())
    if number == _UNKNOWN:
        return  # a profile for newer kernels; what it means is decided by the stub and the default action
    comparisons = (_Comparison * len(rule.comparisons))(
        *(_Comparison(c.index, c.operator, c.value, c.value_two) for c in rule.comparisons)
    )
    result = library.seccomp_rule_add_array(context, rule.action, number, len(rule.comparisons), comparisons)
    # The same rule twice in a profile is the same filter.
    _check(result, f"add rule for {rule.name}", (errno.EEXIST,))


def _export(library: ctypes.CDLL, context: int) -> bytes:
    memory_fd = os.memfd_create("pilot-seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, memory_fd), "export filter")
        return os.pread(memory_fd, os.fstat(memory_fd).st_size, 0)
    finally:
        os.close(memory_fd)


def _check(result: int, what: str, harmless: tuple[int, ...] = ()) -> None:
    if result < 0 and -result not in harmless:
        raise errors.HostError(f"seccomp: {what}: {os.strerror(-result).lower()}")


# ---- ENOSYS for what the profile cannot know --------------------------------------------------------------------


def _last_numbers(library: ctypes.CDLL, plan: FilterPlan) -> dict[int, int]:
    """The highest number of a call that the profile names, per architecture of the filter."""
    last: dict[int, int] = {}
    for token in dict.fromkeys((library.seccomp_arch_native(), *plan.architectures)):
        numbers = (library.seccomp_syscall_resolve_name_arch(token, name.encode()) for name in plan.names)
        known = [number for number in numbers if number >= 0]
        if known:
            last[token] = max(known)
    return last


_LOAD, _EQUAL, _GREATER, _GREATER_EQUAL, _JUMP, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x05, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4


def _stub(last: dict[int, int]) -> bytes:
    """One section per audit architecture, each of which ends in ENOSYS or at the filter."""
    sections = [_section(arch, list(_bounds(arch, last))) for arch in dict.fromkeys(_audit(token) for token in last)]
    program = [instruction for section in sections for instruction in section]
    if not program:
        return b""
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), *program]
    length = len(program)
    # A section's jump to the filter is relative to where it stands.
    done = [(op, t, f, length - at - 1) if op == _JUMP else (op, t, f, k) for at, (op, t, f, k) in enumerate(program)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in done)


def _audit(token: int) -> int:
    """x32 has a token of its own in libseccomp, but the kernel reports it as x86_64 with a bit in the number."""
    return _X86_64 if token == _X32 else token


def _bounds(arch: int, last: dict[int, int]) -> Iterator[tuple[int, int]]:
    """(from, last known) of the ranges of numbers of an architecture, the higher range first."""
    if arch == _X86_64:
        # Without x32 in the profile its numbers are for the filter's own answer to a foreign architecture.
        yield _X32_BIT, (_X32_BIT | last[_X32]) if _X32 in last else 0xFFFFFFFF
    if arch in last:
        yield 0, last[arch]


_Code = tuple[int, int, int, int]


def _section(arch: int, bounds: Sequence[tuple[int, int]]) -> list[_Code]:
    body: list[_Code] = [(_LOAD, 0, 0, _NUMBER_AT)]
    for start, known in bounds:
        # In range? then: above what is known → ENOSYS, else → filter.
        body += [
            (_GREATER_EQUAL, 0, 3, start),
            (_GREATER, 0, 1, known),
            (_RETURN, 0, 0, ERRNO | errno.ENOSYS),
            (_JUMP, 0, 0, 0),
        ]
    body.append((_JUMP, 0, 0, 0))
    return [(_EQUAL, 0, len(body), arch), *body]
