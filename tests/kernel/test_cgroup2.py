"""Containers where cgroup v2 carries every controller: limits, statistics, kills, delegation, as the kernel has them.

Runs on a host that is so, and in a virtual machine (tests/guest/test_cgroup2_vm.py).
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import cgroup_devices
from pilot.runtime import Container, Runtime, Stdio
from pilot.spec import parse
from pilot.spec.process import Process
from pilot.spec.state import Status

pytestmark = pytest.mark.requires("root", "private", "busybox", "cgroup2")

_MIB = 1 << 20


def _limited(config: Config, **resources: Any) -> Config:
    config["linux"]["resources"].update(resources)
    return config


def _read(container: Container, file: str) -> str:
    return Path(container.cgroup.paths[""], file).read_text().strip()


def _exec(runtime: Runtime, container: Container, script: str) -> tuple[int, str]:
    process = parse.parse_process(parse.format_spec(Process(args=("sh", "-c", script), cwd="/", env=("PATH=/bin",))))
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd) as output:
        try:
            spawned = container.exec(process, Stdio(None, write_fd, write_fd))
        finally:
            os.close(write_fd)
        text = output.read()
    status = runtime.wait(spawned, 30).exit_code()
    spawned.close()
    return status, text


def _disk() -> str:
    """MAJOR:MINOR of a disk of this machine."""
    return next(path.read_text().strip() for path in sorted(Path("/sys/block").glob("*/dev")))


def test_every_limit_is_in_its_file(runtime: Runtime, bundle: Path) -> None:
    major, minor = map(int, _disk().split(":"))
    config = _limited(
        bundles.make_config(),
        memory={"limit": 64 * _MIB, "swap": 96 * _MIB, "reservation": 32 * _MIB},
        cpu={"shares": 2048, "quota": 50000, "period": 200000, "burst": 1000, "cpus": "0", "mems": "0"},
        pids={"limit": 20},
        blockIO={"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1048576}]},
        unified={"memory.high": str(48 * _MIB), "memory.oom.group": "1"},
    )
    container = bundles.create(runtime, bundle, config).container
    found = {name: _read(container, name) for name in _LIMITS}
    assert found == _LIMITS
    assert _read(container, "io.max") == f"{major}:{minor} rbps=1048576 wbps=max riops=max wiops=max"


_LIMITS = {
    "memory.max": str(64 * _MIB),
    "memory.low": str(32 * _MIB),
    "memory.high": str(48 * _MIB),
    "memory.oom.group": "1",
    "cpu.weight": "174",
    "cpu.max": "50000 200000",
    "cpu.max.burst": "1000",
    "cpuset.cpus": "0",
    "cpuset.mems": "0",
    "pids.max": "20",
}


def test_update_changes_and_lifts_limits(runtime: Runtime, bundle: Path) -> None:
    container = bundles.create(runtime, bundle, _limited(bundles.make_config(), pids={"limit": 20})).container
    text = '{"memory": {"limit": %d}, "cpu": {"quota": 20000}, "pids": {"limit": -1}}'
    container.update(parse.parse_resources(text % (32 * _MIB)))
    files = ("memory.max", "cpu.max", "pids.max")
    assert [_read(container, name) for name in files] == [str(32 * _MIB), "20000 100000", "max"]
    container.update(parse.parse_resources('{"memory": {"limit": -1}, "cpu": {"quota": -1, "period": 50000}}'))
    assert [_read(container, name) for name in files] == ["max", "max 50000", "max"]
    low = '{"memory": {"limit": 4096, "checkBeforeUpdate": true}}'
    with pytest.raises(errors.HostError, match=r"set memory.max to 4096: \d+ are in use"):
        container.update(parse.parse_resources(low))


def test_the_process_is_born_in_its_cgroup(runtime: Runtime, bundle: Path) -> None:
    """By CLONE_INTO_CGROUP, before its cgroup namespace is made: so that is the namespace's root."""
    created = bundles.create(runtime, bundle, bundles.make_config())
    created.container.start()
    assert Path(f"/proc/{created.process.pid}/cgroup").read_text().startswith("0::/")
    assert _read(created.container, "cgroup.procs") == str(created.process.pid)
    assert _exec(runtime, created.container, "cat /proc/self/cgroup /proc/1/cgroup") == (0, "0::/\n0::/\n")


def test_statistics(runtime: Runtime, bundle: Path) -> None:
    script = "head -c 6000000 /dev/zero | tail -c 5000000 | wc -c; sleep 1000"
    (bundle / "rootfs/bin/head").symlink_to("busybox")
    (bundle / "rootfs/bin/tail").symlink_to("busybox")
    (bundle / "rootfs/bin/wc").symlink_to("busybox")
    config = _limited(bundles.make_config("sh", "-c", script), memory={"limit": 200 * _MIB}, pids={"limit": 9})
    read_fd, write_fd = os.pipe()
    container = bundles.create(runtime, bundle, config, stdio=Stdio(None, write_fd, None)).container
    container.start()
    os.close(write_fd)
    with os.fdopen(read_fd) as output:
        assert output.readline() == "5000000\n"
        stats = msgspec.json.decode(msgspec.json.encode(container.stats()))
    assert stats["cpu"]["usage"]["total"] > 1_000_000
    assert stats["cpu"]["usage"]["total"] == pytest.approx(
        stats["cpu"]["usage"]["kernel"] + stats["cpu"]["usage"]["user"], rel=0.01
    )
    assert stats["memory"]["usage"]["limit"] == 200 * _MIB
    assert stats["memory"]["usage"]["max"] > 5_000_000
    assert stats["memory"]["raw"]["anon"] > 0
    assert stats["pids"]["limit"] == 9
    for name in ("cpu", "memory", "blkio"):
        assert stats[name]["psi"]["some"]["total"] >= 0, name
    assert set(stats["memory"]["psi"]["full"]) == {"avg10", "avg60", "avg300", "total"}


