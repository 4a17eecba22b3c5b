"""Verbs in every way that they can be asked, beside the common ones of `test_cli.py`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import bundles, front
from tests.support.bundles import Config

from pilot.kernel import hierarchies
from pilot.kernel.cgroups import Cgroup

pytestmark = [pytest.mark.requires("root", "private", "busybox"), pytest.mark.usefixtures("by_front")]

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
_PILOT = (front.PILOT,)


@pytest.fixture
def run(tmp_path: Path, bundle: Path) -> Iterator[Run]:
    """Run a verb in the bundle's directory; what is left in the end is deleted."""

    def run_verb(*words: str, stdin: str = "", runtime: tuple[str, ...] = _PILOT, **more: object) -> Done:
        # Files, not pipes: a detached container keeps what it was given.
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            given.write(stdin)
            given.seek(0)
            command = [*runtime, "--root", str(tmp_path / f"root-{Path(runtime[0]).name}"), *words]
            streams = {"stdin": given, "stdout": out, "stderr": err, **more}
            status = subprocess.run(command, cwd=bundle, timeout=60, check=False, **streams).returncode  # type: ignore[call-overload]
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, status, out.read(), err.read())

    yield run_verb
    for name in run_verb("list", "-q").stdout.split():
        run_verb("delete", "-f", name)


def _configure(bundle: Path, config: Config) -> None:
    (bundle / "config.json").write_text(json.dumps(config))


@pytest.fixture
def web(run: Run, bundle: Path) -> str:
    """A running container."""
    _configure(bundle, bundles.make_config("sh", "-c", "trap 'exit 9' USR1; while :; do sleep 1000 & wait; done"))
    assert run("run", "-d", "web").stderr == ""
    return "web"


def _pid(run: Run) -> int:
    return int(json.loads(run("state", "web").stdout)["pid"])


