"""What a container sees: namespaces, mounts, devices, masked paths, capabilities, limits, hooks."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import mounts
from pilot.runtime import Runtime, Stdio
from pilot.spec import parse

pytestmark = pytest.mark.requires("root", "private", "busybox")


def _shell(script: str, **process: object) -> Config:
    return bundles.make_config("sh", "-c", script, **process)


def _mounts_of(text: str) -> dict[str, mounts.MountEntry]:
    return {entry.mount_point: entry for entry in mounts.parse_mountinfo(text)}


def test_default_namespaces_are_its_own(runtime: Runtime, bundle: Path) -> None:
    created = bundles.create(runtime, bundle, bundles.make_config())
    for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        assert os.readlink(f"/proc/{created.process.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
    assert os.readlink(f"/proc/{created.process.pid}/ns/user") == os.readlink("/proc/self/ns/user")


def test_default_mounts(runtime: Runtime, bundle: Path) -> None:
    _, text = bundles.run_to_end(runtime, bundle, _shell("cat /proc/self/mountinfo"))
    found = _mounts_of(text)
    assert {found[path].fstype for path in ("/proc", "/dev", "/dev/pts", "/sys")} == {
        "proc",
        "tmpfs",
        "devpts",
        "sysfs",
    }
    assert "ro" in found["/sys"].options
    assert "ro" in found["/proc/sys"].options
    assert {"nosuid", "noexec", "nodev"} <= set(found["/dev/shm"].options)
    assert found["/"].peer_group is None


def test_devices_and_links(runtime: Runtime, bundle: Path) -> None:
    script = (
        "stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/tty; readlink /dev/fd; readlink /dev/ptmx; echo x > /dev/null"
    )
    (bundle / "rootfs/bin/readlink").symlink_to("busybox")
    code, text = bundles.run_to_end(runtime, bundle, _shell(script))
    assert (code, text) == (
        0, "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/tty 5:0 666\n/proc/self/fd\npts/ptmx\n"
    )  # fmt: skip


def test_a_device_of_the_spec(runtime: Runtime, bundle: Path) -> None:
    config = _shell("stat -c '%F %t:%T %a %u:%g' /dev/own /dev/pipe")
    config["linux"]["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/pipe", "type": "p"},
    ]
    _, text = bundles.run_to_end(runtime, bundle, config)
    assert text == "character special file a:e5 640 3:4\nfifo 0:0 666 0:0\n"


def test_masked_and_readonly_paths(runtime: Runtime, bundle: Path) -> None:
    script = "cat /proc/keys | stat -L -c %t:%T /proc/keys; ls /sys/firmware; echo 1 > /proc/sys/vm/swappiness"
    code, text = bundles.run_to_end(runtime, bundle, _shell(script))
    assert code == 1
    assert text == "1:3\nsh: can't create /proc/sys/vm/swappiness: Read-only file system\n"


def test_readonly_root(runtime: Runtime, bundle: Path) -> None:
    config = _shell("touch /x")
    config["root"]["readonly"] = True
    assert bundles.run_to_end(runtime, bundle, config) == (1, "touch: /x: Read-only file system\n")


def test_capabilities_are_exactly_those(runtime: Runtime, bundle: Path) -> None:
    config = _shell("grep ^Cap /proc/self/status", user={"uid": 7, "gid": 8})
    (bundle / "rootfs/bin/grep").symlink_to("busybox")
    names = ["CAP_CHOWN", "CAP_KILL"]
    config["process"]["capabilities"] = {
        "bounding": names, "permitted": names, "effective": ["CAP_KILL"], "inheritable": names, "ambient": ["CAP_KILL"],
    }  # fmt: skip
    _, text = bundles.run_to_end(runtime, bundle, config)
    # After execve as a user who is not root, permitted is what was ambient (capabilities(7)).
    assert dict(line.split() for line in text.splitlines()) == {
        "CapInh:": f"{0x21:016x}", "CapPrm:": f"{0x20:016x}", "CapEff:": f"{0x20:016x}", "CapBnd:": f"{0x21:016x}",
        "CapAmb:": f"{0x20:016x}",
    }  # fmt: skip


def test_limits_umask_groups_and_oom_score(runtime: Runtime, bundle: Path) -> None:
    script = "ulimit -n; ulimit -Hn; umask; id -G; cat /proc/self/oom_score_adj"
    user = {"uid": 7, "gid": 8, "umask": 0o77, "additionalGids": [9, 10]}
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    config = _shell(script, user=user, rlimits=limits, oomScoreAdj=500)
    assert bundles.run_to_end(runtime, bundle, config) == (0, "100\n200\n0077\n8 9 10\n500\n")


def test_hostname_domainname_and_sysctl(runtime: Runtime, bundle: Path) -> None:
    config = _shell("cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward")
    config["domainname"] = "example"
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert bundles.run_to_end(runtime, bundle, config) == (0, "pilot\nexample\n1\n")


def test_loopback_is_up(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/bin/ip").symlink_to("busybox")
    _, text = bundles.run_to_end(runtime, bundle, _shell("ip -o link show lo"))
    assert "LOOPBACK,UP" in text


@pytest.mark.requires("veth")
def test_a_network_device_moves_in(runtime: Runtime, bundle: Path) -> None:
    """With its global addresses, under its new name, and up."""
    (bundle / "rootfs/bin/ip").symlink_to("busybox")
    commands = ("link add own type veth peer name other", "addr add 192.0.2.7/24 dev own", "link set own up",
                "addr add 2001:db8::7/64 dev own nodad", "link set other up")  # fmt: skip
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    config = _shell("ip -o addr show dev eth0; ip -o link show eth0")
    config["linux"]["netDevices"] = {"own": {"name": "eth0"}}
    _, text = bundles.run_to_end(runtime, bundle, config)
    assert "192.0.2.7/24" in text
    assert "2001:db8::7/64" in text
    assert "BROADCAST,MULTICAST,UP" in text


@pytest.mark.requires("veth")
def test_a_network_device_without_addresses_moves_in(runtime: Runtime, bundle: Path) -> None:
    """Down, and as it was made."""
    (bundle / "rootfs/bin/ip").symlink_to("busybox")
    subprocess.run(["ip", "link", "add", "bare", "type", "veth", "peer", "name", "bare-peer"], check=True)
    config = _shell("ip -o link show eth0; ip -o addr show dev eth0")
    config["linux"]["netDevices"] = {"bare": {"name": "eth0"}}
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, "eth0" in text, "inet " in text) == (0, True, False)


def test_a_network_device_that_is_not_there(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["linux"]["netDevices"] = {"nonesuch": {}}
    with pytest.raises(errors.HostError, match="move network device nonesuch as nonesuch: no such device"):
        bundles.create(runtime, bundle, config)


def test_limits_of_the_cgroup(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["linux"]["resources"].update({"memory": {"limit": 64 << 20}, "pids": {"limit": 11}})
    container = bundles.create(runtime, bundle, config).container
    limits = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max")}
    found = {}
    for controller, names in limits.items():
        directory = container.cgroup.directory(controller)
        assert directory is not None
        path = next(Path(directory, name) for name in names if Path(directory, name).exists())
        found[controller] = path.read_text().strip()
    assert found == {"memory": str(64 << 20), "pids": "11"}


# ---- mounts -----------------------------------------------------------------------------------------------------


def test_bind_mounts_with_their_options(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("from outside\n")
    config = _shell("cat /mnt/deep/file /etc/one; touch /mnt/deep/new; cat /proc/self/mountinfo")
    config["mounts"] += [
        {"destination": "/mnt/deep", "source": str(shared), "type": "bind", "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/etc/one", "source": str(shared / "file"), "type": "bind", "options": ["bind", "noexec"]},
    ]
    _, text = bundles.run_to_end(runtime, bundle, config)
    assert text.startswith("from outside\nfrom outside\ntouch: /mnt/deep/new: Read-only file system\n")
    found = _mounts_of(text.partition("file system\n")[2])
    assert {"ro", "nosuid"} <= set(found["/mnt/deep"].options)
    assert {"rw", "noexec"} <= set(found["/etc/one"].options)


def test_a_link_in_the_rootfs_leads_nowhere_outside(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle / "rootfs" / "trap").symlink_to(outside)
    config = _shell("touch /trap/inside/x; ls -d /tmp/pytest*")
    config["mounts"].append({"destination": "/trap/inside", "type": "tmpfs", "source": "tmpfs"})
    assert bundles.run_to_end(runtime, bundle, config)[0] == 0
    assert list(outside.iterdir()) == []
    # What the link names is made inside.
    assert [path.name for path in (bundle / "rootfs" / str(outside).lstrip("/")).iterdir()] == ["inside"]


def test_tmpfs_copies_what_it_covers(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/data").mkdir(mode=0o1750)
    os.chmod(bundle / "rootfs/data", 0o1750)
    (bundle / "rootfs/data/seed").write_text("seed\n")
    config = _shell("stat -c %a /data; cat /data/seed; echo new > /data/new")
    config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
    assert bundles.run_to_end(runtime, bundle, config) == (0, "1750\nseed\n")
    assert sorted(path.name for path in (bundle / "rootfs/data").iterdir()) == ["seed"]


def test_recursive_readonly(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    mounts.mount("tmpfs", tree / "below", "tmpfs")
    try:
        config = _shell("touch /tree/x; touch /tree/below/x; true")
        options = ["rbind", "rro"]
        config["mounts"].append({"destination": "/tree", "type": "bind", "source": str(tree), "options": options})
        _, text = bundles.run_to_end(runtime, bundle, config)
    finally:
        mounts.umount(tree / "below")
    assert text.count("Read-only file system") == 2


def test_propagation_from_outside(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """rslave sees what is mounted outside later, private does not."""
    shared = tmp_path / "shared"
    shared.mkdir()
    mounts.mount("tmpfs", shared, "tmpfs")
    mounts.mount(None, shared, None, mounts.Flag.SHARED)
    (shared / "in").mkdir()
    config = bundles.make_config()
    for name, kind in (("slave", "rslave"), ("private", "rprivate")):
        config["mounts"].append(
            {"destination": f"/{name}", "type": "bind", "source": str(shared), "options": ["rbind", kind]}
        )
    created = bundles.create(runtime, bundle, config)
    try:
        mounts.mount("tmpfs", shared / "in", "tmpfs")
        inside = {entry.mount_point for entry in mounts.read_mountinfo(created.process.pid)}
        mounts.umount(shared / "in")
    finally:
        mounts.umount(shared, mounts.Unmount.DETACH)
    assert "/slave/in" in inside
    assert "/private/in" not in inside


@pytest.mark.parametrize("destination", ["/proc/self/attr", "/proc/net/dev"])
def test_nothing_is_mounted_over_proc(runtime: Runtime, bundle: Path, destination: str) -> None:
    """/proc/net leads to another directory for each process: what is mounted there nobody sees."""
    config = bundles.make_config()
    config["mounts"].append({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
    with pytest.raises(errors.SpecError, match="inside /proc"):
        bundles.create(runtime, bundle, config)


# ---- user namespaces --------------------------------------------------------------------------------------------


def test_user_namespace(runtime: Runtime, bundle: Path) -> None:
    config = bundles.with_user_namespace(_shell("cat /proc/self/uid_map; id -u; touch /tmp/x; echo y > /dev/null"))
    os.chmod(bundle / "rootfs/tmp", 0o1777)
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text.split()) == (0, ["0", "100000", "65536", "0"])
    assert (bundle / "rootfs/tmp/x").stat().st_uid == 100000


def test_limits_of_a_user_namespace_are_sysctls(runtime: Runtime, bundle: Path) -> None:
    """Those of its own, and not the host's."""
    name = "user/max_uts_namespaces"
    before = Path("/proc/sys", name).read_text()
    config = bundles.with_user_namespace(_shell(f"cat /proc/sys/{name}"))
    config["linux"]["sysctl"] = {"user.max_uts_namespaces": "17"}
    assert bundles.run_to_end(runtime, bundle, config) == (0, "17\n")
    assert Path("/proc/sys", name).read_text() == before


