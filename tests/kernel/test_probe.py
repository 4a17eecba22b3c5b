"""Facts about this host, against other ways to see them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pilot.kernel import hierarchies, probe

pytestmark = pytest.mark.requires("private")


def test_facts_of_this_host() -> None:
    facts = probe.probe_host()
    assert f"{facts.kernel[0]}.{facts.kernel[1]}" in os.uname().release
    assert facts.effective_uid == os.geteuid()
    assert facts.cap_last_cap == int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert {"mnt", "pid", "user", "cgroup"} <= facts.namespaces
    assert "pid_for_children" not in facts.namespaces
    assert "errno" in facts.seccomp_actions
    assert facts.cgroup_mounts
    assert not facts.in_user_namespace


@pytest.mark.requires("cgroup1")
def test_controllers_of_the_v1_hierarchies() -> None:
    facts = probe.probe_host()
    mounted = {mount.name for mount in facts.cgroup_mounts}
    assert {"memory", "freezer", "pids", "systemd"} <= mounted
    assert {"memory", "freezer", "pids"} <= facts.cgroup_controllers
    assert not any(name.startswith("name=") for name in facts.cgroup_controllers)


@pytest.mark.requires("userns")
def test_inside_a_user_namespace() -> None:
    script = "from pilot.kernel import probe; print(probe.probe_in_user_namespace(), probe.probe_host().effective_uid)"
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"]


@pytest.mark.requires("root")
def test_the_own_group_is_that_of_the_process() -> None:
    found = hierarchies.probe_hierarchies()
    own = found.paths_of(os.getpid())
    for mount in found.mounts:
        directory = own[mount.controllers[0] if mount.controllers else ""]
        assert directory == mount.mount_point + mount.own_group.rstrip("/")
        assert str(os.getpid()) in Path(directory, "cgroup.procs").read_text().split()