@pytest.mark.requires("runc")
def test_state_has_the_members_of_runc(run: Run, bundle: Path) -> None:
    config = {**bundles.make_config(), "annotations": {"k": "v"}, "ociVersion": "1.0.2"}
    _configure(bundle, config)
    documents = []
    for runtime in (_PILOT, ("runc",)):
        assert run("create", "--pid-file", "pid", "same", runtime=runtime).stderr == ""
        documents.append(json.loads(run("state", "same", runtime=runtime).stdout))
        documents.append(json.loads(run("list", "-f", "json", runtime=runtime).stdout)[0])
        run("delete", "-f", "same", runtime=runtime)
    ours, listed, theirs, listed_by_runc = documents
    assert list(ours) == list(theirs)
    assert list(listed) == list(listed_by_runc)
    assert {key: ours[key] for key in ("id", "status", "bundle", "rootfs", "annotations")} == {
        key: theirs[key] for key in ("id", "status", "bundle", "rootfs", "annotations")
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", ours["created"])


def test_list(run: Run, web: str, bundle: Path) -> None:
    header, row = run("list").stdout.splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split()[:4] == ["web", str(_pid(run)), "running", str(bundle)]
    assert run("list", "--quiet").stdout == "web\n"
    assert [item["id"] for item in json.loads(run("list", "--format", "json").stdout)] == ["web"]
    wrong = run("list", "-f", "xml")
    assert (wrong.returncode, wrong.stderr) == (1, "pilot: list: invalid format option (see pilot list --help)\n")


def test_a_root_that_there_is_not(run: Run, tmp_path: Path) -> None:
    """An error to who names it; the default one is made by the first create."""
    done = run("--root", str(tmp_path / "nonesuch"), "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"pilot: list: open {tmp_path}/nonesuch: no such file or directory\n"


def test_remains_of_a_container_are_removed(run: Run, bundle: Path, tmp_path: Path) -> None:
    """Whatever it is that has no state.json; but never a container that is whole."""
    _configure(bundle, bundles.make_config())
    remains = tmp_path / "root-pilot/half/below"
    remains.mkdir(parents=True)
    assert "given ID already exists" in run("create", "half").stderr
    assert run("list", "-q").stdout == ""
    done = run("delete", "half")
    assert (done.returncode, done.stderr) == (1, "pilot: delete half: container does not exist\n")
    assert run("create", "half").stderr == ""
    assert run("delete", "--force", "half").stderr == ""


def test_ps(run: Run, web: str) -> None:
    pid = _pid(run)
    assert pid in json.loads(run("ps", "--format", "json", "web").stdout)
    header, *rows = run("ps", "web", "-eo", "pid,args").stdout.splitlines()
    assert header.split() == ["PID", "COMMAND"]
    assert {int(row.split()[0]) for row in rows} == set(json.loads(run("ps", "-f", "json", "web").stdout))
    assert "couldn't find PID field" in run("ps", "web", "-eo", "args").stderr


def test_kill(run: Run, web: str) -> None:
    assert run("kill", "web", "0").returncode == 0
    assert "unknown signal 'NONE'" in run("kill", "web", "NONE").stderr
    fd = os.pidfd_open(_pid(run))
    assert run("kill", "web", "usr1").stderr == ""
    _await_end(fd)
    done = run("kill", "web", "TERM")
    assert (done.returncode, "container not running" in done.stderr) == (1, True)
    assert run("delete", "web").stderr == ""


def test_kill_all(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "sleep 1000 & sleep 1000 & wait"))
    run("run", "-d", "web")
    fds = [os.pidfd_open(pid) for pid in json.loads(run("ps", "-f", "json", "web").stdout)]
    assert run("kill", "--all", "web", str(int(signal.SIGKILL))).stderr == ""
    for fd in fds:
        _await_end(fd)


def _await_end(pid_fd: int) -> None:
    import select

    assert select.select([pid_fd], [], [], 20)[0]
    os.close(pid_fd)


def test_a_created_container_can_be_paused(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config())
    run("create", "web")
    assert run("pause", "web").stderr == ""
    assert json.loads(run("state", "web").stdout)["status"] == "paused"
    assert "cannot start" in run("start", "web").stderr
    assert "use --ignore-paused" in run("exec", "web", "true").stderr
    assert run("resume", "web").stderr == ""
    assert json.loads(run("state", "web").stdout)["status"] == "created"
    assert run("start", "web").stderr == ""


def _file(run: Run, *names: str) -> str:
    """Text of the first of these files that the container's cgroup has."""
    groups = [line.split(":", 2)[2] for line in Path(f"/proc/{_pid(run)}/cgroup").read_text().splitlines()]
    roots = [
        line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if "cgroup" in line.split()[2]
    ]
    paths = (Path(root + group, name) for name in names for root in roots for group in set(groups))
    return next(path for path in paths if path.exists()).read_text().strip()


def test_update(run: Run, web: str, tmp_path: Path) -> None:
    assert run("update", "--memory", str(96 << 20), "--cpu-share", "512", "--pids-limit=33", "web").stderr == ""
    assert _file(run, "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert _file(run, "pids.max") == "33"
    (tmp_path / "limits").write_text(json.dumps({"pids": {"limit": 34}}))
    assert run("update", "-r", str(tmp_path / "limits"), "web").stderr == ""
    assert _file(run, "pids.max") == "34"
    assert run("update", "-r", "-", "web", stdin='{"pids": {"limit": -1}}').stderr == ""
    assert _file(run, "pids.max") == "max"
    for words, text in (
        (("--memory", "abc"), "invalid size: 'abc'"), (("-r", "/nonesuch"), "read /nonesuch: no such file"),
    ):  # fmt: skip
        done = run("update", *words, "web")
        assert (done.returncode, text in done.stderr) == (1, True)
    assert "$.pids.limit" in run("update", "-r", "-", "web", stdin='{"pids": {"limit": "x"}}').stderr


def test_events(run: Run, web: str, bundle: Path, tmp_path: Path) -> None:
    data = json.loads(run("events", "--stats", "web").stdout)["data"]
    assert {"cpu", "memory", "pids", "blkio"} <= set(data)
    assert data["pids"]["current"] == 2
    command = [*_PILOT, "--root", str(tmp_path / f"root-{Path(_PILOT[0]).name}"), "events", "--interval", "20ms", "web"]
    with subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        rows = [json.loads(process.stdout.readline()) for _ in range(3)]
        run("delete", "-f", "web")
        process.stdout.read()
        assert process.wait(30) == 0
    assert {(row["type"], row["id"]) for row in rows} == {("stats", "web")}
    wrong = run("events", "--interval", "0s", "web")
    assert wrong.returncode == 1


def test_keep(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "exit 3"))
    assert run("run", "web").returncode == 3
    assert run("list", "-q").stdout == ""
    assert run("run", "--keep", "web").returncode == 3
    assert json.loads(run("state", "web").stdout)["status"] == "stopped"
    assert run("delete", "web").stderr == ""


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("pivot", [(), ("--no-pivot",)])
def test_run_in_every_way(run: Run, bundle: Path, tmp_path: Path, detached: bool, pivot: tuple[str, ...]) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "ls / | head -n 1; exit 4"))
    (bundle / "rootfs/bin/head").symlink_to("busybox")
    words = ("run", *pivot, "--pid-file", str(tmp_path / "pid"), *(("-d",) if detached else ()), "web")
    done = run(*words)
    assert (done.returncode, done.stderr) == (0 if detached else 4, "")
    assert int((tmp_path / "pid").read_text()) > 0
    assert run("list", "-q").stdout == ("web\n" if detached else "")
    if not detached:
        assert done.stdout == "bin\n"