def test_sysctls_of_a_network_that_is_our_own_are_refused(runtime: Runtime, bundle: Path) -> None:
    """By whatever path it is called."""
    config = _shell("true")
    namespaces = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
    config["linux"]["namespaces"] = [*namespaces, {"type": "network", "path": f"/proc/{os.getpid()}/ns/net"}]
    config["linux"]["sysctl"] = {"net/ipv4/ip_forward": "1"}
    with pytest.raises(errors.SpecError, match="not allowed in host network namespace"):
        bundles.create(runtime, bundle, config)
    assert runtime.list() == []


def test_limits_in_a_user_namespace(runtime: Runtime, bundle: Path) -> None:
    """Of create and of exec: the parent sets them."""
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    config = bundles.with_user_namespace(bundles.make_config(rlimits=limits))
    created = bundles.create(runtime, bundle, config)
    created.container.start()
    text = json.dumps({"args": ["/bin/sleep", "1000"], "cwd": "/", "rlimits": [{**limits[0], "soft": 50}]})
    spawned = created.container.exec(parse.parse_process(text), Stdio())
    found = [resource.prlimit(process.pid, resource.RLIMIT_NOFILE) for process in (created.process, spawned)]
    created.container.kill(signal.SIGKILL)
    for process in (spawned, created.process):
        runtime.wait(process, 10)
    assert found == [(100, 200), (50, 200)]