def test_want_of_memory_kills_and_is_told(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/bin/dd").symlink_to("busybox")
    config = _limited(bundles.make_config(), memory={"limit": 16 * _MIB, "swap": 16 * _MIB})
    container = bundles.create(runtime, bundle, config).container
    container.start()
    with container.cgroup.oom_events() as events:
        assert events.read() == 0
        assert _exec(runtime, container, "dd if=/dev/zero of=/dev/null bs=100M count=1")[0] == 137
        assert select.select([events], [], [], 30)[0]
        assert events.read() == 1
    assert container.status() is Status.RUNNING


def test_a_limit_of_processes_holds(runtime: Runtime, bundle: Path) -> None:
    config = _limited(bundles.make_config(), pids={"limit": 3})
    container = bundles.create(runtime, bundle, config).container
    container.start()
    _, text = _exec(runtime, container, "for n in 1 2 3; do sleep 100 >/dev/null 2>&1 & done; echo not this far")
    assert "can't fork" in text
    assert "max 1" in Path(container.cgroup.paths[""], "pids.events").read_text()


def test_pause_stops_everything_and_kill_reaches_it(runtime: Runtime, bundle: Path) -> None:
    created = bundles.create(runtime, bundle, bundles.make_config("sh", "-c", "sleep 1000 & sleep 1000 & wait"))
    container = created.container
    container.start()
    container.pause()
    assert container.status() is Status.PAUSED
    assert "frozen 1" in _read(container, "cgroup.events").splitlines()
    # SIGKILL of a frozen cgroup is carried out at once in v2, without a thaw.
    container.kill(signal.SIGKILL, all=True)
    assert runtime.wait(created.process, 10).signal == signal.SIGKILL
    assert container.processes() == []
    assert container.status() is Status.STOPPED
    created.process.close()


def test_devices_are_a_program_of_the_cgroup(runtime: Runtime, bundle: Path) -> None:
    """What is not allowed cannot be opened, though its node can be made."""
    (bundle / "rootfs/bin/mknod").symlink_to("busybox")
    script = """
cd /dev; mknod kmsg c 1 11; mknod mem c 1 1
(: < /dev/null) && echo null
(: > kmsg) && echo may write
(: < kmsg) 2>/dev/null || echo may not read
(: < mem) 2>/dev/null || echo no memory
"""
    config = bundles.make_config("sh", "-c", script)
    config["linux"]["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]
    sets = config["process"]["capabilities"]
    for name in ("bounding", "effective", "permitted"):
        sets[name] = [*sets.get(name, []), "CAP_MKNOD"]
    expected = (0, "null\nmay write\nmay not read\nno memory\n")
    assert bundles.run_to_end(runtime, bundle, config) == expected
    container = bundles.create(runtime, bundle, config).container
    assert len(cgroup_devices.attached(container.cgroup.paths[""])) == 1


def _delegated_config() -> Config:
    """A user namespace, and a cgroup file system that may be written to."""
    config = bundles.with_user_namespace(_limited(bundles.make_config(), pids={"limit": 50}))
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["rw", "nosuid", "noexec", "nodev"]
    return config


def test_a_container_with_a_user_namespace_owns_its_cgroup(runtime: Runtime, bundle: Path) -> None:
    """It makes children with limits of their own, and does not get at the limits that were set for it."""
    (bundle / "rootfs/bin/mkdir").symlink_to("busybox")
    container = bundles.create(runtime, bundle, _delegated_config(), idmap_root=True).container
    container.start()
    directory = Path(container.cgroup.paths[""])
    assert (directory / "cgroup.procs").stat().st_uid == 100000
    assert (directory / "pids.max").stat().st_uid == 0
    script = """
set -e
cd /sys/fs/cgroup
mkdir init web
for pid in 1 $$; do echo $pid > init/cgroup.procs; done
echo +pids > cgroup.subtree_control
echo 5 > web/pids.max
echo web $(cat web/pids.max)
(echo 100 > pids.max) 2>/dev/null || echo not its own
"""
    assert _exec(runtime, container, script) == (0, "web 5\nnot its own\n")
    assert (directory / "web/pids.max").read_text() == "5\n"
    # Its cgroup takes no processes any more: what is executed now joins the one that its first process is in.
    assert _exec(runtime, container, "cat /proc/self/cgroup") == (0, "0::/init\n")
    assert container.processes() == [container.pid]
    container.pause()
    container.resume()


def test_exec_below_the_cgroup(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/bin/mkdir").symlink_to("busybox")
    container = bundles.create(runtime, bundle, bundles.make_config()).container
    container.start()
    below = Path(container.cgroup.paths[""], "below")
    below.mkdir()
    process = parse.parse_process('{"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]}')
    spawned = container.exec(process, Stdio(), cgroup={"": "/below"})
    assert (below / "cgroup.procs").read_text().split() == [str(spawned.pid)]
    assert set(container.processes()) == {container.pid, spawned.pid}
    signal.pidfd_send_signal(spawned.pid_fd, signal.SIGKILL)
    assert runtime.wait(spawned, 10).signal == signal.SIGKILL
    spawned.close()