def test_a_terminal_goes_to_the_console_socket(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "tty", terminal=True))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        done = run("run", "-d", "--console-socket", str(tmp_path / "console"), "web")
        assert done.stderr == ""
        with listener.accept()[0] as connection:
            name, [master_fd], _, _ = socket.recv_fds(connection, 100, 1)
    assert name == b"/dev/ptmx"
    assert bundles.read_terminal(master_fd) == b"/dev/pts/0\r\n"
    os.close(master_fd)


@pytest.mark.parametrize(("listen", "preserve", "expected"), [(0, 2, "3 4"), (1, 1, "3 4"), (2, 0, "3 4")])
def test_descriptors_are_passed(
    bundle: Path, tmp_path: Path, listen: int, preserve: int, expected: str
) -> None:  # fmt: skip
    """stdio, then those of socket activation, then N more."""
    _configure(
        bundle, bundles.make_config("sh", "-c", "for n in 3 4 5; do [ -e /proc/self/fd/$n ] && echo $n; done; true")
    )
    listening = '[ "$1" = 0 ] || export LISTEN_FDS=$1 LISTEN_PID=$$'
    script = f'exec 3</dev/zero 4</dev/zero 5</dev/zero; {listening}; shift; exec "$@"'
    command = [*_PILOT, "--root", str(tmp_path / "root"), "run", "--preserve-fds", str(preserve), "web"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(listen), *command], cwd=bundle, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (expected.split(), "")


@pytest.mark.parametrize("words", ["LISTEN_FDS=2 LISTEN_PID=1", "LISTEN_FDS=x"])
def test_descriptors_of_anothers_socket_activation_stay(bundle: Path, tmp_path: Path, words: str) -> None:
    """An environment of old: the caller's descriptors of those numbers are other ones. The state root is its own."""
    _configure(bundle, bundles.make_config("sh", "-c", "[ -e /proc/self/fd/3 ] || echo ${LISTEN_FDS:-none}"))
    script = f'exec 3</dev/zero 4</dev/zero; {words} exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *_PILOT, "--root", str(tmp_path / "root"), "run", "web"], cwd=bundle,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("none\n", "")
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700


def test_a_descriptor_that_is_not_open(run: Run, bundle: Path) -> None:
    """It is not open in the container either (3 is what ls looks through)."""
    _configure(bundle, bundles.make_config("ls", "/proc/self/fd"))
    done = run("run", "--preserve-fds", "40", "web")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("id", "text"), [("", "container id cannot be empty"), ("a/b", "invalid container ID format"), ("..", "invalid")]
)
def test_ids(run: Run, bundle: Path, id: str, text: str) -> None:
    _configure(bundle, bundles.make_config("true"))
    done = run("create", id)
    assert (done.returncode, text in done.stderr) == (1, True)


def test_spec_where_nothing_can_be_written(run: Run) -> None:
    done = run("spec", "--bundle", "/nonesuch")
    assert (done.returncode, done.stderr) == (
        1,
        "pilot: spec: write /nonesuch/config.json: no such file or directory\n",
    )


# ---- checkpoint and restore -----------------------------------------------------------------------------------------

_CRIU = """#!/bin/sh
# Stands in for criu: notes its command line, and does to processes what criu would.
echo "$*" >> {log}
case $1 in
check) exit 0;;
dump)
    for word; do
        [ "$previous" = --tree ] && pid=$word
        [ "$previous" = --images-dir ] && images=$word
        previous=$word
    done
    echo "$pid" > "$images/inventory"
    case "$*" in *--leave-running*) ;; *) kill -9 "$pid";; esac;;
restore)
    for word; do [ "$previous" = --pidfile ] && file=$word; previous=$word; done
    setsid sh -c 'trap "exit 6" TERM; kill -STOP $$; sleep 1000 & wait; exit 6' </dev/null >/dev/null 2>&1 &
    until grep -q "T (stopped)" /proc/$!/status; do sleep 0.01; done
    echo $! > "$file";;
esac
"""


@pytest.fixture
def criu(tmp_path: Path) -> Path:
    program = tmp_path / "stand-in"
    program.write_text(_CRIU.format(log=tmp_path / "criu-calls"))
    program.chmod(0o755)
    return program


