"""Cgroups from inside a machine: user, cgroup and mount namespaces of its own, and what the host delegated to it."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import cgroups, hierarchies, idmap, mounts, syscalls
from pilot.kernel.cgroups import Cgroup
from pilot.plan.cgroup import Write
from pilot.plan.facts import CgroupMount

pytestmark = pytest.mark.requires("root", "private", "userns")

_BASE = 300_000
_NEW_USER, _NEW_CGROUP, _NEW_MOUNT = 0x10000000, 0x02000000, 0x00020000


@pytest.fixture
def machine() -> Iterator[Cgroup]:
    made = Cgroup.create(hierarchies.probe_hierarchies(), "/machines/one")
    made.apply([Write("pids", "pids.max", "50")] if made.directory("pids") else [])
    made.delegate(_BASE, _BASE)
    yield made
    made.kill()
    made.delete()


def _mount_cgroups(mounted: tuple[CgroupMount, ...]) -> None:
    mounts.set_attributes("/", propagation=mounts.Propagation.PRIVATE, recursive=True)
    mounts.mount("tmpfs", "/sys/fs/cgroup", "tmpfs")
    for mount in mounted:
        os.makedirs(mount.mount_point, exist_ok=True)
        kind = "cgroup2" if mount.version == 2 else "cgroup"
        mounts.mount(kind, mount.mount_point, kind, data=",".join(mount.controllers) or None)


def _sleeper(group: Cgroup) -> int:
    fds = group.join_descriptors()
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        for fd in fds:
            os.write(fd, b"0")
        os.write(tell, b"x")
        while True:
            signal.pause()
    os.close(tell)
    assert os.read(ready, 1) == b"x"
    for fd in (ready, *fds):
        os.close(fd)
    return child


def _inside() -> None:
    """What an agent does; an assertion that fails is printed."""
    found = hierarchies.probe_hierarchies()
    assert all(mount.own_group == "/" for mount in found.mounts), found
    cgroups.vacate(found)
    group = Cgroup.create(found, "/world")
    if group.directory("pids"):
        group.apply([Write("pids", "pids.max", "20")])
        with pytest.raises(errors.HostError, match="permission denied"):
            Cgroup(found.paths("/")).apply([Write("pids", "pids.max", "max")])
    child = _sleeper(group)
    assert group.pids() == [child]
    assert found.paths_of(child) == group.paths
    group.freeze()
    assert group.frozen()
    group.thaw()
    assert group.stats().pids.current in {0, 1}  # 0 where no pids controller is
    group.oom_events().close() if group.directory("memory") else None
    group.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    group.delete()
    assert not group.exists()


def test_a_machine_runs_its_own_cgroups(machine: Cgroup) -> None:
    mounted = hierarchies.probe_hierarchies().mounts
    fds = machine.join_descriptors()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            for fd in fds:
                os.write(fd, b"0")
            flags = _NEW_USER | _NEW_CGROUP | _NEW_MOUNT
            syscalls.checked(syscalls.libc.unshare(flags), "unshare")
            theirs.send(b"mapped?")
            theirs.recv(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            _mount_cgroups(mounted)
            _inside()
            theirs.send(b"good")
        except BaseException:  # noqa: BLE001 - whatever it is, the parent shows it
            theirs.send(traceback.format_exc().encode())
        finally:
            os._exit(0)
    for fd in fds:
        os.close(fd)
    theirs.close()
    with ours:
        first = ours.recv(10000)
        assert first == b"mapped?", first.decode()
        idmap.write_maps(child, [(0, _BASE, 65536)], [(0, _BASE, 65536)])
        ours.send(b"x")
        answer = ours.recv(10000).decode()
    os.waitpid(child, 0)
    assert answer == "good", answer
    if directory := machine.directory("pids"):
        assert Path(directory, "pids.max").read_text().strip() == "50"
