"""A planner that the first cold command line starts: apart from it in every way, and gone in the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import bundles, front

from pilot.planner import build

pytestmark = pytest.mark.requires("root", "private", "busybox")

_DEADLINE_S = 60.0
_FORKED = {"pilot-forker\n", "pilot-joined\n"}  # whose words are the planner's


@pytest.fixture
def pilot(tmp_path: Path, bundle: Path) -> Iterator[Path]:
    """`pilot`, with the Python command line behind it; a planner that it has started is ended."""
    (bundle / "config.json").write_text(json.dumps(bundles.make_config("true")))
    (tmp_path / "run").mkdir(mode=0o700)
    yield front.compile_front(tmp_path / "run", build.digest(), front.python(tmp_path / "run"))
    for pid in _planners(tmp_path):
        os.kill(pid, signal.SIGKILL)


def _run(pilot: Path, bundle: Path, *before: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [*before, str(pilot), "--root", f"{bundle.parent}/root", "run", "web"]
    given = {"cwd": bundle, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **more}
    return subprocess.run(command, check=False, timeout=60, **given)  # type: ignore[call-overload, no-any-return]


def _planners(tmp_path: Path) -> list[int]:
    """Pids of those that listen, or are about to, at this test's place; not of their forkers."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            is_planner = b"planner" in words and (directory / "comm").read_text() not in _FORKED
            if is_planner and f"{tmp_path}/run/socket".encode() in words:
                found.append(int(directory.name))
    return found


def _await_planner(tmp_path: Path) -> int:
    """The one that listens. Its forker has its name a moment later than it is there."""
    found: list[int] = []

    def is_alone() -> bool:
        found[:] = _planners(tmp_path)
        return len(found) == 1

    _await((tmp_path / "run/socket").exists)
    _await(is_alone)
    return found[0]


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_served(pilot: Path, bundle: Path) -> bool:
    """With a command line behind it that does nothing."""
    cold = pilot.parent / "cold"
    kept = cold.read_text()
    front.unserved(pilot.parent)
    try:
        return _run(pilot, bundle).returncode != front.COLD
    finally:
        cold.write_text(kept)


