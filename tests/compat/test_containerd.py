"""containerd drives pilot through its runc shim (`io.containerd.runc.v2`, BinaryName), by ctr."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import busybox, groups, leftovers
from tests.support.clients import PILOT, Client

pytestmark = pytest.mark.requires("root", "private", "busybox", "containerd", "ctr")

_CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{directory}/containerd.sock"
[ttrpc]
address = "{directory}/ttrpc.sock"
"""
_DEADLINE_S = 60


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
    (directory / "config.toml").write_text(_CONFIG.format(directory=directory))
    daemon = subprocess.Popen(
        ["containerd", "--config", directory / "config.toml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    log: list[str] = []
    for line in daemon.stderr:
        log.append(line)
        if "successfully booted" in line:
            break
    else:
        pytest.fail(f"containerd did not start:\n{''.join(log)}")
    reader = threading.Thread(target=log.extend, args=(daemon.stderr,), name="containerd-log")
    reader.start()
    yield Client(("ctr", "--address", str(directory / "containerd.sock")), dict(os.environ))
    daemon.terminate()
    daemon.wait(_DEADLINE_S)
    reader.join()
    daemon.stderr.close()


@pytest.fixture(autouse=True)
def nothing_left(ctr: Client) -> Iterator[None]:
    """Afterwards there are no containers, and no mount, cgroup or state of them."""
    before = leftovers.observe()
    yield
    for task in ctr.run("task", "ls", "--quiet").split():
        ctr.call("task", "kill", "--signal", "SIGKILL", task)
        _until(lambda task=task: "RUNNING" not in _row(ctr, task))  # type: ignore[misc]
        ctr.call("task", "delete", task)
    for container in ctr.run("container", "ls", "--quiet").split():
        ctr.run("container", "delete", container)
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
    return int(_row(ctr, "web")[1])


def _row(ctr: Client, name: str) -> list[str]:
    """Name, pid and status."""
    rows = (line.split() for line in ctr.run("task", "ls").splitlines())
    return next(row for row in rows if row[0] == name)


def _until(holds: Callable[[], bool]) -> None:
    """Ask again and again; each question is a process of its own, so this is no busy loop."""
    deadline = time.monotonic() + _DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline


def test_run(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm", "--cwd", "/tmp", "--env", "A=b"), "sh", "-c", "echo $A; pwd; exit 7")
    assert (result.code, result.out) == (7, "b\n/tmp\n")


def test_a_command_that_does_not_exist(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm"), "no-such-command")
    assert result.code == 1
    assert 'OCI runtime create failed: create web: exec: "no-such-command": executable file not found' in result.err
    assert ctr.run("container", "ls", "--quiet") == ""


def test_terminal(ctr: Client, rootfs: Path) -> None:
    command = [*ctr.words, *_words(rootfs, "--rm", "--tty"), "tty"]
    done = subprocess.run(
        ["script", "-qec", " ".join(command), "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0
    assert b"/dev/pts/0\r" in done.stdout


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
    assert _row(ctr, "web")[2] == "PAUSED"
    assert groups.is_frozen(pid)
    ctr.run("task", "resume", "web")
    assert _row(ctr, "web")[2] == "RUNNING"
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
    _until(lambda: _row(ctr, "web")[2] == "STOPPED")
    assert not Path(f"/proc/{pid}").exists()
    assert re.search("exit code 137", ctr.call("task", "delete", "web").err)
    assert ctr.run("task", "ls", "--quiet") == ""


def test_a_kill_of_the_shim_leaves_nothing(ctr: Client, rootfs: Path) -> None:
    """containerd then calls the runtime itself: delete --force, of a container that runs."""
    pid = _start(ctr, rootfs)
    shim = int(re.findall(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    assert b"containerd-shim-runc-v2" in Path(f"/proc/{shim}/cmdline").read_bytes()
    os.kill(shim, 9)
    _until(lambda: not Path(f"/proc/{pid}").exists() and ctr.run("task", "ls", "--quiet") == "")
