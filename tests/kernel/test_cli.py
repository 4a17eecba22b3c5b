"""The verbs as their callers use them: as processes, by what they print and how they end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import tempfile
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import bundles, front, store
from tests.support.bundles import Config

pytestmark = [pytest.mark.requires("root", "private", "busybox"), pytest.mark.usefixtures("by_front")]

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, bundle: Path) -> Iterator[Run]:
    """Run a verb in the bundle's directory; what is left in the end is deleted."""

    def run_verb(*words: str, **more: object) -> Done:
        # Files, not pipes: a detached container keeps what it was given.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as problems:
            command = [front.PILOT, "--root", str(tmp_path / "root"), *words]
            given = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": problems, **more}
            status = subprocess.run(command, cwd=bundle, timeout=60, check=False, **given).returncode  # type: ignore[call-overload]
            output.seek(0)
            problems.seek(0)
            return subprocess.CompletedProcess(command, status, output.read(), problems.read())

    yield run_verb
    for name in run_verb("list", "-q").stdout.split():
        run_verb("delete", "-f", name)


def _configure(bundle: Path, config: Config) -> None:
    (bundle / "config.json").write_text(json.dumps(config))


def test_a_lifecycle(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config())
    assert run("create", "--pid-file", str(tmp_path / "pid"), "web").stderr == ""
    state = json.loads(run("state", "web").stdout)
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle)
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert run("start", "web").returncode == 0
    assert json.loads(run("list", "-f", "json").stdout)[0]["status"] == "running"
    assert json.loads(run("ps", "-f", "json", "web").stdout) == [state["pid"]]
    assert "sleep 1000" in run("ps", "web").stdout
    assert run("pause", "web").returncode == 0
    assert json.loads(run("state", "web").stdout)["status"] == "paused"
    assert run("resume", "web").returncode == 0
    assert run("update", "--pids-limit", "17", "web").returncode == 0
    stats = json.loads(run("events", "--stats", "web").stdout)
    assert (stats["type"], stats["id"], stats["data"]["pids"]) == ("stats", "web", {"current": 1, "limit": 17})
    assert run("kill", "web", "KILL").returncode == 0
    assert run("delete", "-f", "web").returncode == 0
    assert run("state", "web").stderr == "pilot: state web: container does not exist\n"


def test_run_passes_output_and_status(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "echo out; echo err >&2; exit 9"))
    done = run("run", "web")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")
    assert run("list", "-q").stdout == ""


@pytest.mark.parametrize("name", ["TERM", "TSTP", "TTIN", "TTOU", "CONT", "USR1"])
def test_run_forwards_signals(run: Run, bundle: Path, tmp_path: Path, name: str) -> None:
    """Those that would stop us, too: the process has no terminal."""
    script = f"trap 'exit 5' {name}; echo ready; while :; do sleep 1000 & wait; done"
    _configure(bundle, bundles.make_config("sh", "-c", script))
    command = [front.PILOT, "--root", str(tmp_path / "root"), "run", "web"]
    with subprocess.Popen(command, cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.wait(60) == 5


def test_run_on_a_terminal(bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "stty size; read line; echo got $line; exit 4", terminal=True))
    command = [front.PILOT, "--root", str(tmp_path / "root"), "run", "web"]
    master_fd, peer_fd = pty.openpty()
    subprocess.run(["stty", "rows", "11", "cols", "22"], stdin=peer_fd, check=True)
    with subprocess.Popen(command, cwd=bundle, stdin=peer_fd, stdout=peer_fd, stderr=peer_fd) as process:
        os.close(peer_fd)
        os.write(master_fd, b"word\r")
        text = bundles.read_terminal(master_fd)
        os.close(master_fd)
        assert process.wait(60) == 4
    assert text.startswith((b"11 22\r\n", b"word"))
    assert b"got word\r\n" in text


