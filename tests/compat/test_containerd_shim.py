"""containerd drives a machine's containers through our own shim (`io.containerd.pilot.v2`), by ctr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support import agents, busybox, containerd, leftovers
from tests.support.clients import Client

from pilot.shim import group

pytestmark = pytest.mark.requires("root", "private", "busybox", "containerd", "ctr", "userns", "space")

RUNTIME = "io.containerd.pilot.v2"
FOR_EVER = ("sh", "-c", "while true; do sleep 0.05; done")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where containerd keeps all, and the root of the containers. Short, as it holds sockets."""
    return tmp_path_factory.mktemp("shim")


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
    """Afterwards there are no containers and no machine, and no mount, cgroup or process of them."""
    before = leftovers.observe()
    yield
    containerd.end_all(ctr)
    containerd.until(lambda: not os.path.exists(group.RUN))
    left = leftovers.left_since(before, kinds=frozenset({"mounts", "cgroups", "links"}))
    assert not set(left) & {"mounts", "cgroups", "links"}, left


def _words(rootfs: Path, *options: str, name: str = "web") -> tuple[str, ...]:
    return ("run", "--runtime", RUNTIME, "--env", "PATH=/bin", *options, "--rootfs", str(rootfs), name)


def _start(ctr: Client, rootfs: Path, *options: str, name: str = "web") -> None:
    """A task in the background."""
    ctr.run(*_words(rootfs, "--detach", "--null-io", *options, name=name), *FOR_EVER)


def test_run(ctr: Client, rootfs: Path, directory: Path) -> None:
    """With a directory of the host's beside its root."""
    shared = directory / "shared"
    shared.mkdir()
    (shared / "file").write_text("of the host\n")
    options = ("--cwd", "/tmp", "--env", "A=b", "--mount", f"type=bind,src={shared},dst=/shared,options=rbind:ro")
    words = "echo $A; pwd; hostname; echo $$; stat -c %u /bin/busybox; cat /shared/file; touch /shared/x || exit 7"
    result = ctr.call(*_words(rootfs, "--rm", *options), "sh", "-c", words)
    assert (result.code, result.out) == (7, "b\n/tmp\nweb\n1\n0\nof the host\n")
    assert result.err == "touch: /shared/x: Read-only file system\n"


def test_much_output_and_events(ctr: Client, rootfs: Path) -> None:
    """More than a pipe holds comes whole, and containerd is told what has happened."""
    told: list[str] = []
    with subprocess.Popen([*ctr.words, "events"], stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        result = ctr.call(*_words(rootfs, "--rm"), "seq", "1", "100000")
        for line in events.stdout:
            told += re.findall(r" (/tasks/\S+) ", line)
            if told[-1:] == ["/tasks/delete"]:
                break
        events.terminate()
    assert result.code == 0
    assert result.out == "".join(f"{number}\n" for number in range(1, 100001))
    assert told == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]


