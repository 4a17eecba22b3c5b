"""`linux` of config.json, mounts, hooks and the state document: what the kernel and the callers see of each."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import mounts, resctrl
from pilot.runtime import Runtime, Stdio
from pilot.spec import parse

pytestmark = pytest.mark.requires("root", "private", "busybox")

_NOTIF_RECV, _NOTIF_SEND = 0xC0502100, 0xC0182101


def _linux(*args: str, **linux: Any) -> Config:
    config = bundles.make_config(*args)
    config["linux"].update(linux)
    return config


def _limited(**resources: Any) -> Config:
    config = bundles.make_config()
    config["linux"]["resources"].update(resources)
    return config


# ---- devices and cgroups --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shown"), [("c", "character special file"), ("u", "character special file"), ("b", "block special file")]
)
def test_kinds_of_devices(runtime: Runtime, bundle: Path, kind: str, shown: str) -> None:
    node = {"path": "/dev/deep/own", "type": kind, "major": 7, "minor": 300, "fileMode": 0o604, "uid": 5, "gid": 6}
    config = _linux("stat", "-c", "%F %t:%T %a %u:%g", "/dev/deep/own", devices=[node])
    assert bundles.run_to_end(runtime, bundle, config) == (0, f"{shown} 7:12c 604 5:6\n")


def test_a_device_may_be_used_when_a_rule_allows_it(runtime: Runtime, bundle: Path) -> None:
    node = {"path": "/dev/control", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666}
    config = _linux("sh", "-c", ": < /dev/control", devices=[node])
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text) == (1, "sh: can't open /dev/control: Operation not permitted\n")
    rule = {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "r"}
    config["linux"]["resources"]["devices"].append(rule)
    assert bundles.run_to_end(runtime, bundle, config) == (0, "")


@pytest.mark.parametrize("path", ["/of/its/own", "below/ours"])
def test_cgroups_path(runtime: Runtime, bundle: Path, path: str) -> None:
    container = bundles.create(runtime, bundle, _linux(cgroupsPath=path)).container
    lines = Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
    assert any(line.endswith(path) for line in lines)
    container.delete(force=True)
    assert not container.cgroup.exists()


def test_unified_files_are_written_as_they_are(runtime: Runtime, bundle: Path) -> None:
    if "" not in bundles.create(runtime, bundle, _limited(), "probe").container.cgroup.paths:
        pytest.skip("no cgroup v2 tree")
    container = bundles.create(runtime, bundle, _limited(unified={"cgroup.max.depth": "7"})).container
    assert Path(container.cgroup.paths[""], "cgroup.max.depth").read_text() == "7\n"


# On this host or on another one: a limit holds, or the controller that it needs is named.
LIMITS: dict[str, tuple[dict[str, Any], str, str]] = {
    "hugepageLimits": ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 22}]}, "hugetlb.2MB.max", "4194304"),
    "rdma": ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, "rdma.max", "mlx5_1 hca_handle=3 hca_object=max"),
    "classID": ({"network": {"classID": 0x100001}}, "net_cls.classid", "1048577"),
    "priorities": ({"network": {"priorities": [{"name": "lo", "priority": 3}]}}, "net_prio.ifpriomap", "lo 3"),
    "cpu": ({"cpu": {"shares": 512, "quota": 50000, "period": 100000}}, "cpu.cfs_quota_us", "50000"),
    "cpuset": ({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset.cpus", "0"),
    "memory": ({"memory": {"limit": 1 << 26, "reservation": 1 << 25}}, "memory.soft_limit_in_bytes", str(1 << 25)),
    "swappiness": ({"memory": {"limit": 1 << 26, "swappiness": 7}}, "memory.swappiness", "7"),
    "disableOOMKiller": ({"memory": {"disableOOMKiller": True}}, "memory.oom_control", "oom_kill_disable 1"),
    "pids": ({"pids": {"limit": 19}}, "pids.max", "19"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(runtime: Runtime, bundle: Path, name: str) -> None:
    resources, file, text = LIMITS[name]
    try:
        container = bundles.create(runtime, bundle, _limited(**resources)).container
    except errors.HostError as error:
        # Beside v1 hierarchies the v2 tree has hugetlb, but nobody has shared it out to its children.
        if not re.search(r"no cgroup controller|hugetlb\S+: no such file", str(error)) or runtime.list():
            raise
        pytest.skip(str(error))
    found = [Path(path, file) for path in container.cgroup.paths.values() if Path(path, file).exists()]
    if not found:
        pytest.skip(f"{file} is of the other cgroup version")
    assert text in found[0].read_text()


def test_classes_of_cache_need_resctrl(runtime: Runtime, bundle: Path) -> None:
    if os.path.exists("/sys/fs/resctrl"):
        pytest.skip("this kernel has resctrl")
    with pytest.raises(errors.HostError, match="intelRdt"):
        bundles.create(runtime, bundle, _linux(intelRdt={"closID": "some", "l3CacheSchema": "L3:0=f"}))
    assert runtime.list() == []


def test_processes_join_their_class_of_cache(
    runtime: Runtime, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory stands in for resctrl: what is written where."""
    for path in ("gold", "gold/mon_groups/web"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "tasks").touch()
    monkeypatch.setattr(resctrl, "find_root", lambda: str(tmp_path))
    config = _linux(intelRdt={"closID": "gold", "enableMonitoring": True})
    container = bundles.create(runtime, bundle, config).container
    tasks = [tmp_path / "gold/tasks", tmp_path / "gold/mon_groups/web/tasks"]
    assert [int(path.read_text()) for path in tasks] == [container.pid] * 2
    container.start()
    spawned = container.exec(parse.parse_process('{"args": ["/bin/true"], "cwd": "/"}'), Stdio())
    assert [int(path.read_text()) for path in tasks] == [spawned.pid] * 2
    assert runtime.wait(spawned, 10).exit_code() == 0
    (tmp_path / "gold/mon_groups/web/tasks").unlink()
    container.delete(force=True)
    assert not (tmp_path / "gold/mon_groups/web").exists()
    config["linux"]["intelRdt"]["closID"] = "silver"
    with pytest.raises(errors.HostError, match="there is no class of service silver"):
        bundles.create(runtime, bundle, config)
    assert runtime.list() == []