def test_checkpoint_and_restore_drive_criu(run: Run, web: str, tmp_path: Path, criu: Path) -> None:
    images, log = tmp_path / "images", tmp_path / "criu-calls"
    base = ("--criu", str(criu))
    assert run(*base, "checkpoint", "--image-path", str(images), "--leave-running", "web").stderr == ""
    pid = _pid(run)
    assert (images / "inventory").read_text() == f"{pid}\n"
    assert run(*base, "checkpoint", "--image-path", str(images), "--tcp-established", "web").stderr == ""
    check, first, _, second = log.read_text().splitlines()
    assert (check, "--leave-running" in first, "--tcp-established" in second) == ("check", True, True)
    assert run("list", "-q").stdout == ""
    done = run(*base, "restore", "-d", "--image-path", str(images), "--pid-file", str(tmp_path / "pid"), "again")
    assert done.stderr == ""
    state = json.loads(run("state", "again").stdout)
    assert (state["status"], state["pid"]) == ("running", int((tmp_path / "pid").read_text()))
    assert state["pid"] in json.loads(run("ps", "-f", "json", "again").stdout)
    assert run("delete", "-f", "again").stderr == ""


def test_a_restored_container_in_the_foreground(run: Run, web: str, tmp_path: Path, criu: Path) -> None:
    images = tmp_path / "images"
    run("--criu", str(criu), "checkpoint", "--image-path", str(images), "web")
    root = str(tmp_path / f"root-{Path(_PILOT[0]).name}")
    command = [*_PILOT, "--root", root, "--criu", str(criu), "restore", "--image-path", str(images),
               "--pid-file", str(tmp_path / "pid"), "--bundle", str(tmp_path / "bundle"), "again"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        while not (tmp_path / "pid").exists():
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
        process.terminate()
        assert process.wait(60) == 6
    assert run("list", "-q").stdout == ""


def test_checkpoint_says_why_not(run: Run, web: str, tmp_path: Path, criu: Path) -> None:
    """What criu says is wrong is what the caller reads, and the container goes on."""
    criu.write_text("#!/bin/sh\necho 'Error (criu/vdso.c:381): vdso: Unexpected bounds' >&2\nexit 1\n")
    done = run("--criu", str(criu), "checkpoint", "--image-path", str(tmp_path / "images"), "web")
    assert done.returncode == 1
    assert (
        done.stderr == "pilot: checkpoint web: criu failed: check: Error (criu/vdso.c:381): vdso: Unexpected bounds\n"
    )
    assert json.loads(run("state", "web").stdout)["status"] == "running"
    done = run("--criu", "/nonesuch", "checkpoint", "--image-path", str(tmp_path / "images"), "web")
    assert "run /nonesuch: no such file or directory (install criu, or name it with --criu)" in done.stderr


def test_restore_that_fails_leaves_nothing(run: Run, bundle: Path, tmp_path: Path, criu: Path) -> None:
    _configure(bundle, bundles.make_config())
    (tmp_path / "images").mkdir()
    criu.write_text("#!/bin/sh\n[ $1 = check ] || { echo 'Error (criu/x.c:1): no image' >&2; exit 1; }\n")
    done = run("--criu", str(criu), "restore", "--image-path", str(tmp_path / "images"), "again")
    assert (done.returncode, "Error (criu/x.c:1): no image" in done.stderr) == (1, True)
    assert run("list", "-q").stdout == ""


def test_restore_needs_a_checkpoint(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config())
    done = run("restore", "--image-path", str(tmp_path / "none"), "again")
    assert (done.returncode, "no images of a checkpoint in" in done.stderr) == (1, True)
    assert run("checkpoint", "again").stderr == "pilot: checkpoint again: container does not exist\n"


@pytest.mark.requires("criu")
def test_the_real_criu(run: Run, web: str, tmp_path: Path) -> None:
    """Where it works the container comes back; where it does not, as on kernels newer than it, we are told."""
    images = tmp_path / "images"
    done = run("checkpoint", "--image-path", str(images), "web")
    if done.returncode != 0:
        assert "criu failed: " in done.stderr
        assert json.loads(run("state", "web").stdout)["status"] == "running"
        return
    assert run("restore", "-d", "--image-path", str(images), "again").stderr == ""
    assert json.loads(run("state", "again").stdout)["status"] == "running"


# ---- sd_notify ------------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "manager"))
        listener.settimeout(30)
        yield listener


def _configure_notifier(bundle: Path) -> None:
    _configure(bundle, bundles.make_config("/usr/bin/python3", "-c", _NOTIFIER))
    config = json.loads((bundle / "config.json").read_text())
    # The host's own interpreter, read-only, with what it is linked with.
    for path in ("/usr", "/lib", "/lib64"):
        config["mounts"].append({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]})
    _configure(bundle, config)


_NOTIFIER = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.connect(os.environ["NOTIFY_SOCKET"])
    manager.send(b"STATUS=almost")
    manager.send(b"READY=1\\nSTATUS=there")
