"""Filters compiled by libseccomp and loaded for real: what the kernel then answers."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pilot.kernel import seccomp, syscalls
from pilot.plan import seccomp as plan_seccomp
from pilot.spec.seccomp import Seccomp, SyscallArgument, SyscallRule

pytestmark = pytest.mark.requires("private")

_MKDIR, _GETPPID, _SOCKET, _PERSONALITY = ({"x86_64": (83, 110, 41, 135)}).get(os.uname().machine, (1030, 173, 198, 92))
_NEWEST = 100_000  # no kernel has so many calls


def _compile(profile: Seccomp, cache: str | None = None) -> seccomp.Filter:
    return seccomp.compile_filter(plan_seccomp.plan_filter(profile), cache)


def _load(loaded: seccomp.Filter) -> int:
    buffer = ctypes.create_string_buffer(loaded.instructions)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", loaded.count, ctypes.addressof(buffer)))
    return syscalls.call(syscalls.seccomp_number(), 1, loaded.flags, program, what="seccomp")


def _under(profile: Seccomp, action: Callable[[], int]) -> int:
    """Exit status of a child that runs `action` under the filter; negative is a signal."""
    loaded = _compile(profile)
    child = os.fork()
    if child == 0:
        try:
            _load(loaded)
            os._exit(action())
        finally:
            os._exit(200)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _errno_of(number: int, *arguments: object) -> Callable[[], int]:
    def run() -> int:
        try:
            syscalls.call(number, *arguments, what="try")
        except OSError as error:
            return error.errno or 199
        return 0

    return run


def _allow(*rules: SyscallRule, **more: object) -> Seccomp:
    return Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=rules, **more)  # type: ignore[arg-type]


def test_errno() -> None:
    profile = _allow(
        SyscallRule(("getppid",), "SCMP_ACT_ERRNO", 77), SyscallRule(("mkdir", "mkdirat"), "SCMP_ACT_ERRNO")
    )
    assert _under(profile, _errno_of(_GETPPID)) == 77
    assert _under(profile, _errno_of(_MKDIR, b"/proc/x", 0)) == errno.EPERM
    assert _under(profile, _errno_of(_SOCKET, -1, 0, 0)) == errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("SCMP_ACT_KILL", -signal.SIGSYS),
        ("SCMP_ACT_KILL_THREAD", -signal.SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", -signal.SIGSYS),
        ("SCMP_ACT_TRAP", -signal.SIGSYS),
        ("SCMP_ACT_TRACE", errno.ENOSYS),  # nobody traces
        ("SCMP_ACT_LOG", 0),
    ],
)
def test_actions(action: str, status: int) -> None:
    assert _under(_allow(SyscallRule(("getppid",), action)), _errno_of(_GETPPID)) == status


@pytest.mark.parametrize(
    ("operator", "value", "value_two", "refused"),
    [
        ("SCMP_CMP_EQ", 8, 0, {8}),
        ("SCMP_CMP_NE", 8, 0, {0, 7, 9, 12}),
        ("SCMP_CMP_LT", 8, 0, {0, 7}),
        ("SCMP_CMP_LE", 8, 0, {0, 7, 8}),
        ("SCMP_CMP_GE", 8, 0, {8, 9, 12}),
        ("SCMP_CMP_GT", 8, 0, {9, 12}),
        ("SCMP_CMP_MASKED_EQ", 8, 8, {8, 9, 12}),
    ],
)
def test_operators(operator: str, value: int, value_two: int, refused: set[int]) -> None:
    rule = SyscallRule(("socket",), "SCMP_ACT_ERRNO", 99, (SyscallArgument(2, value, operator, value_two),))

    def run() -> int:
        for argument in (0, 7, 8, 9, 12):
            answer = _errno_of(_SOCKET, -1, 0, argument)()
            if answer != (99 if argument in refused else errno.EAFNOSUPPORT):
                return argument + 1
        return 0

    assert _under(_allow(rule), run) == 0


def test_comparisons_of_several_arguments_must_all_hold() -> None:
    arguments = (SyscallArgument(1, 1, "SCMP_CMP_EQ"), SyscallArgument(2, 2, "SCMP_CMP_EQ"))
    profile = _allow(SyscallRule(("socket",), "SCMP_ACT_ERRNO", 99, arguments))
    assert _under(profile, _errno_of(_SOCKET, -1, 1, 2)) == 99
    assert _under(profile, _errno_of(_SOCKET, -1, 1, 3)) == errno.EAFNOSUPPORT


def test_one_argument_compared_twice_means_either() -> None:
    arguments = (SyscallArgument(2, 1, "SCMP_CMP_EQ"), SyscallArgument(2, 2, "SCMP_CMP_EQ"))
    profile = _allow(SyscallRule(("socket",), "SCMP_ACT_ERRNO", 99, arguments))
    assert [_under(profile, _errno_of(_SOCKET, -1, 0, protocol)) for protocol in (1, 2)] == [99, 99]
    assert _under(profile, _errno_of(_SOCKET, -1, 0, 3)) == errno.EAFNOSUPPORT


def test_a_wide_argument_is_compared_in_full() -> None:
    value = 0x1_0000_0008
    profile = _allow(SyscallRule(("getppid",), "SCMP_ACT_ERRNO", 99, (SyscallArgument(0, value, "SCMP_CMP_EQ"),)))
    assert _under(profile, _errno_of(_GETPPID, value)) == 99
    assert _under(profile, _errno_of(_GETPPID, 8)) == 0


# What a child needs to try a call and to exit.
_NEEDED = (
    "exit_group", "exit", "munmap", "mmap", "brk", "write", "read", "close", "futex", "rt_sigaction", "rt_sigreturn",
    "rt_sigprocmask", "madvise", "mprotect", "getpid", "openat2",
)  # fmt: skip


def _deny(names: tuple[str, ...] = _NEEDED, **more: object) -> Seccomp:
    rules = (SyscallRule(names, "SCMP_ACT_ALLOW"),)
    return Seccomp(default_action="SCMP_ACT_ERRNO", syscalls=rules, **more)  # type: ignore[arg-type]


def test_a_call_newer_than_the_profile_does_not_exist() -> None:
    assert _under(_deny(), _errno_of(_GETPPID)) == errno.EPERM
    assert _under(_deny(), _errno_of(_NEWEST)) == errno.ENOSYS
    # The profile knows openat2 (437) and nothing above.
    assert _under(_deny(), _errno_of(449)) == errno.ENOSYS


def test_with_an_errno_of_its_own() -> None:
    assert _under(_deny(default_errno_ret=7), _errno_of(_GETPPID)) == 7
    assert _under(_deny(default_errno_ret=7), _errno_of(_NEWEST)) == errno.ENOSYS
    assert _under(_deny(default_errno_ret=errno.ENOSYS), _errno_of(_NEWEST)) == errno.ENOSYS


def test_unknown_names_are_skipped() -> None:
    assert _under(_deny((*_NEEDED, "call_of_the_future")), _errno_of(_GETPPID)) == errno.EPERM


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 belongs to x86_64")
def test_foreign_architectures() -> None:
    architectures = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
    profile = _deny(architectures=architectures)
    assert _under(profile, _errno_of(0x40000000 | _GETPPID)) == errno.EPERM
    assert _under(profile, _errno_of(0x40000000 | _NEWEST)) == errno.ENOSYS
    # Left out, x32 is a foreign architecture, and libseccomp's answer to those is to kill.
    assert _under(_deny(), _errno_of(0x40000000 | _GETPPID)) == -signal.SIGSYS


def test_a_long_profile() -> None:
    # From some length on the filter is a tree.
    names = [f"{name}" for name in Path(__file__).with_name("syscall_names.txt").read_text().split()]
    profile = _deny((*_NEEDED, *names))
    assert _under(profile, _errno_of(_GETPPID)) == 0
    assert _under(profile, _errno_of(_PERSONALITY, 0)) == errno.EPERM


def test_the_listener() -> None:
    profile = _allow(SyscallRule(("getppid",), "SCMP_ACT_NOTIFY"), listener_path="/run/listener.sock")
    loaded = _compile(profile)
    assert loaded.notifies
    child = os.fork()
    if child == 0:
        listener_fd = _load(loaded)
        os._exit(0 if "seccomp notify" in os.readlink(f"/proc/self/fd/{listener_fd}") else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_cache_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, directory = _deny(), str(tmp_path / "seccomp")
    monkeypatch.setattr(seccomp, "_memory", {})
    built = _compile(profile, directory)
    (cached,) = os.listdir(directory)
    monkeypatch.setattr(seccomp, "_memory", {})
    monkeypatch.setattr(seccomp, "_build", lambda plan: pytest.fail("built again"))
    assert _compile(profile, directory) == built
    monkeypatch.undo()
    monkeypatch.setattr(seccomp, "_memory", {})
    content = Path(directory, cached).read_bytes()
    for damaged in (b"", content[:-8], content[:40] + b"x" + content[41:]):
        monkeypatch.setattr(seccomp, "_memory", {})
        Path(directory, cached).write_bytes(damaged)
        assert _compile(profile, directory) == built
        assert Path(directory, cached).read_bytes() == content
    assert os.listdir(directory) == [cached]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "_memory", {})
    (tmp_path / "file").write_text("")
    assert _compile(_deny(), str(tmp_path / "file")).count > 10
