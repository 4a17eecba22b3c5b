"""`pilot` with a planner: the same containers by the same words, and what it leaves to the Python command line.

What is not served ends in a command line that does nothing but say so (`front.COLD`), before anything was made.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles, front

from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private")

Done = subprocess.CompletedProcess[str]
Pilot = Callable[..., Done]


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with front.planner(tmp_path) as process:
        yield process


@pytest.fixture
def program(tmp_path: Path, planner: subprocess.Popen[str]) -> Path:
    """`pilot`, of the planner's build."""
    return front.compile_front(tmp_path, front.digest_of(planner), front.unserved(tmp_path))


@pytest.fixture
def pilot(program: Path, tmp_path: Path, bundle: Path) -> Iterator[Pilot]:
    def run(*words: str, **more: Any) -> Done:
        # Files, not pipes: a detached container keeps what it was given.
        out, err = tmp_path / "out", tmp_path / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            command = [str(program), "--root", str(tmp_path / "root"), *words]
            given = {"cwd": bundle, "stdout": stdout, "stderr": stderr, "stdin": subprocess.DEVNULL, **more}
            status = subprocess.run(command, check=False, timeout=60, **given).returncode
        return subprocess.CompletedProcess(command, status, out.read_text(), err.read_text())

    yield run
    for container in Runtime(str(tmp_path / "root")).list():
        container.delete(force=True)


def _configure(bundle: Path, *args: str, **changes: Any) -> None:
    (bundle / "config.json").write_text(json.dumps({**bundles.make_config(*args), **changes}))


# ---- lifecycle ------------------------------------------------------------------------------------------------------


def test_run_gives_output_and_status_and_leaves_nothing(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "echo out; echo err >&2; exit 7")
    done = pilot("run", "web")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert Runtime(str(tmp_path / "root")).list() == []