time.sleep(1000)
"""


@pytest.mark.parametrize("words", [("run", "-d"), ("create",)])
def test_the_service_manager_hears_that_the_container_is_ready(
    run: Run, bundle: Path, tmp_path: Path, manager: socket.socket, words: tuple[str, ...]
) -> None:
    _configure_notifier(bundle)
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "manager")}
    assert run(*words, "web", env=environment).stderr == ""
    if words == ("create",):
        assert run("start", "web", env=environment).stderr == ""
    assert manager.recv(4096).decode() == f"MAINPID={_pid(run)}\nREADY=1"
    assert run("delete", "-f", "web").stderr == ""
    assert list(tmp_path.glob("root-*/~notify/*")) == []


def test_a_container_that_ends_before_it_is_ready(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("sh", "-c", "[ -S $NOTIFY_SOCKET ] && exit 7"))
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "manager")}
    assert run("run", "web", env=environment).returncode == 7
    assert run("run", "-d", "web", env=environment).returncode == 0
    assert json.loads(run("state", "web").stdout)["status"] == "stopped"
    _configure(bundle, bundles.make_config("nonesuch"))
    assert run("run", "other", env=environment).returncode == 1
    assert [path.name for path in tmp_path.glob("root-*/~notify/*")] == ["web"]


# ---- what callers of runc and crun ask besides -----------------------------------------------------------------------


@pytest.mark.requires("runc")
def test_kill_all_of_a_stopped_container(run: Run, bundle: Path) -> None:
    _configure(bundle, {**bundles.make_config("true"), "ociVersion": "1.0.2"})
    for runtime in (_PILOT, ("runc",)):
        run("run", "-d", "web", runtime=runtime)
        _await_status(run, "stopped", runtime)
        assert [run("kill", "-a", "web", "KILL", runtime=runtime).returncode for _ in range(2)] == [0, 0]
        assert run("kill", "web", "TERM", runtime=runtime).returncode == 1
        assert run("delete", "web", runtime=runtime).returncode == 0


def _await_status(run: Run, status: str, runtime: tuple[str, ...] = _PILOT) -> None:
    deadline = time.monotonic() + 30
    while json.loads(run("state", "web", runtime=runtime).stdout)["status"] != status:
        assert time.monotonic() < deadline


def test_kill_when_the_first_process_has_gone(run: Run, bundle: Path) -> None:
    config = bundles.make_config("sh", "-c", "sleep 1000 & exit 0")
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    _configure(bundle, config)
    assert run("run", "-d", "web").stderr == ""
    _await_status(run, "stopped")
    (left,) = json.loads(run("ps", "-f", "json", "web").stdout)
    pid_fd = os.pidfd_open(left)
    assert "container not running" in run("kill", "web", "TERM").stderr
    assert run("kill", "web", "KILL").stderr == ""
    _await_end(pid_fd)


def test_statistics_of_a_stopped_container(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("true"))
    run("run", "-d", "web")
    _await_status(run, "stopped")
    done = run("events", "--stats", "web")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "pilot: events web: container with id web is not running\n",
    )


def test_a_frozen_cgroup_takes_no_container(run: Run, bundle: Path) -> None:
    group = Cgroup.create(hierarchies.probe_hierarchies(), "cold")
    config = bundles.make_config("true")
    config["linux"]["cgroupsPath"] = "/cold/below"
    _configure(bundle, config)
    group.freeze()
    try:
        done = run("run", "web")
        assert (done.returncode, "container's cgroup unexpectedly frozen: " in done.stderr) == (1, True)
        assert run("list", "-q").stdout == ""
    finally:
        group.thaw()
        group.delete()


def test_exec_in_a_sub_cgroup(run: Run, web: str) -> None:
    directory = Path(_groups(run)["memory"])
    (directory / "sub").mkdir()
    try:
        shown = run("exec", "--cgroup", "memory:sub", "web", "cat", "/proc/self/cgroup").stdout
        assert [line for line in shown.splitlines() if line.endswith("/sub")] == [
            line for line in shown.splitlines() if ":memory:" in line
        ]
        assert "unknown controller tea" in run("exec", "--cgroup", "tea:sub", "web", "true").stderr
        assert "bad sub cgroup path: ../web" in run("exec", "--cgroup", "../web", "web", "true").stderr
        missing = run("exec", "--cgroup", "memory:none", "web", "true")
        assert (missing.returncode, "no such file or directory" in missing.stderr) == (255, True)
    finally:
        (directory / "sub").rmdir()


def _groups(run: Run) -> dict[str, str]:
    groups = hierarchies.probe_hierarchies()
    return groups.paths_of(_pid(run))


def test_a_container_without_a_cgroup(run: Run, bundle: Path) -> None:
    config = bundles.make_config("sleep", "1000")
    _configure(bundle, config)
    refused = run("--cgroup-manager=disabled", "run", "-d", "web")
    assert "$.linux.resources: limits and rules for devices need a cgroup" in refused.stderr
    del config["linux"]["resources"]
    _configure(bundle, config)
    assert run("--cgroup-manager=disabled", "run", "-d", "web").stderr == ""
    assert hierarchies.probe_hierarchies().paths_of(_pid(run)) == hierarchies.probe_hierarchies().paths_of(os.getpid())
    assert json.loads(run("ps", "-f", "json", "web").stdout) == [_pid(run)]
    assert "the container has no cgroup" in run("pause", "web").stderr
    assert "the container has no cgroup" in run("update", "--memory", "50M", "web").stderr
    pid_fd = os.pidfd_open(_pid(run))
    assert run("kill", "-a", "web", "KILL").stderr == ""
    _await_end(pid_fd)
    assert run("delete", "web").stderr == ""


def test_a_config_elsewhere(run: Run, bundle: Path) -> None:
    (bundle / "elsewhere").mkdir()
    (bundle / "elsewhere" / "other.json").write_text(json.dumps(bundles.make_config("echo", "other")))
    assert run("run", "--config", "elsewhere/other.json", "web").stdout == "other\n"
    (bundle / "broken.json").write_text('{"ociVersion": "1.0.2",\n "process": nothing}')
    broken = run("run", "--config", "broken.json", "web")
    assert broken.stderr == f"pilot: run web: {bundle}/broken.json: $: not JSON: line 2, column 13\n"


def test_a_pidfd_is_handed_over(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("sleep", "1000"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bundle / "pidfd.sock"))
        listener.listen()
        assert run("create", "--pidfd-socket", "pidfd.sock", "web").stderr == ""
        assert _received_pidfd(listener) == (b"standard", _pid(run))
        run("start", "web")
        assert (
            run("exec", "-d", "--pid-file", "pid", "--pidfd-socket", "pidfd.sock", "web", "sleep", "1000").stderr == ""
        )
        assert _received_pidfd(listener) == (b"setns", int((bundle / "pid").read_text()))
    assert "connect to pidfd socket none: no such file" in run("create", "--pidfd-socket", "none", "other").stderr


def _received_pidfd(listener: socket.socket) -> tuple[bytes, int]:
    connection, _ = listener.accept()
    with connection:
        name, fds, _, _ = socket.recv_fds(connection, 100, 1)
    info = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    os.close(fds[0])
    return name, int(re.findall(r"^Pid:\t(\d+)", info, re.MULTILINE)[0])


@pytest.mark.parametrize(
    "verb", ["list", "state web", "kill web 0", "ps web", "exec web true", "pause web", "features"]
)
def test_every_verb_keeps_a_log(run: Run, web: str, bundle: Path, verb: str) -> None:
    done = run("--debug", "--log", "log", "--log-format", "json", *verb.split())
    assert done.stderr == ""
    rows = [json.loads(line) for line in (bundle / "log").read_text().splitlines()]
    assert {row["level"] for row in rows} == {"debug"}
    assert all(set(row) == {"level", "msg", "time"} for row in rows)
    on_stderr = run("--debug", *verb.split()).stderr.splitlines() if verb != "pause web" else []
    assert all(re.fullmatch(r'time="[^"]+" level=debug msg=".*"', line) for line in on_stderr)


def test_logs_that_there_cannot_be(run: Run) -> None:
    assert run("--log-format", "xml", "list").stderr == "pilot: invalid log-format: xml\n"
    done = run("--log", "none/log", "list")
    assert (done.returncode, done.stderr.endswith("none/log: no such file or directory\n")) == (1, True)
    json_error = json.loads(run("--log-format", "json", "state", "none").stderr)
    assert (json_error["level"], json_error["msg"]) == ("error", "state none: container does not exist")


def test_wrong_values_are_told_in_one_line(run: Run, web: str) -> None:
    for words, status in (
        ("update --cpu-period x web", 1),
        ("ps --format xml web", 1),
        ("exec --user x web true", 255),
    ):
        done = run(*words.split())
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert run("exec").returncode == 255


UNRUNNABLE = {"badinterp": (b"#!/nowhere/sh\n", 127), "noexec": (b"\0\1not a program", 126)}


@pytest.mark.requires("runc")
@pytest.mark.parametrize("name", UNRUNNABLE)
def test_what_cannot_be_executed_after_all_is_told(run: Run, bundle: Path, name: str) -> None:
    """Found and executable, and refused by execve(2): by the process itself, in the words of runc."""
    content, status = UNRUNNABLE[name]
    program = bundle / "rootfs/bin" / name
    program.write_bytes(content)
    program.chmod(0o755)
    _configure(bundle, {**bundles.make_config(name), "ociVersion": "1.0.2"})
    by_runc = run("run", "web", runtime=("runc",)).stderr.rpartition(": ")[2].strip()
    done = run("run", "web")
    assert (done.returncode, done.stderr.startswith(f"pilot: exec {name}: {by_runc}")) == (status, True)
    with (bundle / "stderr").open("w+") as stderr:
        assert run("create", "web", stderr=stderr).returncode == 0
        assert run("start", "web").returncode == 0
        _await_status(run, "stopped")
        assert (bundle / "stderr").read_text().startswith(f"pilot: exec {name}: {by_runc}")
    run("delete", "web")
    _configure(bundle, bundles.make_config("sleep", "1000"))
    run("run", "-d", "web")
    done = run("exec", "web", name)
    assert (done.returncode, done.stderr.startswith(f"pilot: exec web: exec {name}: {by_runc}")) == (255, True)


_NO_PROGRAMS = {
    "/etc": "is a directory",
    "/loop": "stat /loop: too many levels of symbolic links",
    "/bin/busybox/x": "stat /bin/busybox/x: not a directory",
    "/nonesuch": "stat /nonesuch: no such file or directory",
    "nonesuch": "executable file not found in $PATH",
}


def test_what_is_no_program_is_told_in_its_way(run: Run, web: str, bundle: Path) -> None:
    (bundle / "rootfs/loop").symlink_to("loop")
    said = {name: run("exec", "web", name).stderr for name in _NO_PROGRAMS}
    assert said == {name: f'pilot: exec web: exec: "{name}": {why}\n' for name, why in _NO_PROGRAMS.items()}


def test_two_dashes_end_the_options_of_exec(run: Run, web: str) -> None:
    """Before the id and behind it, as in the manual page of runc; later ones are the command's."""
    assert run("exec", "web", "--", "echo", "one").stdout == "one\n"
    assert run("exec", "--", "web", "echo", "--").stdout == "--\n"
    assert "exec args cannot be empty" in run("exec", "web", "--").stderr


