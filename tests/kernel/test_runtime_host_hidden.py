"""What a container finds of the host: nothing in its created process, under its /dev, or beneath its root.

A created process waits to be started while others may look into it already: a process that is executed in the
container, a startContainer hook, a container that joins its pid namespace. Each of them has CAP_SYS_PTRACE here.
"""

from __future__ import annotations

import json
import os
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

# What a created process holds: its standard descriptors, the FIFO of its start, the state that hooks are told.
_HARMLESS = ("/dev/null", "pipe:", "/memfd:state", "anon_inode:")
# Each descriptor of the process with this number, where it leads, and whether one can go on from there.
_WALK = (
    "p={pid}; for f in /proc/$p/fd/*; do echo $f $(readlink $f) $(test -d $f/. && echo leads out); done; "
    "echo root $(readlink /proc/$p/root) cwd $(readlink /proc/$p/cwd)"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    for name in ("readlink", "unshare", "mknod"):
        (made / "rootfs/bin" / name).symlink_to("busybox")
    return made


def _traced(config: Config) -> Config:
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    return config


def _hooked(pid: int = 1) -> Config:
    """With every part that opens something: a user's terminal aside, hooks, mounts, devices, masks and sysctls."""
    config = _traced(bundles.make_config())
    config["hooks"] = {
        "createRuntime": [{"path": "/bin/true"}],
        "createContainer": [{"path": "/bin/true"}],
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"{{ {_WALK.format(pid=pid)}; }} > /seen"]}],
    }
    config["mounts"].append({"destination": "/host", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    return config


def _check_walk(text: str) -> None:
    *lines, places = text.splitlines()
    assert lines
    assert places == "root / cwd /"
    for line in lines:
        assert "leads out" not in line
        target = line.split()[1]
        assert target.startswith(_HARMLESS) or target.endswith("/exec.fifo")


def test_a_process_executed_in_a_created_container(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    container = bundles.create(runtime, bundle, _hooked()).container
    process = json.loads(json.dumps({**_traced(bundles.make_config())["process"]}))
    process["args"] = ["sh", "-c", _WALK.format(pid=1)]
    with open(tmp_path / "out", "w+b") as output:
        spawned = container.exec(parse.parse_process(json.dumps(process)), Stdio(None, output.fileno(), None))
        assert runtime.wait(spawned, 60).exit_code() == 0
        output.seek(0)
        _check_walk(output.read().decode())


def test_a_start_container_hook(runtime: Runtime, bundle: Path) -> None:
    container = bundles.create(runtime, bundle, _hooked()).container
    container.start()
    _check_walk((bundle / "rootfs/seen").read_text())


def test_a_container_that_joins_its_pid_namespace(runtime: Runtime, bundle: Path) -> None:
    created = bundles.create(runtime, bundle, _hooked(), id="first")
    config = _traced(bundles.make_config("sh", "-c", _WALK.format(pid=1)))
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == "pid":
            namespace["path"] = f"/proc/{created.process.pid}/ns/pid"
    code, text = bundles.run_to_end(runtime, bundle, config, id="second")
    assert code == 0
    _check_walk(text)


# ---- /dev -------------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign_dev(tmp_path: Path) -> Path:
    """A folder of the host that looks like a /dev, with a ptmx to lose."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "ptmx").write_text("the host's")
    os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return folder


def _check_foreign(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["null", "ptmx"]
    assert (folder / "ptmx").read_text() == "the host's"


def _without_dev(config: Config) -> Config:
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    return config


@pytest.mark.parametrize("user_namespace", [False, True])
def test_a_bind_over_a_tmpfs_on_dev_is_left_as_it_is(
    runtime: Runtime, bundle: Path, foreign_dev: Path, user_namespace: bool
) -> None:
    config = bundles.make_config("cat", "/dev/ptmx")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    bind = {"destination": "/dev/", "type": "bind", "source": str(foreign_dev), "options": ["bind"]}
    config["mounts"] = [*(m for m in config["mounts"] if not m["destination"].startswith("/dev/")), bind]
    assert bundles.run_to_end(runtime, bundle, config) == (0, "the host's")
    _check_foreign(foreign_dev)


def test_a_tmpfs_over_a_bind_on_dev_is_furnished(runtime: Runtime, bundle: Path, foreign_dev: Path) -> None:
    config = bundles.make_config("sh", "-c", "test -c /dev/zero && readlink /dev/ptmx")
    bind = {"destination": "/dev", "type": "bind", "source": str(foreign_dev), "options": ["bind"]}
    config["mounts"].insert(1, bind)
    assert bundles.run_to_end(runtime, bundle, config) == (0, "pts/ptmx\n")
    _check_foreign(foreign_dev)


def test_what_the_rootfs_brought_along_on_dev_is_left_as_it_is(
    runtime: Runtime, bundle: Path, foreign_dev: Path
) -> None:
    mounts.bind(foreign_dev, bundle / "rootfs/dev")
    config = _without_dev(bundles.make_config("cat", "/dev/ptmx"))
    try:
        assert bundles.run_to_end(runtime, bundle, config) == (0, "the host's")
    finally:
        mounts.umount(bundle / "rootfs/dev")
    _check_foreign(foreign_dev)


def test_a_dev_that_is_a_link_to_a_bind_is_refused(runtime: Runtime, bundle: Path, foreign_dev: Path) -> None:
    (bundle / "rootfs/dev").rmdir()
    (bundle / "rootfs/dev").symlink_to("/there")
    config = _without_dev(bundles.make_config("true"))
    config["mounts"].append({"destination": "/there", "type": "bind", "source": str(foreign_dev), "options": ["bind"]})
    with pytest.raises(errors.StepError, match="dev"):
        bundles.run_to_end(runtime, bundle, config)
    _check_foreign(foreign_dev)


def test_a_dev_that_is_a_link_to_nowhere_is_refused(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """As crun refuses it. runc makes and fills what the link names, inside the rootfs."""
    (bundle / "rootfs/dev").rmdir()
    (bundle / "rootfs/dev").symlink_to(tmp_path / "gone")
    with pytest.raises(errors.StepError, match="dev"):
        bundles.run_to_end(runtime, bundle, _without_dev(bundles.make_config("true")))
    assert not (tmp_path / "gone").exists()


def test_dev_of_the_rootfs_alone(runtime: Runtime, bundle: Path) -> None:
    config = _without_dev(bundles.make_config("sh", "-c", "test -c /dev/null && readlink /dev/ptmx"))
    assert bundles.run_to_end(runtime, bundle, config) == (0, "pts/ptmx\n")


# ---- what lies beneath the root ---------------------------------------------------------------------------------


def _nested_proc() -> Config:
    """A nested user namespace tries to mount a procfs without masks."""
    script = "unshare -U -r -m -p -f mount -t proc proc /tmp && echo mounted"
    return bundles.make_config("sh", "-c", script, noNewPrivileges=False)


@pytest.mark.parametrize("no_pivot", [False, True])
def test_a_nested_user_namespace_mounts_no_procfs_without_masks(runtime: Runtime, bundle: Path, no_pivot: bool) -> None:
    code, text = bundles.run_to_end(runtime, bundle, _nested_proc(), no_pivot=no_pivot)
    assert code != 0
    assert "mounted" not in text
    assert "Operation not permitted" in text or "permission denied" in text


def test_without_pivot_the_hosts_kernel_mounts_are_gone(runtime: Runtime, bundle: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    created = bundles.create(runtime, bundle, bundles.make_config(), no_pivot=True)
    seen = mounts.read_mountinfo(created.process.pid)
    kinds = [(entry.fstype, entry.mount_point) for entry in seen if entry.fstype in {"proc", "sysfs"}]
    assert {point for _, point in kinds if not point.startswith(("/proc/", "/sys/"))} == {"/proc", "/sys"}
    assert len([point for _, point in kinds if point in {"/proc", "/sys"}]) == 2
    assert Path("/proc/self/mountinfo").read_text() == before


# ---- a mount namespace that is joined ---------------------------------------------------------------------------


def test_the_rootfs_is_set_up_in_a_joined_mount_namespace(runtime: Runtime, bundle: Path) -> None:
    """Not the host's program runs, but that of root.path, with its mounts."""
    holder = subprocess.Popen(["unshare", "-m", "sleep", "1000"])
    try:
        _await_namespace(holder.pid)
        config = bundles.make_config("sh", "-c", "busybox | head -n 1 | cut -c 1-7; ls /; ls /data")
        for name in ("head", "cut"):
            (bundle / "rootfs/bin" / name).symlink_to("busybox")
        (bundle / "data").mkdir()
        (bundle / "data/file").touch()
        config["mounts"].append({"destination": "/data", "type": "bind", "source": "data", "options": ["bind"]})
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == "mount":
                namespace["path"] = f"/proc/{holder.pid}/ns/mnt"
        code, text = bundles.run_to_end(runtime, bundle, config)
        assert (code, text.split()) == (0, ["BusyBox", "bin", "data", "dev", "etc", "proc", "sys", "tmp", "file"])
    finally:
        holder.kill()
        holder.wait()


def _await_namespace(pid: int) -> None:
    own = os.readlink("/proc/self/ns/mnt")
    while os.readlink(f"/proc/{pid}/ns/mnt") == own:
        os.sched_yield()
