"""Tests of this checkout inside virtual machines: pure cgroup v2 with pilot-init or systemd as PID 1.

One boot per `Set`; a test here stands for a file of tests in there, and shows those that failed. The sets that take
long run in `make vm-tests` alone, which also writes what they said to docs/reference/vm-tests.md.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import guestvm
from tests.support.guestvm import PidOne, Results

pytestmark = [
    pytest.mark.requires("root", "private", "qemu", "busybox", "mkfs.erofs", "guest-kernel", "guest-tests"),
    pytest.mark.timeout(1200),
]

_HEAD = """# Tests in virtual machines

Written by `make vm-tests`: QEMU microvm with TCG and two processors, Debian's cloud kernel, cgroup v2 alone. What each
set is for, and how the tests get there: tests/guest/test_in_vm.py, tests/support/guestvm.py.

"""
# No v1; no modules of loop and veth in the initramfs.
_ABSENT = ("cgroup1", "loop", "veth")


@dataclasses.dataclass(frozen=True)
class Set:
    """Files of tests that run in one machine."""

    name: str
    pid_one: PidOne
    files: tuple[str, ...]
    is_long: bool = False
    modules: tuple[str, ...] = ()


SETS = (
    Set("cgroup2", PidOne.PILOT_INIT, (
        "tests/kernel/test_cgroup2.py", "tests/kernel/test_cgroups.py", "tests/kernel/test_cgroups_in_machine.py",
        "tests/kernel/test_device_program.py", "tests/kernel/test_runtime_nested.py",
    )),
    Set("systemd", PidOne.SYSTEMD, ("tests/kernel/test_systemd_scope.py",)),
    Set("cgroup2-runtime", PidOne.PILOT_INIT, (
        "tests/kernel/test_cli.py", "tests/kernel/test_runtime_lifecycle.py",
        "tests/kernel/test_runtime_container_world.py", "tests/kernel/test_idmap.py", "tests/kernel/test_mounts.py",
    ), is_long=True),
    Set("systemd-host", PidOne.SYSTEMD, (
        "tests/kernel/test_cgroup2.py", "tests/kernel/test_cgroups.py", "tests/kernel/test_cgroups_in_machine.py",
        "tests/kernel/test_runtime_lifecycle.py",
    ), is_long=True),
    # Here root has CAP_SYS_RESOURCE, which root of a container lacks.
    Set("volume-grows", PidOne.PILOT_INIT, (
        "tests/kernel/test_volume.py::test_file_device_and_filesystem_grow_together",
    ), is_long=True, modules=("loop", "fuse")),
)  # fmt: skip


def _parameters() -> Iterator[object]:
    for set_ in SETS:
        marks = [pytest.mark.requires("vm-tests")] if set_.is_long else []
        for file in set_.files:
            yield pytest.param(set_, file, marks=marks, id=f"{set_.name}-{Path(file).stem}")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Set], Results]:
    """What the tests of a set said: they run when it is first asked for."""
    return functools.cache(lambda set_: _run(set_, tmp_path_factory.mktemp(set_.name)))


def _run(set_: Set, directory: Path) -> Results:
    absent = [need for need in _ABSENT if need not in set_.modules]
    found = guestvm.run(
        directory, set_.pid_one, set_.files, expected_skips=absent, modules=set_.modules, timeout_s=1000
    )
    report = os.environ.get("PILOT_VM_TESTS_REPORT")
    if report:
        head = "" if os.path.exists(report) else _HEAD
        with open(report, "a", encoding="utf-8") as file:
            file.write(head + found.describe(f"{set_.name} (PID 1: {set_.pid_one.name.lower().replace('_', '-')})"))
    return found


@pytest.mark.parametrize(("set_", "file"), list(_parameters()))
def test_in_a_virtual_machine(results: Callable[[Set], Results], set_: Set, file: str) -> None:
    results(set_).check(file.partition("::")[0])