def test_the_first_command_starts_one_that_serves_the_next(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    assert _run(pilot, bundle).stderr == ""
    _await_planner(tmp_path)
    assert _is_served(pilot, bundle)


def test_it_is_apart_from_its_caller(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """In cgroup, session, parent, priority, limits, signals, directory, environment and descriptors."""
    prepare = (
        "import os, resource, signal, sys; os.nice(5); os.sched_setaffinity(0, {0});"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_CPU, (1000, resource.RLIM_INFINITY)); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with (tmp_path / "held").open("w") as held:
        done = _run(
            pilot, bundle, sys.executable, "-c", prepare,
            pass_fds=[held.fileno()], env={**os.environ, "MARK": "x"}, start_new_session=True,
        )  # fmt: skip
    assert done.stderr == ""
    process = Path(f"/proc/{_await_planner(tmp_path)}")
    groups = {line.split(":", 2)[2] for line in (process / "cgroup").read_text().splitlines()}
    assert groups == {"/pilot-planner"}
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    assert (int(stat[1]), int(stat[4]), int(stat[16])) == (1, 0, 0)  # parent, terminal, nice
    assert os.getsid(int(process.name)) not in {os.getsid(0), int(process.name)}
    assert os.sched_getaffinity(int(process.name)) == set(range(os.cpu_count() or 1))
    assert "Max cpu time              unlimited            unlimited" in (process / "limits").read_text()
    assert os.readlink(process / "cwd") == "/"
    assert b"MARK" not in (process / "environ").read_bytes()
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert int(status["SigIgn"], 16) & (1 << (signal.SIGUSR1 - 1)) == 0
    assert int(status["SigBlk"], 16) == 0
    links = [os.readlink(entry) for entry in (process / "fd").iterdir()]
    assert str(tmp_path / "held") not in links
    assert links.count("/dev/null") == 3


def test_of_many_at_once_one_starts_it(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [pilot, "--root", tmp_path / "root", "run", f"web-{number}"],
            cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for number in range(8)
    ]  # fmt: skip
    assert [process.communicate(timeout=60)[0] for process in processes] == [b""] * 8
    assert [process.returncode for process in processes] == [0] * 8
    _await_planner(tmp_path)
    assert _is_served(pilot, bundle)


def _end_others() -> None:
    """Planners that podman and its like have started in these namespaces: they are in a cgroup of the same name."""
    groups = list(Path("/sys/fs/cgroup").glob("*/pilot-planner"))
    for group in groups:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    _await(lambda: not any((group / "cgroup.procs").read_text() for group in groups))
    for group in groups:
        group.rmdir()


def test_it_ends_when_idle_and_takes_its_cgroup_along(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    from pilot.planner import starting

    _end_others()
    starting.start(str(tmp_path / "run/socket"), [sys.executable, "-m", "pilot.command"], idle_s=6)
    _await_planner(tmp_path)
    assert _is_served(pilot, bundle)
    _await(lambda: not _planners(tmp_path))
    assert not (tmp_path / "run/socket").exists()
    assert not list(Path("/sys/fs/cgroup").glob("*/pilot-planner"))
    assert _run(pilot, bundle).stderr == ""
    _await_planner(tmp_path)


def test_one_that_was_killed_is_replaced(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """What it leaves is a socket that nobody listens at, and empty cgroups."""
    assert _run(pilot, bundle).stderr == ""
    killed = _await_planner(tmp_path)
    os.kill(killed, signal.SIGKILL)
    _await(lambda: not _planners(tmp_path))
    # Its name goes before its lock does: a command in between starts none, and the next one does.
    _await(lambda: _run(pilot, bundle).stderr == "" and len(_planners(tmp_path)) == 1)


@pytest.fixture
def forbidden() -> Iterator[None]:
    """/etc/pilot/no-planner, in this mount namespace alone."""
    made = not Path("/etc/pilot").exists()
    Path("/etc/pilot").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/etc/pilot"], check=True, timeout=10)
    Path("/etc/pilot/no-planner").touch()
    yield
    subprocess.run(["umount", "/etc/pilot"], check=True, timeout=10)
    if made:
        Path("/etc/pilot").rmdir()


def test_a_file_forbids_it(pilot: Path, bundle: Path, tmp_path: Path, forbidden: None) -> None:
    assert _run(pilot, bundle).stderr == ""
    assert _planners(tmp_path) == []
    done = subprocess.run([sys.executable, "-m", "pilot.command", "planner", "start"], capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "pilot planner: /etc/pilot/no-planner forbids a planner\n")


def test_one_that_runs_ends_when_it_is_forbidden(
    pilot: Path, bundle: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert _run(pilot, bundle).stderr == ""
    _await_planner(tmp_path)
    request.getfixturevalue("forbidden")
    assert not _is_served(pilot, bundle)
    _await(lambda: not _planners(tmp_path))


@pytest.mark.parametrize("environment", [{"PILOT_PLANNER": ""}])
def test_who_wants_none_starts_none(pilot: Path, bundle: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    assert _run(pilot, bundle, env={**os.environ, **environment}).stderr == ""
    command = [str(pilot), "--no-planner", "--root", str(tmp_path / "root"), "run", "web"]
    assert subprocess.run(command, cwd=bundle, check=False, timeout=60).returncode == 0
    assert _planners(tmp_path) == []


@pytest.mark.parametrize(
    "prefix",
    [
        ["unshare", "--uts"],
        ["unshare", "--mount", "--uts"],
        ["setpriv", "--no-new-privs"],
        ["prlimit", "--nofile=500:500"],
    ],
)
def test_who_cannot_be_apart_starts_none(pilot: Path, bundle: Path, tmp_path: Path, prefix: list[str]) -> None:
    """It would hold a namespace that is not that of process 1, or be too limited for others."""
    config = bundles.make_config("true")
    config["process"].pop("rlimits", None)
    (bundle / "config.json").write_text(json.dumps(config))
    assert _run(pilot, bundle, *prefix).returncode == 0
    assert _planners(tmp_path) == []


def test_one_is_started_among_the_mounts_of_process_1(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """By a caller that has others: no mount namespace is kept alive, and all others are served."""
    assert _run(pilot, bundle, "unshare", "--mount").stderr == ""
    pid = _await_planner(tmp_path)
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/1/ns/mnt")
    assert os.stat(f"/proc/{pid}/root/").st_ino == os.stat("/proc/1/root/").st_ino
    assert _is_served(pilot, bundle)


@pytest.mark.parametrize("path", ["run", "program"])
def test_none_is_started_where_its_place_or_program_is_another_there(
    pilot: Path, bundle: Path, tmp_path: Path, path: str
) -> None:
    """What process 1 has at a path is executed, and listens: it must be what the caller meant."""
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    here, other = f"{tmp_path}/{path}", f"{tmp_path}/other"
    prepare = f'cp -a {here} {other} && mount --bind {other} {here} && exec "$@"'
    code = "import sys; from pilot.planner import starting; starting.start(sys.argv[1], [sys.argv[2]])"
    words = [sys.executable, "-c", code, f"{tmp_path}/run/socket", f"{tmp_path}/program"]
    command = ["unshare", "--mount", "sh", "-c", prepare, "-", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    problem = f"start a planner: {here} is not the same among the mounts of process 1"
    assert done.stderr.splitlines()[-1:] == [f"pilot.errors.HostError: {problem}"]
    assert _planners(tmp_path) == []


def test_it_keeps_no_mount_of_its_caller(pilot: Path, bundle: Path, tmp_path: Path) -> None:
    """Also not by a descriptor, as of its lock: what a chroot has bound could not be unmounted."""
    run = tmp_path / "run"
    prepare = f'set -e; mount --bind {run} {run}; exec "$@"'
    assert _run(pilot, bundle, "unshare", "--mount", "sh", "-c", prepare, "-").stderr == ""
    process = Path(f"/proc/{_await_planner(tmp_path)}")
    mounts = {line.split()[0] for line in (process / "mountinfo").read_text().splitlines()}
    lock_fd = int((process / "cmdline").read_bytes().partition(b"--lock-fd\0")[2].partition(b"\0")[0])
    assert os.readlink(process / f"fd/{lock_fd}") == f"{run}/lock"
    lines = (process / f"fdinfo/{lock_fd}").read_text().splitlines()
    (mount,) = (line.split()[1] for line in lines if line.startswith("mnt_id:"))
    assert mount in mounts


def test_an_old_build_ends_when_the_new_one_asks(tmp_path: Path, bundle: Path) -> None:
    (bundle / "config.json").write_text(json.dumps(bundles.make_config("true")))
    shutil.copytree(Path(build.__file__).parent.parent, tmp_path / "old/pilot")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'old')!r}); "
    code += "from pilot.planner import main; main.main(sys.argv[1:])"
    with front.planner(tmp_path, sys.executable, "-c", code) as process:
        front.digest_of(process)
        pilot = front.compile_front(tmp_path, "0" * 64, front.unserved(tmp_path))
        assert _run(pilot, bundle).returncode == front.COLD
        assert process.poll() is None  # another installation's: it is as it was
        (tmp_path / "old/pilot/ids.py").write_text("# a newer version\n")
        assert _run(pilot, bundle).returncode == front.COLD
        assert process.wait(30) == 0
        assert not (tmp_path / "socket").exists()


def test_a_service_manager_gives_it_its_socket(tmp_path: Path, bundle: Path) -> None:
    """LISTEN_FDS, as sd_listen_fds(3) has it."""
    import socket

    (bundle / "config.json").write_text(json.dumps(bundles.make_config("sh", "-c", "exit 5")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
            "os.execv(sys.executable, [sys.executable, '-m', 'pilot.command', 'planner'])"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())],
            pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            pilot = front.compile_front(tmp_path, front.digest_of(process), front.unserved(tmp_path))
            assert _run(pilot, bundle).returncode == 5
            process.terminate()
            assert process.wait(30) == 0
    assert (tmp_path / "socket").exists()  # it is the manager's
