"""Device policies as eBPF programs that the kernel verified and asks: what can be opened and made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import cgroup_devices, hierarchies
from pilot.kernel.cgroups import Cgroup
from pilot.plan import devices
from pilot.spec.resources import DeviceRule

pytestmark = pytest.mark.requires("root", "private", "bpf")

_ALL = DeviceRule(allow=True, access="rwm")
_NONE = DeviceRule(allow=False, access="rwm")


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    made = Cgroup.create(hierarchies.probe_hierarchies(), f"/d/{request.node.name.partition('[')[0]}")
    if "" not in made.paths:
        pytest.skip("no v2 tree")
    yield made
    made.kill()
    made.delete()


def _attach(group: Cgroup, *rules: DeviceRule) -> None:
    cgroup_devices.attach(group.paths[""], devices.compile_policy(devices.plan_policy(rules)))


def _can(group: Cgroup, script: str) -> bool:
    joined = f"echo 0 > {group.paths['']}/cgroup.procs && {script}"
    return subprocess.run(["/bin/sh", "-c", joined], capture_output=True, check=False).returncode == 0


def _rule(allow: bool, major: int | None, minor: int | None, access: str, kind: str = "c") -> DeviceRule:
    return DeviceRule(allow, kind, major, minor, access)


def test_an_exception_to_nothing_allows_all_of_its_access_only(group: Cgroup) -> None:
    _attach(group, _NONE, _rule(True, 1, 3, "r"), _rule(True, 1, 5, "rw"))
    assert _can(group, ": < /dev/null")
    assert not _can(group, ": > /dev/null")
    assert not _can(group, ": <> /dev/null")  # both at once is more than r
    assert _can(group, ": <> /dev/zero")
    assert not _can(group, ": < /dev/full")


def test_an_exception_to_everything_denies_any_of_its_access(group: Cgroup) -> None:
    _attach(group, _ALL, _rule(False, 1, 3, "w"))
    assert _can(group, ": < /dev/null")
    assert not _can(group, ": > /dev/null")
    assert not _can(group, ": <> /dev/null")
    assert _can(group, ": > /dev/zero")


def test_wildcards_types_and_making_nodes(group: Cgroup, tmp_path: Path) -> None:
    _attach(group, _NONE, _rule(True, 1, None, "rw"), _rule(True, None, None, "m", "b"))
    assert _can(group, ": <> /dev/null && : <> /dev/full")
    assert not _can(group, f"mknod {tmp_path}/null c 1 3")
    assert _can(group, f"mknod {tmp_path}/disk b 7 0")


def test_the_default_rules(group: Cgroup, tmp_path: Path) -> None:
    _attach(group, *devices.DEFAULT_RULES)
    assert _can(group, ": <> /dev/null && : < /dev/urandom && : <> /dev/ptmx")
    assert _can(group, f"mknod {tmp_path}/kmsg c 1 11")
    assert not _can(group, ": < /dev/kmsg")


def test_replacing_leaves_one_program(group: Cgroup) -> None:
    _attach(group, _NONE)
    assert not _can(group, ": < /dev/null")
    _attach(group, _ALL)
    assert _can(group, ": < /dev/null")
    assert len(cgroup_devices.attached(group.paths[""])) == 1


def test_a_program_that_the_verifier_refuses(group: Cgroup) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(errors.HostError, match="attach device program"):
        cgroup_devices.attach(group.paths[""], b"\x95" + bytes(7))  # exit without an answer
    assert os.listdir("/proc/self/fd") == before
    assert cgroup_devices.attached(group.paths[""]) == []
