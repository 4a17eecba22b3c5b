"""The systemd cgroup driver with a real systemd: what `systemctl show` and the cgroup's files say.

Runs where systemd is PID 1: in a virtual machine (tests/guest/test_systemd_vm.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import cgroup_devices
from pilot.runtime import Container, Runtime, Stdio
from pilot.spec import parse
from pilot.spec.state import Status

pytestmark = pytest.mark.requires("root", "private", "busybox", "cgroup2", "systemd")

_MIB = 1 << 20
_SHOWN = ("ActiveState", "Slice", "ControlGroup", "Delegate", "MemoryMax", "MemorySwapMax", "TasksMax", "CPUWeight",
          "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs")  # fmt: skip
_FILES = ("memory.max", "memory.swap.max", "pids.max", "cpu.weight", "cpu.max", "cpuset.cpus", "memory.high")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(str(tmp_path / "root"), cgroup_driver="systemd")
    yield made
    for container in made.list():
        container.delete(force=True)


def _config(cgroups_path: str = "system.slice:pilot:web") -> Config:
    config = bundles.make_config()
    config["linux"]["cgroupsPath"] = cgroups_path
    config["linux"]["resources"].update({
        "memory": {"limit": 64 * _MIB, "swap": 96 * _MIB},
        "pids": {"limit": 20},
        "cpu": {"shares": 2048, "quota": 50000, "period": 200000, "cpus": "0"},
        "unified": {"memory.high": str(48 * _MIB)},
    })  # fmt: skip
    return config


def _show(unit: str) -> dict[str, str]:
    """Properties of a unit as systemd knows them now."""
    command = ["systemctl", "show", f"--property={','.join(_SHOWN)}", unit]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


def _files(container: Container) -> dict[str, str]:
    return {name: Path(container.cgroup.paths[""], name).read_text().strip() for name in _FILES}


_LIMITS = {
    "memory.max": str(64 * _MIB),
    "memory.swap.max": str(32 * _MIB),
    "pids.max": "20",
    "cpu.weight": "174",
    "cpu.max": "50000 200000",
    "cpuset.cpus": "0",
    "memory.high": str(48 * _MIB),
}


def test_a_container_is_a_scope_with_its_limits(runtime: Runtime, bundle: Path) -> None:
    created = bundles.create(runtime, bundle, _config())
    container = created.container
    shown = _show("pilot-web.scope")
    assert shown == {
        "ActiveState": "active",
        "Slice": "system.slice",
        "ControlGroup": "/system.slice/pilot-web.scope",
        "Delegate": "yes",
        "MemoryMax": str(64 * _MIB),
        "MemorySwapMax": str(32 * _MIB),
        "TasksMax": "20",
        "CPUWeight": "174",
        "CPUQuotaPerSecUSec": "250ms",
        "CPUQuotaPeriodUSec": "200ms",
        "AllowedCPUs": "0",
    }
    assert container.cgroup.paths[""] == "/sys/fs/cgroup/system.slice/pilot-web.scope"
    assert container.cgroup.pids() == [created.process.pid]  # the holder has gone
    assert _files(container) == _LIMITS
    container.start()
    assert container.status() is Status.RUNNING
    container.pause()
    container.resume()
    container.kill(signal.SIGKILL)
    runtime.wait(created.process, 10)
    container.delete()
    created.process.close()
    assert _show("pilot-web.scope")["ActiveState"] == "inactive"
    assert not os.path.exists("/sys/fs/cgroup/system.slice/pilot-web.scope")


def test_annotations_are_properties_of_the_scope(runtime: Runtime, bundle: Path) -> None:
    config = _config()
    config["annotations"] = {
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
        "org.systemd.property.RuntimeMaxSec": "1000",
        "org.systemd.property.Before": "['pilot-other.service']",
    }
    bundles.create(runtime, bundle, config)
    names = ("CollectMode", "TimeoutStopUSec", "RuntimeMaxUSec", "Before")
    command = ["systemctl", "show", f"--property={','.join(names)}", "pilot-web.scope"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    shown = dict(line.split("=", 1) for line in lines)
    assert (shown["CollectMode"], shown["TimeoutStopUSec"]) == ("inactive-or-failed", "2min 3.456789s")
    assert shown["RuntimeMaxUSec"] == "16min 40s"
    assert "pilot-other.service" in shown["Before"].split()


def test_limits_and_devices_survive_a_reload(runtime: Runtime, bundle: Path) -> None:
    container = bundles.create(runtime, bundle, _config()).container
    container.start()
    programs = cgroup_devices.attached(container.cgroup.paths[""])
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert _files(container) == _LIMITS
    assert set(programs) <= set(cgroup_devices.attached(container.cgroup.paths[""]))
    container.update(parse.parse_resources(json.dumps({"memory": {"limit": 80 * _MIB}, "pids": {"limit": 30}})))
    changed = {**_LIMITS, "memory.max": str(80 * _MIB), "pids.max": "30"}
    assert _files(container) == changed
    shown = _show("pilot-web.scope")
    assert (shown["MemoryMax"], shown["TasksMax"]) == (str(80 * _MIB), "30")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert _files(container) == changed


def test_exec_joins_the_scope(runtime: Runtime, bundle: Path) -> None:
    container = bundles.create(runtime, bundle, _config()).container
    container.start()
    process = parse.parse_process('{"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]}')
    spawned = container.exec(process, Stdio())
    assert Path(f"/proc/{spawned.pid}/cgroup").read_text() == "0::/system.slice/pilot-web.scope\n"
    signal.pidfd_send_signal(spawned.pid_fd, signal.SIGKILL)
    runtime.wait(spawned, 10)
    spawned.close()


@pytest.mark.parametrize(
    ("cgroups_path", "control_group"),
    [
        ("", "/system.slice/pilot-web.scope"),
        (":crio:abc", "/system.slice/crio-abc.scope"),
        ("a-b.slice:cri-containerd:abc", "/a.slice/a-b.slice/cri-containerd-abc.scope"),
        ("-.slice:x:y", "/x-y.scope"),
    ],
)
def test_where_it_goes(runtime: Runtime, bundle: Path, cgroups_path: str, control_group: str) -> None:
    created = bundles.create(runtime, bundle, _config(cgroups_path))
    assert Path(f"/proc/{created.process.pid}/cgroup").read_text() == f"0::{control_group}\n"
    assert _show(os.path.basename(control_group))["ControlGroup"] == control_group


def test_what_runc_makes_of_the_same_bundle(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """Wherever both say something, they say the same."""
    config = _config("system.slice:one:web")
    (bundle / "config.json").write_text(json.dumps(config))
    state = str(tmp_path / "runc")
    subprocess.run(["runc", "--root", state, "--systemd-cgroup", "create", "--bundle", bundle, "web"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        theirs = _show("one-web.scope")
        their_files = {name: Path(f"/sys/fs/cgroup{theirs['ControlGroup']}", name).read_text() for name in _FILES}
    finally:
        subprocess.run(["runc", "--root", state, "delete", "--force", "web"], check=True)
    container = bundles.create(runtime, bundle, _config("system.slice:two:web")).container
    ours = _show("two-web.scope")
    # Newer runc's conversion of shares has a curve that 1.1 did not have.
    differ = {name for name in _SHOWN if ours[name] != theirs[name]}
    assert differ <= {"ControlGroup", "CPUWeight"}
    assert {name for name, text in _files(container).items() if text != their_files[name].strip()} <= {"cpu.weight"}


def test_a_failed_create_leaves_no_unit(runtime: Runtime, bundle: Path) -> None:
    config = _config()
    config["process"]["args"] = ["nonesuch"]
    with pytest.raises(errors.StepError):
        bundles.create(runtime, bundle, config)
    assert _show("pilot-web.scope")["ActiveState"] == "inactive"
    assert not os.path.exists("/sys/fs/cgroup/system.slice/pilot-web.scope")


def test_a_scope_of_that_name_is_in_the_way(runtime: Runtime, bundle: Path) -> None:
    bundles.create(runtime, bundle, _config())
    with pytest.raises(errors.Conflict, match=r"cgroup is not empty|pilot-web.scope"):
        bundles.create(runtime, bundle, _config(), "other")
    assert _show("pilot-web.scope")["ActiveState"] == "active"


def test_the_command_line(bundle: Path, tmp_path: Path) -> None:
    config = _config("system.slice:pilot:cli")
    config["process"]["args"] = ["cat", "/proc/self/cgroup"]
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
    (bundle / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pilot.command", "--root", str(tmp_path / "root"), "--systemd-cgroup"]
    done = subprocess.run(
        [*command, "run", "web"], cwd=bundle, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0::/system.slice/pilot-cli.scope\n", "")
    assert _show("pilot-cli.scope")["ActiveState"] == "inactive"