def test_idmapped_rootfs(runtime: Runtime, bundle: Path) -> None:
    """The rootfs belongs to root on disk, and to container root inside: one directory for all ranges of ids."""
    config = bundles.with_user_namespace(_shell("stat -c %u:%g /bin/busybox; touch /made"))
    code, text = bundles.run_to_end(runtime, bundle, config, idmap_root=True)
    assert (code, text) == (0, "0:0\n")
    assert (bundle / "rootfs/made").stat().st_uid == 0


def test_idmapped_bind_mount(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    config = bundles.with_user_namespace(_shell("touch /data/x; stat -c %u /data/x"))
    config["mounts"].append({"destination": "/data", "type": "bind", "source": str(data), "options": ["bind", "idmap"]})
    assert bundles.run_to_end(runtime, bundle, config, idmap_root=True) == (0, "0\n")
    assert (data / "x").stat().st_uid == 0


def test_sys_is_bound_where_the_network_is_shared(runtime: Runtime, bundle: Path) -> None:
    config = bundles.with_user_namespace(_shell("ls /sys/class/net"))
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text.split()) == (0, sorted(os.listdir("/sys/class/net")))


def test_terminal_by_console_socket(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    config = _shell("tty; stty size; ls -l /dev/console", terminal=True, consoleSize={"height": 5, "width": 70})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        created = bundles.create(runtime, bundle, config, console_socket=str(tmp_path / "console"))
        with listener.accept()[0] as connection:
            name, [master_fd], _, _ = socket.recv_fds(connection, 100, 1)
    assert name == b"/dev/ptmx"
    created.container.start()
    assert runtime.wait(created.process, 10).exit_code() == 0
    lines = bundles.read_terminal(master_fd).split(b"\r\n")
    os.close(master_fd)
    assert lines[:2] == [b"/dev/pts/0", b"5 70"]
    assert lines[2].startswith(b"crw")


# ---- hooks ------------------------------------------------------------------------------------------------------


def test_hooks_run_in_order_with_the_state(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    os.chmod(log, 0o666)
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $(cat)" >> {log}\n')
    hook.chmod(0o755)
    (bundle / "rootfs/hook").write_text('#!/bin/sh\necho "$1 $(cat)" >> /log\n')
    (bundle / "rootfs/hook").chmod(0o755)
    (bundle / "rootfs/log").touch()
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    config = _shell("true")
    config["mounts"].append({"destination": "/log", "type": "bind", "source": str(log), "options": ["bind"]})
    config["annotations"] = {"key": "value"}
    config["hooks"] = {
        kind: [{"path": "/hook" if kind == "startContainer" else str(hook), "args": ["hook", kind]}] for kind in kinds
    }
    bundles.run_to_end(runtime, bundle, config)
    rows = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [row[0] for row in rows] == list(kinds)
    states = {kind: json.loads(text) for kind, text in rows}
    assert [states[kind]["status"] for kind in kinds] == [
        "creating", "creating", "creating", "created", "running", "stopped",
    ]  # fmt: skip
    assert {state["id"] for state in states.values()} == {"web"}
    assert {state["bundle"] for state in states.values()} == {str(bundle)}
    assert states["createContainer"]["pid"] == 1
    assert states["createRuntime"]["annotations"] == {"key": "value"}


def test_poststop_follows_a_create_that_failed(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    config = bundles.make_config()
    config["hooks"] = {
        "createRuntime": [{"path": "/bin/false"}],
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp_path}/state"]}],
    }
    with pytest.raises(errors.HostError, match="createRuntime hook #0: exit status 1"):
        bundles.create(runtime, bundle, config)
    assert json.loads((tmp_path / "state").read_text())["status"] == "stopped"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_which_hook_failed_is_told(runtime: Runtime, bundle: Path, kind: str) -> None:
    """Those that run inside are told as those that run outside, in the words of later runcs."""
    config = bundles.make_config()
    config["hooks"] = {kind: [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "exit 7"]}]}
    with pytest.raises(errors.PilotError, match=rf"error running {kind} hook #1: .*exit status 7"):
        bundles.create(runtime, bundle, config)