def test_signals_reach_the_process(program: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    command = [str(program), "--root", str(tmp_path / "root"), "run", "web"]
    with subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(30) == 5


def test_every_verb_of_a_life(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sleep", "1000")
    root = Runtime(str(tmp_path / "root"))
    assert pilot("create", "--pid-file", "pid", "web").returncode == 0
    container = root.load("web")
    assert (bundle / "pid").read_text() == str(container.pid)
    assert json.loads(pilot("state", "web").stdout)["status"] == "created"
    assert pilot("start", "web").returncode == 0
    assert pilot("exec", "web", "sh", "-c", "exit 3").returncode == 3
    assert json.loads(pilot("list", "-f", "json").stdout)[0]["status"] == "running"
    assert pilot("list", "-q").stdout == "web\n"
    assert json.loads(pilot("ps", "-f", "json", "web").stdout) == [container.pid]
    assert pilot("pause", "web").returncode == 0
    assert json.loads(pilot("state", "web").stdout)["status"] == "paused"
    assert pilot("resume", "web").returncode == 0
    assert pilot("update", "--pids-limit", "17", "web").returncode == 0
    assert json.loads(pilot("events", "--stats", "web").stdout)["data"]["pids"]["limit"] == 17
    assert pilot("kill", "web", "KILL").returncode == 0
    assert pilot("delete", "--force", "web").returncode == 0
    assert root.list() == []


def test_questions_about_itself(pilot: Pilot) -> None:
    assert pilot("--version").stdout.startswith("pilot version ")
    assert "hooks" in json.loads(pilot("features").stdout)


def test_errors_are_told_as_ever(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "nonesuch")
    assert pilot("start", "web").stderr == "pilot: start web: container does not exist\n"
    done = pilot("--log", "log", "--log-format", "json", "run", "web")
    assert done.returncode == 1
    assert 'exec: "nonesuch": executable file not found in $PATH' in done.stderr
    assert "nonesuch" in json.loads((bundle / "log").read_text().splitlines()[-1])["msg"]
    assert not list((tmp_path / "root").glob("web"))


# ---- what podman, buildah and containerd send ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_hooks_are_the_callers_children(pilot: Pilot, bundle: Path, tmp_path: Path, kind: str) -> None:
    seen = tmp_path / "seen"
    script = f'cat >/dev/null; echo $PPID $(umask) $(pwd) "$MARK" $(cat /proc/self/oom_score_adj) >> {seen}'
    _configure(bundle, "true", hooks={kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]})
    prepare = "umask 0027; echo 345 > /proc/self/oom_score_adj; echo $$"
    command = f"{prepare}; exec {tmp_path}/pilot --root {tmp_path}/root run web"
    done = subprocess.run(
        ["sh", "-c", command], cwd=bundle, env={**os.environ, "MARK": "the caller's"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert seen.read_text() == f"{done.stdout.strip()} 0027 {bundle} the caller's 345\n"


@pytest.mark.usefixtures("program")
def test_a_hook_that_fails_ends_it(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    failing = {"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}
    _configure(bundle, "true", hooks={"createRuntime": [failing]})
    done = pilot("create", "web")
    assert done.returncode == 1
    assert "error running createRuntime hook #0: exit status 3, stdout: , stderr: why" in done.stderr
    assert Runtime(str(tmp_path / "root")).list() == []


def test_a_hook_that_takes_too_long_is_killed(pilot: Pilot, bundle: Path) -> None:
    _configure(bundle, "true", hooks={"prestart": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]})
    assert "hook ran past specified timeout of 1.0s" in pilot("create", "web").stderr


def test_descriptors_are_preserved(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd | wc -l")
    for number in (3, 4):
        (tmp_path / str(number)).write_text(f"{number}\n")
    command = f"exec {tmp_path}/pilot --root {tmp_path}/root run --preserve-fds 2 web 3<{tmp_path}/3 4<{tmp_path}/4"
    done = subprocess.run(["sh", "-c", command], cwd=bundle, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.splitlines()[:2], done.stderr) == (["3", "4"], "")
    _configure(bundle, "sh", "-c", "test -e /proc/$$/fd/3 || cat <&4")
    hole = subprocess.run(
        ["sh", "-c", command.replace("3<", "3<&- 9<")],
        cwd=bundle,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (hole.stdout, hole.stderr) == ("4\n", "")


def test_socket_activation_is_passed_on(program: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3")
    (tmp_path / "3").write_text("passed\n")
    command = f"LISTEN_FDS=1 LISTEN_PID=$$ exec {program} --root {tmp_path}/root run web 3<{tmp_path}/3"
    done = subprocess.run(["sh", "-c", command], cwd=bundle, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1 1\npassed\n", "")


def test_a_console_socket_gets_the_terminal(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    config = bundles.make_config("sh", "-c", "tty; sleep 1000", terminal=True)
    (bundle / "config.json").write_text(json.dumps(config))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        assert pilot("create", "--console-socket", str(tmp_path / "console"), "web").returncode == 0
        connection, _ = listener.accept()
        with connection:
            _, ancillary, *_ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    master_fd = array.array("i", ancillary[0][2])[0]
    assert pilot("start", "web").returncode == 0
    with open(master_fd) as master:
        assert master.readline() == "/dev/pts/0\n"


def test_exec_as_callers_ask_for_it(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sleep", "1000")
    assert pilot("run", "--detach", "web").returncode == 0
    process = {
        "args": ["sh", "-c", "echo done > /tmp/file"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
    }
    (bundle / "process.json").write_text(json.dumps(process))
    (bundle / "rootfs/tmp").mkdir(exist_ok=True)
    done = pilot("exec", "--process", "process.json", "--detach", "--pid-file", "pid", "web")
    assert (done.returncode, done.stderr) == (0, "")
    pid = int((bundle / "pid").read_text())
    assert pid != Runtime(str(tmp_path / "root")).load("web").pid


def test_update_reads_the_callers_stdin(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sleep", "1000")
    assert pilot("run", "--detach", "web").returncode == 0
    (tmp_path / "limits").write_text('{"pids": {"limit": 23}}')
    with (tmp_path / "limits").open() as stdin:
        assert pilot("update", "-r", "-", "web", stdin=stdin).stderr == ""
    assert json.loads(pilot("events", "--stats", "web").stdout)["data"]["pids"]["limit"] == 23


def test_more_mounts_than_a_packet_has_descriptors(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    config = bundles.make_config("sh", "-c", "grep -c ' /many/' /proc/self/mountinfo")
    config["mounts"] += [
        {"destination": f"/many/{number}", "type": "bind", "source": str(source), "options": ["bind"]}
        for number in range(600)
    ]
    (bundle / "config.json").write_text(json.dumps(config))
    done = pilot("run", "web")
    assert (done.stdout, done.stderr) == ("600\n", "")


def test_the_plan_is_printed(pilot: Pilot, bundle: Path) -> None:
    _configure(bundle, "true")
    assert "pivot_root" in pilot("--debug", "run", "web").stderr


# ---- what it leaves alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["run", "--help"], {}),
        (["--no-planner", "run", "web"], {}),
        (["run"], {}),
        (["spec"], {}),
        (["ps", "web"], {}),
        (["events", "web"], {}),
        (["checkpoint", "web"], {}),
        (["run", "--pid-file", "/dev/fd/2", "web"], {}),
        (["--log", "/proc/self/fd/2", "run", "web"], {}),
        (
            ["run", "web"],
            {"mounts": [{"destination": "/x", "type": "bind", "source": "/proc/self/fd/0", "options": []}]},
        ),
        (["run", "web"], {"process": {**bundles.make_config("true")["process"], "terminal": True}}),
    ],
)
def test_what_a_planner_cannot_do_is_left_alone(
    pilot: Pilot, bundle: Path, tmp_path: Path, words: list[str], changes: dict[str, Any]
) -> None:
    _configure(bundle, "true", **changes)
    assert pilot(*words).returncode == front.COLD
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("environment", [{"PILOT_PLANNER": ""}, {"NOTIFY_SOCKET": "/run/systemd/notify"}])
def test_who_does_not_ask_is_cold(pilot: Pilot, bundle: Path, environment: dict[str, str]) -> None:
    _configure(bundle, "true")
    assert pilot("run", "web", env=environment).returncode == front.COLD


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_standard_stream_is_null(program: Path, bundle: Path, tmp_path: Path, closed: str) -> None:
    """Before a socket of ours gets its number."""
    _configure(bundle, "sh", "-c", "exec > /tmp/seen 3<&0; cat; echo seen")
    command = f"exec {program} --root {tmp_path}/root run web {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=bundle, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert (bundle / "rootfs/tmp/seen").read_text() == "seen\n"


def test_who_has_children_already_is_cold(program: Path, bundle: Path) -> None:
    """They would be taken for those that were cloned for the planner."""
    _configure(bundle, "true")
    done = subprocess.run(["sh", "-c", f"sleep 1 & exec {program} run web"], cwd=bundle, check=False, timeout=60)
    assert done.returncode == front.COLD


def test_another_build_is_cold(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    front.compile_front(tmp_path, "0" * 64, tmp_path / "cold")
    _configure(bundle, "true")
    assert pilot("run", "web").returncode == front.COLD


def test_too_large_an_environment_is_cold(pilot: Pilot, bundle: Path) -> None:
    _configure(bundle, "true")
    assert pilot("run", "web", env={"LARGE": "x" * 70_000, "MORE": "x" * 70_000}).returncode == front.COLD


def test_a_planner_that_does_not_answer_is_not_waited_for(
    pilot: Pilot, planner: subprocess.Popen[str], bundle: Path, tmp_path: Path
) -> None:
    _configure(bundle, "true")
    planner.send_signal(signal.SIGSTOP)
    try:
        assert pilot("run", "web").returncode == front.COLD
    finally:
        planner.send_signal(signal.SIGCONT)
    assert pilot("list", "-q").stdout == ""  # and what it found to do when it went on, it left