def test_mount_label_needs_selinux(runtime: Runtime, bundle: Path) -> None:
    if "selinux" in runtime.facts.lsms:
        pytest.skip("this host has it")
    with pytest.raises(errors.HostError, match="selinux is not enabled on this host"):
        bundles.create(runtime, bundle, _linux(mountLabel="system_u:object_r:t:s0"))


# ---- mounts ---------------------------------------------------------------------------------------------------------

PROPAGATIONS = {
    "private": [], "rprivate": [], "slave": [], "rslave": [], "shared": ["shared"], "rshared": ["shared"],
    "unbindable": ["unbindable"], "runbindable": ["unbindable"],
}  # fmt: skip


@pytest.mark.parametrize("name", PROPAGATIONS)
def test_rootfs_propagation(runtime: Runtime, bundle: Path, name: str) -> None:
    """As the kernel shows it in the optional fields of mountinfo; a slave of nobody is private."""
    _, text = bundles.run_to_end(runtime, bundle, _linux("cat", "/proc/self/mountinfo", rootfsPropagation=name))
    root = next(line for line in text.splitlines() if line.split()[4] == "/")
    optional = root.split(" - ")[0].split()[6:]
    assert [field.partition(":")[0] for field in optional if not field.startswith("master")] == PROPAGATIONS[name]


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_idmap_of_the_containers_own_mapping(runtime: Runtime, bundle: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "data").mkdir()
    config = bundles.with_user_namespace(bundles.make_config("stat", "-c", "%u:%g", "/data"))
    mount = {"destination": "/data", "type": "bind", "source": str(tmp_path / "data"), "options": ["rbind", option]}
    config["mounts"].append(mount)
    assert bundles.run_to_end(runtime, bundle, config, idmap_root=True) == (0, "0:0\n")


FLAGS = {
    "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime", "nodiratime": "nodiratime",
    "relatime": "relatime", "ro": "ro", "rro": "ro", "rnosuid": "nosuid", "rnodev": "nodev", "rnoexec": "noexec",
    "rnoatime": "noatime", "rnosymfollow": "nosymfollow", "nosymfollow": "nosymfollow",
}  # fmt: skip