def test_a_command_that_does_not_exist(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm"), "no-such-command")
    assert result.code == 1
    assert 'exec: "no-such-command": executable file not found' in result.err
    assert ctr.run("container", "ls", "--quiet") == ""


def test_exec(ctr: Client, rootfs: Path) -> None:
    """Output and exit, a command that is not there, input, a terminal, a signal: one after the other in one machine."""
    _start(ctr, rootfs)
    result = ctr.call("task", "exec", "--exec-id", "one", "web", "sh", "-c", "readlink /proc/1/ns/pid; pwd; exit 5")
    again = ctr.call("task", "exec", "--exec-id", "two", "web", "readlink", "/proc/self/ns/pid")
    assert (result.code, result.out.splitlines()) == (5, [again.out.strip(), "/"])
    failed = ctr.call("task", "exec", "--exec-id", "three", "web", "no-such-command")
    assert failed.code == 1
    assert "no-such-command" in failed.err
    _check_input(ctr)
    _check_terminal(ctr)
    _check_signal(ctr)


def _check_input(ctr: Client) -> None:
    """ctr says that it has ended only of what ends after the start."""
    command = [*ctr.words, "task", "exec", "--exec-id", "four", "web", "sh", "-c", "echo ready; cat; echo end"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"of the client\n")
        process.stdin.close()
        assert process.stdout.read() == b"of the client\nend\n"
    assert process.returncode == 0


def _check_terminal(ctr: Client) -> None:
    words = ("task", "exec", "--tty", "--exec-id", "five", "web", "sh", "-c", "'tty; read line; exit 3'")
    assert containerd.on_a_terminal(" ".join([*ctr.words, *words]), b"/dev/pts/0\r") == 3


def _check_signal(ctr: Client) -> None:
    command = [*ctr.words, "task", "exec", "--exec-id", "six", "web", "sh", "-c", "echo here; exec sleep 1000"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        ctr.run("task", "kill", "--signal", "SIGTERM", "--exec-id", "six", "web")
        assert process.wait(containerd.DEADLINE_S) == 128 + 15


def _on_a_terminal(words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["script", "-qec", " ".join(words), "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=containerd.DEADLINE_S,
        check=False,
    )


def test_limits_pause_and_the_end(ctr: Client, rootfs: Path) -> None:
    _start(ctr, rootfs, "--memory-limit", str(32 << 20), "--cpus", "0.5")
    ctr.run("task", "pause", "web")
    assert containerd.row(ctr, "web")[2] == "PAUSED"
    ctr.run("task", "resume", "web")
    assert containerd.row(ctr, "web")[2] == "RUNNING"
    assert len(ctr.run("task", "ps", "web").splitlines()) >= 2
    metrics = json.loads(ctr.run("task", "metrics", "--format", "json", "web"))
    assert metrics["memory"]["usage_limit"] == 32 << 20
    assert metrics["pids"]["current"] >= 1
    assert ctr.call("task", "delete", "web").code == 1, "a running task is not deleted"
    ctr.run("task", "kill", "--signal", "SIGKILL", "web")
    containerd.until(lambda: containerd.row(ctr, "web")[2] == "STOPPED")
    assert "not found" in ctr.call("task", "kill", "web").err
    assert re.search("exit code 137", ctr.call("task", "delete", "web").err)
    assert ctr.run("task", "ls", "--quiet") == ""


def test_a_death_of_the_agent_is_not_noticed(ctr: Client, rootfs: Path) -> None:
    """No line is lost or repeated, of a container and of an exec, and exit codes are what they were."""
    count = "n=0; while [ $n -lt 150 ]; do echo $n; n=$((n+1)); sleep 0.01; done; exit 4"
    _start(ctr, rootfs)
    first = [*ctr.words, *_words(rootfs, "--rm", name="one"), "sh", "-c", count]
    second = [*ctr.words, "task", "exec", "--exec-id", "two", "web", "sh", "-c", count]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(first, **streams) as one, subprocess.Popen(second, **streams) as two:  # type: ignore[call-overload]
        lines = [[process.stdout.readline() for _ in range(10)] for process in (one, two)]
        assert agents.kill_agent()
        rest = [process.stdout.read() for process in (one, two)]
    wanted = [b"%d\n" % number for number in range(150)]
    assert [begun + ended.splitlines(keepends=True) for begun, ended in zip(lines, rest, strict=True)] == [wanted] * 2
    assert (one.returncode, two.returncode) == (4, 4)


def test_containers_of_a_group_share_a_machine(ctr: Client, rootfs: Path) -> None:
    shared = ("--annotation", "io.containerd.runc.v2.group=pod")
    _start(ctr, rootfs, *shared, name="a")
    _start(ctr, rootfs, *shared, name="b")
    assert len(os.listdir(group.RUN)) == 1
    networks = {ctr.run("task", "exec", "--exec-id", "x", name, "readlink", "/proc/self/ns/net") for name in "ab"}
    assert len(networks) == 1
    ctr.run("task", "kill", "--signal", "SIGKILL", "a")
    containerd.until(lambda: containerd.row(ctr, "a")[2] == "STOPPED")
    ctr.call("task", "delete", "a")
    assert containerd.row(ctr, "b")[2] == "RUNNING"


def test_what_is_refused(ctr: Client, rootfs: Path) -> None:
    result = ctr.call(*_words(rootfs, "--rm", "--with-ns", "network:/proc/1/ns/net"), "true")
    assert result.code == 1
    assert re.search(r"\$\.linux\.namespaces\[\d\]\.path", result.err)
    done = _on_a_terminal([*ctr.words, *_words(rootfs, "--rm", "--tty"), "true"])
    assert done.returncode == 1
    assert b"a container's first process has no terminal" in done.stdout


@pytest.mark.parametrize("machine", ["that-answers", "that-does-not"])
def test_a_kill_of_the_shim_leaves_nothing(ctr: Client, rootfs: Path, machine: str) -> None:
    """containerd then calls the shim's `delete`, of a container that runs, also in a machine that answers nothing."""
    _start(ctr, rootfs, name=machine)  # containerd keeps the name for a moment after `delete`
    if machine == "that-does-not":
        assert agents.kill_agent(number=signal.SIGSTOP)
    shim = int(containerd.row(ctr, machine)[1])
    assert b"pilot.shim" in Path(f"/proc/{shim}/cmdline").read_bytes()
    os.kill(shim, 9)
    containerd.until(lambda: ctr.run("task", "ls", "--quiet") == "")


def test_a_restart_of_containerd(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> None:
    """What runs goes on, and is the next one's to end."""
    own = tmp_path_factory.mktemp("own")
    with containerd.running(own) as first:
        _start(first, rootfs)
        shim = containerd.row(first, "web")[1]
    with containerd.running(own) as second:
        assert containerd.row(second, "web") == ["web", shim, "RUNNING"]
        result = second.call("task", "exec", "--exec-id", "one", "web", "sh", "-c", "echo here; exit 3")
        assert (result.code, result.out) == (3, "here\n")
        containerd.end_all(second)
