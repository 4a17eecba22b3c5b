"""containerd drives pilot through its runc shim (`io.containerd.runc.v2`, BinaryName), by ctr."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import busybox, containerd, groups, leftovers
from tests.support.clients import PILOT, Client

pytestmark = pytest.mark.requires("root", "private", "busybox", "containerd", "ctr")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where containerd keeps all, and the root of the containers. Short, as it holds sockets."""
    return tmp_path_factory.mktemp("ctr")


@pytest.fixture(scope="module")
def rootfs(directory: Path) -> Path:
    return busybox.make_rootfs(directory)


@pytest.fixture(scope="module")
def ctr(directory: Path) -> Iterator[Client]:
    """ctr of a containerd of our own."""
    with containerd.running(directory) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left(ctr: Client) -> Iterator[None]:
    """Afterwards there are no containers, and no mount, cgroup or state of them."""
    before = leftovers.observe()
    yield
    containerd.end_all(ctr)
    assert ctr.run("container", "ls", "--quiet") == ""
    new = leftovers.observe().new_since(before)
    assert not set(new) & {"mounts", "links"}, new
    assert not [name for name in new.get("cgroups", []) if name.endswith("/web")]
    assert leftovers.containers("/run/containerd/runc/default") == []


def _words(rootfs: Path, *options: str) -> tuple[str, ...]:
    return ("run", "--runc-binary", str(PILOT), "--env", "PATH=/bin", *options, "--rootfs", str(rootfs), "web")


def _start(ctr: Client, rootfs: Path, *options: str) -> int:
    """A task in the background; its pid."""
    ctr.run(*_words(rootfs, "--detach", "--null-io", *options), "sh", "-c", "while true; do sleep 0.05; done")
    return int(containerd.row(ctr, "web")[1])


def test_run(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm", "--cwd", "/tmp", "--env", "A=b"), "sh", "-c", "echo $A; pwd; exit 7")
    assert (result.code, result.out) == (7, "b\n/tmp\n")


def test_a_command_that_does_not_exist(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm"), "no-such-command")
    assert result.code == 1
    assert 'OCI runtime create failed: create web: exec: "no-such-command": executable file not found' in result.err
    assert ctr.run("container", "ls", "--quiet") == ""


def test_terminal(ctr: Client, rootfs: Path) -> None:
    command = " ".join([*ctr.words, *_words(rootfs, "--rm", "--tty"), "sh", "-c", "'tty; read line; exit 3'"])
    assert containerd.on_a_terminal(command, b"/dev/pts/0\r") == 3


def test_exec(ctr: Client, rootfs: Path) -> None:
    pid = _start(ctr, rootfs)
    result = ctr.call("task", "exec", "--exec-id", "one", "web", "sh", "-c", "readlink /proc/self/ns/pid; exit 5")
    assert (result.code, result.out.strip()) == (5, os.readlink(f"/proc/{pid}/ns/pid"))
    failed = ctr.call("task", "exec", "--exec-id", "two", "web", "no-such-command")
    assert failed.code == 1
    assert "executable file not found" in failed.err


def test_processes(ctr: Client, rootfs: Path) -> None:
    pid = _start(ctr, rootfs)
    pids = [line.split()[0] for line in ctr.run("task", "ps", "web").splitlines()[1:]]
    assert str(pid) in pids


def test_pause_and_resume(ctr: Client, rootfs: Path) -> None:
    pid = _start(ctr, rootfs)
    ctr.run("task", "pause", "web")
    assert containerd.row(ctr, "web")[2] == "PAUSED"
    assert groups.is_frozen(pid)
    ctr.run("task", "resume", "web")
    assert containerd.row(ctr, "web")[2] == "RUNNING"
    assert not groups.is_frozen(pid)


@pytest.mark.requires("cgroup1")
def test_limits_and_metrics(ctr: Client, rootfs: Path) -> None:
    pid = _start(ctr, rootfs, "--memory-limit", str(32 << 20), "--cpus", "0.5")
    assert groups.read(pid, "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert groups.read(pid, "cpu", "cpu.cfs_quota_us") == "50000"
    metrics = json.loads(ctr.run("task", "metrics", "--format", "json", "web"))
    assert metrics["memory"]["usage"]["limit"] == 32 << 20
    assert metrics["pids"]["current"] >= 1


def test_kill_and_delete(ctr: Client, rootfs: Path) -> None:
    pid = _start(ctr, rootfs)
    assert ctr.call("task", "delete", "web").code == 1, "a running task is not deleted"
    ctr.run("task", "kill", "--signal", "SIGKILL", "web")
    containerd.until(lambda: containerd.row(ctr, "web")[2] == "STOPPED")
    assert not Path(f"/proc/{pid}").exists()
    assert re.search("exit code 137", ctr.call("task", "delete", "web").err)
    assert ctr.run("task", "ls", "--quiet") == ""


def test_a_kill_of_the_shim_leaves_nothing(ctr: Client, rootfs: Path) -> None:
    """containerd then calls the runtime itself: delete --force, of a container that runs."""
    pid = _start(ctr, rootfs)
    shim = int(re.findall(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    assert b"containerd-shim-runc-v2" in Path(f"/proc/{shim}/cmdline").read_bytes()
    os.kill(shim, 9)
    containerd.until(lambda: not Path(f"/proc/{pid}").exists() and ctr.run("task", "ls", "--quiet") == "")