def test_options_of_a_bind_mount(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    config = bundles.make_config("cat", "/proc/self/mountinfo")
    for option in FLAGS:
        (tmp_path / option).mkdir()
        row = {"destination": f"/{option}", "type": "none", "source": str(tmp_path / option)}
        config["mounts"].append({**row, "options": ["rbind", option]})
    _, text = bundles.run_to_end(runtime, bundle, config)
    found = {entry.mount_point: set(entry.options) for entry in mounts.parse_mountinfo(text)}
    assert {option for option, shown in FLAGS.items() if shown not in found[f"/{option}"]} == set()


def test_options_of_a_filesystem(runtime: Runtime, bundle: Path) -> None:
    options = ["size=4096k", "mode=1750", "uid=7", "gid=8", "noexec", "sync", "lazytime", "strictatime"]
    config = bundles.make_config("sh", "-c", "stat -c '%a %u:%g' /own; cat /proc/self/mountinfo")
    config["mounts"].append({"destination": "/own", "type": "tmpfs", "source": "own", "options": options})
    _, text = bundles.run_to_end(runtime, bundle, config)
    first, rest = text.split("\n", 1)
    assert first == "1750 7:8"
    line = next(line for line in rest.splitlines() if line.split()[4] == "/own")
    assert {"noexec"} <= set(line.split()[5].split(","))
    assert {"size=4096k", "sync", "lazytime"} <= set(line.split(" - ")[1].split()[2].split(","))


# ---- seccomp --------------------------------------------------------------------------------------------------------


def test_a_notified_call_is_answered_by_the_agent(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """The whole way: the container calls mkdir, the agent sees number and arguments, and decides the result."""
    (bundle / "rootfs/bin/mkdir").symlink_to("busybox")
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule],
        "listenerPath": str(tmp_path / "agent"),
    }  # fmt: skip
    config = _linux("mkdir", "/made", seccomp=profile)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        read_fd, write_fd = os.pipe()
        created = bundles.create(runtime, bundle, config, stdio=Stdio(None, write_fd, write_fd))
        os.close(write_fd)
        with listener.accept()[0] as connection:
            _, [notify_fd], _, _ = socket.recv_fds(connection, 1 << 16, 1)
    created.container.start()
    notification = bytearray(80)
    fcntl.ioctl(notify_fd, _NOTIF_RECV, notification)
    id_, pid, _, number, _, _, _, mode = struct.unpack_from("<QIIiIQQQ", notification)
    assert (pid, number, mode & 0o7777) == (created.process.pid, 83, 0o777)
    answer = ctypes.create_string_buffer(struct.pack("<QqiI", id_, 0, -errno.EXDEV, 0), 24)
    fcntl.ioctl(notify_fd, _NOTIF_SEND, answer)
    os.close(notify_fd)
    with os.fdopen(read_fd) as output:
        assert output.read() == "mkdir: can't create directory '/made': Invalid cross-device link\n"


# ---- hooks and state ------------------------------------------------------------------------------------------------


def test_a_hook_has_its_own_arguments_and_environment(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    hook = {"path": "/bin/sh", "args": ["name", "-c", f'echo "$0 $1 $A ${{PATH:-none}}" > {log}', "zero", "one"]}
    config = bundles.make_config("true")
    config["hooks"] = {"createRuntime": [{**hook, "env": ["A=7", "PATH=/own"]}]}
    bundles.create(runtime, bundle, config)
    assert log.read_text() == "zero one 7 /own\n"


def test_state_has_what_the_specification_says(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["annotations"] = {"org.example.key": "value"}
    container = bundles.create(runtime, bundle, config).container
    state = json.loads(parse.format_spec(runtime.load("web").state()))
    assert state.pop("ociVersion").startswith("1.")
    assert {key: state[key] for key in ("id", "status", "pid", "bundle", "annotations")} == {
        "id": "web", "status": "created", "pid": container.pid, "bundle": str(bundle),
        "annotations": {"org.example.key": "value"},
    }  # fmt: skip
