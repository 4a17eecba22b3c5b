"""`pilot` with a planner: the same containers, and everything that is inherited comes from the caller's own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles

from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private")

_NATIVE = Path(__file__).parent.parent.parent / "native"
_SOURCE = _NATIVE / "front" / "front.c"
_HEADERS = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
_COLD = 99  # what the command line that stands in for Python's exits with

Pilot = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pilot.command", "planner", "--socket", str(tmp_path / "socket")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()
        assert process.wait(30) in {0, -signal.SIGKILL}


@pytest.fixture
def front(tmp_path: Path, planner: subprocess.Popen[str]) -> Path:
    """`pilot`, of the planner's build."""
    assert planner.stdout is not None
    digest = planner.stdout.readline().split()[-1]
    return _compile(tmp_path, digest)


def _compile(directory: Path, digest: str) -> Path:
    cold = directory / "cold"
    cold.write_text(f"#!/bin/sh\nexit {_COLD}\n")
    cold.chmod(0o755)
    program = directory / "pilot"
    defines = {"BUILD": digest, "COLD": str(cold), "SOCKET": str(directory / "socket")}
    words = [f'-D{name}="{value}"' for name, value in defines.items()]
    command = [os.fspath(_NATIVE / "static-cc"), "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *_HEADERS, *words]
    subprocess.run([*command, "-o", program, _SOURCE], check=True, timeout=60)
    return program


@pytest.fixture
def pilot(front: Path, tmp_path: Path, bundle: Path) -> Pilot:
    def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [str(front), "--root", str(tmp_path / "root"), *words]
        given = {"cwd": bundle, "capture_output": True, "text": True, "timeout": 60, **more}
        return subprocess.run(command, check=False, **given)

    return run


def _configure(bundle: Path, *args: str, **changes: Any) -> None:
    config = {**bundles.make_config(*args), **changes}
    (bundle / "config.json").write_text(json.dumps(config))


def test_run_gives_output_and_status_and_leaves_nothing(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "echo out; echo err >&2; exit 7")
    done = pilot("run", "web")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert Runtime(str(tmp_path / "root")).list() == []


def test_what_is_inherited_is_the_callers(front: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "echo ready; sleep 1000")
    command = [str(front), "--root", str(tmp_path / "root"), "run", "web"]

    def prepare() -> None:
        os.nice(3)
        Path("/proc/self/oom_score_adj").write_text("321")

    with subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE, preexec_fn=prepare) as process:  # noqa: PLW1509
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        inside = Path(f"/proc/{Runtime(str(tmp_path / 'root')).load('web').pid}")
        assert f"PPid:\t{process.pid}\n" in (inside / "status").read_text()
        assert (inside / "oom_score_adj").read_text() == "321\n"
        assert (inside / "stat").read_text().rpartition(")")[2].split()[16] == "3"
        Runtime(str(tmp_path / "root")).load("web").kill(signal.SIGKILL)
        assert process.wait(30) == 128 + signal.SIGKILL


def test_signals_reach_the_process(front: Path, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    command = [str(front), "--root", str(tmp_path / "root"), "run", "web"]
    with subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(30) == 5


def test_create_start_exec_kill_delete(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sleep", "1000")
    quiet: dict[str, Any] = {"capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert pilot("create", "--pid-file", "pid", "web", **quiet).returncode == 0
    container = Runtime(str(tmp_path / "root")).load("web")
    assert (bundle / "pid").read_text() == str(container.pid)
    assert pilot("start", "web").returncode == 0
    assert pilot("exec", "web", "sh", "-c", "exit 3").returncode == 3
    assert pilot("kill", "web", "KILL").returncode == 0
    assert pilot("delete", "--force", "web").returncode == 0
    assert Runtime(str(tmp_path / "root")).list() == []


def test_errors_are_told_as_ever(pilot: Pilot, bundle: Path) -> None:
    _configure(bundle, "nonesuch")
    assert pilot("start", "web").stderr == "pilot: start web: container does not exist\n"
    done = pilot("run", "web")
    assert done.returncode == 1
    assert 'exec: "nonesuch": executable file not found in $PATH' in done.stderr


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["state", "web"], {}),
        (["--debug", "run", "web"], {}),
        (["run", "--help"], {}),
        (["run", "web"], {"hooks": {"poststop": [{"path": "/bin/true"}]}}),
        (["run", "web", "--preserve-fds", "1"], {}),
        (["run", "--pid-file", "/dev/fd/2", "web"], {}),
    ],
)
def test_what_a_planner_cannot_do_is_left_alone(
    pilot: Pilot, bundle: Path, tmp_path: Path, words: list[str], changes: dict[str, Any]
) -> None:
    _configure(bundle, "true", **changes)
    assert pilot(*words).returncode == _COLD
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("name", "environment"),
    [("no planner", {"PILOT_PLANNER": ""}), ("descriptors are passed", {"LISTEN_FDS": "1"})],
)
def test_who_does_not_ask_is_cold(pilot: Pilot, bundle: Path, name: str, environment: dict[str, str]) -> None:
    _configure(bundle, "true")
    assert pilot("run", "web", env=environment).returncode == _COLD


def test_another_build_is_cold(pilot: Pilot, bundle: Path, tmp_path: Path) -> None:
    _compile(tmp_path, "0" * 64)
    _configure(bundle, "true")
    assert pilot("run", "web").returncode == _COLD


@pytest.mark.parametrize("namespaces", [["--mount"], ["--pid", "--fork"], ["--uts"]])
def test_other_namespaces_are_cold(front: Path, bundle: Path, tmp_path: Path, namespaces: list[str]) -> None:
    _configure(bundle, "true")
    command = ["unshare", *namespaces, str(front), "--root", str(tmp_path / "root"), "run", "web"]
    assert subprocess.run(command, cwd=bundle, check=False, timeout=60).returncode == _COLD


def test_a_planner_that_dies_does_not_take_the_status_along(
    front: Path, planner: subprocess.Popen[str], bundle: Path, tmp_path: Path
) -> None:
    _configure(bundle, "sh", "-c", "trap 'echo attended' USR1; echo ready; until read line; do :; done; exit 4")
    command = [str(front), "--root", str(tmp_path / "root"), "run", "web"]
    with subprocess.Popen(
        command, cwd=bundle, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)  # held until it attends to the process, so the answer says that it does
        assert process.stdout.readline() == b"attended\n"
        planner.kill()
        planner.wait(30)
        _, stderr = process.communicate(b"\n", timeout=30)
    assert process.returncode == 4
    assert b"planner" in stderr
    Runtime(str(tmp_path / "root")).load("web").delete()