def test_a_hook_that_takes_too_long(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}
    with pytest.raises(errors.HostError, match="hook ran past specified timeout"):
        bundles.create(runtime, bundle, config)


# ---- namespaces that are there already --------------------------------------------------------------------------


def test_joined_namespaces(runtime: Runtime, bundle: Path) -> None:
    """As in a pod: the second container is in the first one's pid, network, ipc and uts namespaces."""
    first = bundles.create(runtime, bundle, bundles.make_config(), "first")
    config = bundles.make_config()
    for namespace in config["linux"]["namespaces"]:
        names = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
        if namespace["type"] in names:
            namespace["path"] = f"/proc/{first.process.pid}/ns/{names[namespace['type']]}"
    second = bundles.create(runtime, bundle, config, "second")
    for name in ("pid", "net", "ipc", "uts"):
        links = [os.readlink(f"/proc/{created.process.pid}/ns/{name}") for created in (first, second)]
        assert links[0] == links[1]
    assert os.readlink(f"/proc/{first.process.pid}/ns/mnt") != os.readlink(f"/proc/{second.process.pid}/ns/mnt")
    second.container.delete(force=True)
    runtime.wait(second.process, 10)


def test_time_namespace_with_offsets(runtime: Runtime, bundle: Path) -> None:
    config = _shell("cat /proc/uptime /proc/self/timens_offsets")
    config["linux"]["namespaces"].append({"type": "time"})
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert code == 0
    assert float(text.split()[0]) > 1000000


def test_without_any_namespace_but_mount(runtime: Runtime, bundle: Path) -> None:
    config = _shell("echo $$")
    config["hostname"] = ""
    config["linux"]["namespaces"] = [{"type": "mount"}]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] in {"proc", "tmpfs", "devpts"}]
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert code == 0
    assert int(text) > 1


def test_exec_fifo_is_a_fifo(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    bundles.create(runtime, bundle, bundles.make_config())
    assert stat.S_ISFIFO((tmp_path / "root/web/exec.fifo").stat().st_mode)