@pytest.mark.parametrize("name", ["nonesuch", "no-interpreter"])
def test_what_was_never_executed_is_kept(run: Run, bundle: Path, name: str) -> None:
    """With --keep: whether it was not found, or was refused by execve(2)."""
    program = bundle / "rootfs/bin/no-interpreter"
    program.write_text("#!/nonesuch\n")
    program.chmod(0o755)
    _configure(bundle, bundles.make_config(name))
    assert run("run", "--keep", "web").returncode != 0
    assert json.loads(run("state", "web").stdout)["status"] == "stopped"
    assert "given ID already exists" in run("run", "--keep", "web").stderr
    assert run("delete", "web").stderr == ""


def test_arguments_that_are_too_long(run: Run, web: str, bundle: Path) -> None:
    process = {"args": ["echo", "x" * (1 << 18)], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (bundle / "process.json").write_text(json.dumps(process))
    done = run("exec", "-p", "process.json", "web")
    assert (done.returncode, done.stderr) == (255, "pilot: exec web: exec echo: argument list too long\n")


@pytest.mark.parametrize("name", ["seccomp", ".seccomp", ".notify", ".new-1", "planner"])
def test_every_id_may_be_a_containers(run: Run, bundle: Path, tmp_path: Path, name: str) -> None:
    config = bundles.make_config()
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    _configure(bundle, config)
    assert run("create", name).stderr == ""
    (root,) = tmp_path.glob("root-*")
    assert os.listdir(root) == run("list", "-q").stdout.split() == [name]
    run("delete", "-f", name)
    assert os.listdir(root) == []


def test_several_are_deleted_by_an_expression(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config())
    for name in ("web-1", "web-2", "other"):
        run("create", name)
    assert run("delete", "-f", "--regex", "^web-").stderr == ""
    assert run("list", "-q").stdout == "other\n"
    assert "invalid regular expression '('" in run("delete", "--regex", "(").stderr


MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "a mount of what is not there": (
        {"mounts": [{"destination": "/data", "source": "/not/there", "options": ["rbind"]}]},
        '$.mounts[0]: error mounting "/not/there" to rootfs at "/data": no such file or directory',
    ),
    "a filesystem that there is not": (
        {"mounts": [{"destination": "/data", "source": "none", "type": "nofs"}]},
        '$.mounts[0]: error mounting "none" to rootfs at "/data": no such device',
    ),
    "a rootfs that is not there": (
        {"root": {"path": "nothing"}},
        "$.root.path: invalid rootfs: {bundle}/nothing: no such file or directory",
    ),
    "a working directory that is a file": (
        {"process": {**bundles.make_config("true")["process"], "cwd": "/bin/sh"}},
        'chdir to cwd ("/bin/sh") set in config.json failed: not a directory',
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_errors_say_what_the_document_says(run: Run, bundle: Path, name: str) -> None:
    changes, text = MISTAKES[name]
    _configure(bundle, {**bundles.make_config("true"), **changes})
    assert run("run", "web").stderr == f"pilot: run web: {text.format(bundle=bundle)}\n"


@pytest.mark.requires("runc")
def test_capabilities_that_will_not_be_there_are_warned_of(run: Run, bundle: Path) -> None:
    config = bundles.make_config("true")
    sets = config["process"]["capabilities"]
    sets["bounding"] = [*sets["bounding"], "CAP_TEA", "CAP_COFFEE"]
    sets["ambient"] = ["CAP_KILL"]
    _configure(bundle, {**config, "ociVersion": "1.0.2"})
    warned = "ignoring unknown or unavailable capabilities: [CAP_COFFEE CAP_TEA]"
    assert warned in run("run", "web", runtime=("runc",)).stderr
    done = run("run", "web")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"pilot: warning: {warned}",
        "pilot: warning: can't raise ambient capability CAP_KILL: operation not permitted",
    ]


def test_a_newline_of_a_terminal_in_the_foreground(run: Run, bundle: Path) -> None:
    """As runc: whoever stands in front of the terminal makes what he likes of a newline."""
    _configure(bundle, bundles.make_config("sh", "-c", "echo one; echo two", terminal=True))
    assert run("run", "web").stdout == "one\ntwo\n"
    _configure(bundle, bundles.make_config("sleep", "1000"))
    run("run", "-d", "web")
    assert run("exec", "-t", "web", "sh", "-c", "echo one; echo two").stdout == "one\ntwo\n"


def test_a_poststart_hook_that_fails_ends_the_container(run: Run, bundle: Path) -> None:
    """The specification: an error, the container is stopped, and the lifecycle goes on with its destruction."""
    hooks = {"poststart": [{"path": "/bin/false"}], "poststop": [{"path": "/bin/touch", "args": ["touch", "gone"]}]}
    _configure(bundle, {**bundles.make_config(), "hooks": hooks})
    run("create", "web")
    done = run("start", "web")
    assert (done.returncode, "error running poststart hook #0: exit status 1" in done.stderr) == (1, True)
    assert (run("list", "-q").stdout, (bundle / "gone").exists()) == ("", True)
    assert run("run", "web").returncode == 1
    assert run("list", "-q").stdout == ""


DEADLINES = {
    "requires `runtime`": {"deadline": 20000000, "period": 20000000},
    "requires `deadline`": {"runtime": 10000000},
    "runtime must be greater than 0": {"runtime": 0, "deadline": 20000000},
    "runtime (3000000) must be <= deadline (2000000)": {"runtime": 3000000, "deadline": 2000000, "period": 4000000},
    "deadline (5000000) must be <= period (4000000)": {"runtime": 3000000, "deadline": 5000000, "period": 4000000},
    "runtime (1) must be between 1024 and 9223372036854775807": {"runtime": 1, "deadline": 2000, "period": 2000},
}


@pytest.mark.parametrize("problem", DEADLINES)
def test_deadlines_that_there_cannot_be(run: Run, bundle: Path, problem: str) -> None:
    _configure(bundle, bundles.make_config("true", scheduler={"policy": "SCHED_DEADLINE", **DEADLINES[problem]}))
    told = f"pilot: run web: $.process.scheduler: sched_setattr: `SCHED_DEADLINE` {problem}\n"
    assert run("run", "web").stderr == told


def test_ids_that_there_cannot_be(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("true"))
    assert "invalid container ID format: 'a/b': invalid character '/'" in run("create", "a/b").stderr
    assert "invalid container ID format: '..'" in run("create", "..").stderr


def test_exec_adds_capabilities_that_there_are(run: Run, web: str) -> None:
    shown = run("exec", "--cap", "CAP_SYS_TIME", "web", "cat", "/proc/self/status")
    effective = next(line for line in shown.stdout.splitlines() if line.startswith("CapEff"))
    assert (int(effective.split()[1], 16) >> 25 & 1, shown.stderr) == (1, "")
    done = run("exec", "--cap", "CAP_TEA", "web", "true")
    warning = "pilot: warning: ignoring unknown or unavailable capabilities: [CAP_TEA]\n"
    assert (done.returncode, done.stderr) == (0, warning)