def test_a_terminal_is_raw_again_when_it_is_ours_again(bundle: Path, tmp_path: Path) -> None:
    """As a shell has it: it stops us, uses the terminal as it likes, and continues us in the foreground."""
    _configure(bundle, bundles.make_config("sh", "-c", "echo ready; read line; exit 4", terminal=True))
    command = [front.PILOT, "--root", str(tmp_path / "root"), "run", "web"]
    master_fd, peer_fd = pty.openpty()
    with subprocess.Popen(command, cwd=bundle, stdin=peer_fd, stdout=peer_fd, stderr=peer_fd) as process:
        assert b"ready" in os.read(master_fd, 100)
        raw = termios.tcgetattr(peer_fd)
        process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        cooked = [*raw[:3], raw[3] | termios.ICANON | termios.ECHO, *raw[4:]]
        termios.tcsetattr(peer_fd, termios.TCSANOW, cooked)
        process.send_signal(signal.SIGCONT)
        store.wait_for(lambda: termios.tcgetattr(peer_fd)[3] == raw[3])
        os.write(master_fd, b"word\r")
        assert process.wait(60) == 4
    os.close(peer_fd)
    os.close(master_fd)


def test_exec(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config())
    run("run", "-d", "web")
    shell = ("web", "sh", "-c")
    assert run("exec", *shell, "exit 6").returncode == 6
    options = ("-e", "A=7", "--cwd", "/tmp", "-u", "7:8", "-g", "9")
    assert run("exec", *options, *shell, "echo $A $(pwd) $(id -G)").stdout == "7 /tmp 8 9\n"
    assert run("exec", "--preserve-fds", "0", *shell, "ls /proc/self/fd").stdout == "0\n1\n2\n3\n"
    process = {"args": ["echo", "from a file"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert run("exec", "-p", str(tmp_path / "process.json"), "web").stdout == "from a file\n"
    assert run("exec", "-d", "--pid-file", str(tmp_path / "pid"), "web", "sleep", "1000").returncode == 0
    assert int((tmp_path / "pid").read_text()) in json.loads(run("ps", "-f", "json", "web").stdout)
    assert run("exec", "web").returncode == 255
    assert run("exec", "web", "nonesuch").returncode == 255


def test_descriptors_of_socket_activation(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3"))
    (tmp_path / "passed").write_text("passed\n")
    script = f'exec 3<{tmp_path}/passed; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    command = [front.PILOT, "--root", str(tmp_path / "root"), "run", "web"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command], cwd=bundle, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1 1\npassed\n", "")


def test_errors_go_to_the_log_as_json(run: Run, tmp_path: Path) -> None:
    done = run("--log", str(tmp_path / "log"), "--log-format", "json", "state", "none")
    assert done.returncode == 1
    row = json.loads((tmp_path / "log").read_text())
    assert (row["level"], row["msg"]) == ("error", "state none: container does not exist")
    assert done.stderr == "pilot: state none: container does not exist\n"


def test_debug_prints_the_plan(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("true"))
    done = run("--debug", "run", "web")
    assert "pivot_root to rootfs" in done.stderr


def test_spec_can_be_run(run: Run, bundle: Path) -> None:
    assert run("spec").returncode == 0
    assert run("spec").stderr.endswith("config.json exists. Remove it first\n")
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["echo", "works"])
    _configure(bundle, config)
    assert run("run", "web").stdout == "works\n"


def test_features_is_a_document(run: Run) -> None:
    document = json.loads(run("features").stdout)
    assert document["ociVersionMin"] == "1.0.0"
    assert "rro" in document["mountOptions"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_needs_somebody_to_keep_it(run: Run, bundle: Path, terminal: bool) -> None:
    _configure(bundle, bundles.make_config("true", terminal=terminal))
    words = ["create", "web"] if terminal else ["create", "--console-socket", "/x", "web"]
    done = run(*words)
    assert done.returncode == 1
    assert "console socket" in done.stderr
    assert run("list", "-q").stdout == ""
