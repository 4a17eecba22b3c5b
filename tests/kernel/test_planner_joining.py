"""Callers with other mounts than the planner's: served, by one that sees what they see, and nothing of anybody else's.

What is not served ends in a command line that does nothing but say so (`front.COLD`). What a caller has mounted is in a
mount namespace of its own, which a shell below `unshare` makes and leaves to the command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import bundles, front

import pilot
from pilot.planner import build, identity
from pilot.runtime import Runtime
from pilot.spec.state import Status

pytestmark = pytest.mark.requires("root", "private", "busybox")

Done = subprocess.CompletedProcess[str]
_DEADLINE_S = 60.0


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _descriptors(pid: int) -> set[str]:
    """What they lead to; they may come and go meanwhile."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return found


class Caller:
    """`pilot`, in a mount namespace of its own each time, after what `prepare` says to a shell."""

    def __init__(self, program: Path, socket: Path, bundle: Path) -> None:
        self.program = program
        self.bundle = bundle
        self.root = bundle.parent / "root"
        self.environment = {**os.environ, "PILOT_PLANNER": str(socket)}

    def command(self, prepare: str, *words: str) -> list[str]:
        script = f'set -e; {prepare}\nexec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "-", str(self.program), "--root", str(self.root), *words]

    def __call__(self, *words: str, prepare: str = "", **more: Any) -> Done:
        out, err = self.bundle.parent / "out", self.bundle.parent / "err"  # files: a detached container keeps them
        with out.open("w") as stdout, err.open("w") as stderr:
            given = {"cwd": self.bundle, "stdin": subprocess.DEVNULL, "env": self.environment, **more}
            command = self.command(prepare, *words)
            status = subprocess.run(command, check=False, timeout=60, stdout=stdout, stderr=stderr, **given).returncode
        return subprocess.CompletedProcess(words, status, out.read_text(), err.read_text())

    @contextlib.contextmanager
    def begun(self) -> Iterator[subprocess.Popen[bytes]]:
        """A `run` in the foreground whose process says "ready" first, when it is attended to."""
        words = self.command("", "run", "web")
        with subprocess.Popen(words, cwd=self.bundle, stdin=-1, stdout=-1, stderr=-1, env=self.environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            _await(lambda: "anon_inode:[signalfd]" in _descriptors(process.pid))
            yield process


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`pilot` by what it becomes when it is not served."""
    found = {}
    for name, cold in (("unserved", front.unserved), ("python", front.python)):
        directory = tmp_path_factory.mktemp(name)
        found[name] = front.compile_front(directory, build.digest(), cold(directory))
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the planner listens that serves most of these tests."""
    directory = tmp_path_factory.mktemp("planner")
    with front.planner(directory) as process:
        front.digest_of(process)
        yield directory / "socket"


@pytest.fixture
def caller(fronts: dict[str, Path], shared: Path, bundle: Path) -> Iterator[Caller]:
    found = Caller(fronts["unserved"], shared, bundle)
    yield found
    for container in Runtime(str(found.root)).list():
        container.delete(force=True)


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """One of the test's own, which it may kill."""
    with front.planner(tmp_path) as process:
        front.digest_of(process)
        yield process


def _configure(bundle: Path, *args: str, **changes: Any) -> None:
    (bundle / "config.json").write_text(json.dumps({**bundles.make_config(*args), **changes}))


# ---- they are served ------------------------------------------------------------------------------------------------

# All that is in the caller's namespace where the code of a planner is elsewhere: an empty directory.
_NO_CODE = "; ".join(
    f"mount -t tmpfs none {directory}"
    for directory in sorted(
        {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(pilot.__file__).parent)}
    )
)


@pytest.mark.parametrize("prepare", ["", _NO_CODE], ids=["plain", "without any code of Python's"])
def test_every_verb_of_a_life(caller: Caller, bundle: Path, prepare: str) -> None:
    """Nothing is loaded from what the caller has at the places of our code."""
    _configure(bundle, "sh", "-c", "trap 'exit 3' TERM; echo ready >&2; while :; do sleep 0.1; done")

    def done(*words: str) -> str:
        found = caller(*words, prepare=prepare)
        assert (found.returncode, words) == (0, words), found.stderr
        return found.stdout

    done("create", "--pid-file", "pid", "web")
    pid = int((bundle / "pid").read_text())
    assert json.loads(done("state", "web"))["status"] == "created"
    done("start", "web")
    _await(lambda: "ready" in (bundle.parent / "err").read_text() or bool(caller("state", "web").stdout))
    assert done("exec", "web", "sh", "-c", "echo in") == "in\n"
    assert pid in json.loads(done("ps", "--format", "json", "web"))
    assert "pids" in json.loads(done("events", "--stats", "web"))["data"]
    done("pause", "web")
    assert json.loads(done("list", "--format", "json"))[0]["status"] == "paused"
    done("resume", "web")
    done("update", "--pids-limit", "50", "web")
    assert "ociVersionMax" in json.loads(done("features"))
    done("kill", "web", "KILL")
    _await(lambda: json.loads(done("state", "web"))["status"] == "stopped")
    done("delete", "web")
    assert Runtime(str(caller.root)).list() == []


def test_run_gives_output_and_status(caller: Caller, bundle: Path) -> None:
    _configure(bundle, "sh", "-c", "cat; echo err >&2; exit 7")
    (bundle / "in").write_text("typed\n")
    with (bundle / "in").open() as stdin:
        done = caller("run", "web", stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr) == (7, "typed\n", "err\n")


def test_under_a_seccomp_profile(caller: Caller, bundle: Path) -> None:
    """The library that compiles it is not looked for among the caller's."""
    config = bundles.make_config("sh", "-c", "mkdir /tmp/x || echo refused")
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    (bundle / "config.json").write_text(json.dumps(config))
    done = caller("run", "web", prepare="mount -t tmpfs none /usr/lib/$(uname -m)-linux-gnu")
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


# ---- what they see is theirs ----------------------------------------------------------------------------------------


def test_another_bundle_at_the_same_path(caller: Caller, bundle: Path, tmp_path: Path) -> None:
    """Its config.json, its rootfs: the planner's own hold other ones."""
    _configure(bundle, "echo", "the planner's")
    other = bundles.make_bundle(tmp_path / "other")
    _configure(other, "sh", "-c", "echo the caller\\'s; cat /mark")
    (other / "rootfs/mark").write_text("of the caller's rootfs\n")
    done = caller("run", "web", prepare=f"mount --bind {other} {bundle}; cd {bundle}")
    assert (done.returncode, done.stdout) == (0, "the caller's\nof the caller's rootfs\n"), done.stderr


def test_another_state_root_at_the_same_path(caller: Caller, bundle: Path) -> None:
    """A container of the same name is another one."""
    _configure(bundle, "sleep", "1000")
    assert caller("run", "-d", "web").returncode == 0
    hidden = f"mount -t tmpfs none {caller.root}"
    assert caller("state", "web", prepare=hidden).returncode == 1
    assert caller("list", "-q", prepare=hidden).stdout == ""
    assert caller("list", "-q").stdout == "web\n"


def test_sources_and_hooks_are_the_callers(caller: Caller, bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    mount = {"destination": "/tmp", "source": str(place), "type": "bind", "options": ["bind", "ro"]}
    hook = {"path": str(place / "hook"), "args": ["hook"]}
    config = bundles.make_config("cat", "/tmp/file")
    config["mounts"].append(mount)
    (bundle / "config.json").write_text(json.dumps({**config, "hooks": {"createRuntime": [hook]}}))
    prepare = (
        f"mount -t tmpfs none {place}; echo there >{place}/file;"
        f" printf '#!/bin/sh\\ncp {place}/file {bundle}/hooked\\n' >{place}/hook; chmod +x {place}/hook"
    )
    done = caller("run", "web", prepare=prepare)
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
    assert (bundle / "hooked").read_text() == "there\n"
    assert list(place.iterdir()) == []


def test_its_cgroups_are_where_the_caller_has_them(caller: Caller, bundle: Path) -> None:
    """Without any, there is nowhere to make one: what the planner has found out for itself does not count."""
    _configure(bundle, "true")
    done = caller("run", "web", prepare="umount -R -l /sys/fs/cgroup")
    cold = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'umount -R -l /sys/fs/cgroup; exec "$@"', "-",
         sys.executable, "-m", "pilot.command", "--root", caller.root, "run", "web"],
        cwd=bundle, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_file_of_the_caller_forbids_it(caller: Caller, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "true")
    other = tmp_path / "etc"
    (other / "pilot").mkdir(parents=True)
    (other / "pilot/no-planner").touch()
    assert caller("run", "web", prepare=f"mount --bind {other} /etc").returncode == front.COLD
    assert caller("run", "web").returncode == 0


@pytest.mark.parametrize(
    "prepare",
    ["umount -R -l /proc", "unshare --pid --fork mount -t proc proc /proc", "mount -t tmpfs none /proc"],
    ids=["none", "of another pid namespace", "something else"],
)
def test_who_has_another_proc_is_not_served(caller: Caller, bundle: Path, prepare: str) -> None:
    """Whose process is meant by a pid there, nobody can say."""
    _configure(bundle, "true")
    assert caller("run", "web", prepare=prepare).returncode == front.COLD
    assert not caller.root.exists()


# ---- root directories -----------------------------------------------------------------------------------------------


@pytest.fixture
def chroot(tmp_path: Path, bundle: Path) -> Iterator[Path]:
    """A root directory with what a command line needs, and `bundle` at the same path, with another config.json."""
    place = tmp_path / "newroot"
    inside = place / str(bundle)[1:]
    place.mkdir()
    subprocess.run(["mount", "--bind", place, place], check=True, timeout=10)  # a root that mounts may be made below
    for name in ("proc", "sys", "dev", "run", str(tmp_path)[1:]):
        (place / name).mkdir(parents=True, exist_ok=True)
    for name in ("proc", "sys", "dev"):
        subprocess.run(["mount", "--rbind", f"/{name}", place / name], check=True, timeout=10)
    subprocess.run(["cp", "-a", bundle, inside], check=True, timeout=60)
    _configure(inside, "echo", "of the new root")
    _configure(bundle, "echo", "of the old root")
    yield place
    subprocess.run(["umount", "-R", "-l", place], check=True, timeout=10)


def test_below_another_root_directory(caller: Caller, fronts: dict[str, Path], shared: Path, chroot: Path) -> None:
    """In the planner's own mount namespace: paths begin at the caller's root."""
    for directory in (fronts["unserved"].parent, shared.parent):
        inside = chroot / str(directory)[1:]
        inside.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", directory, inside], check=True, timeout=10)
    words = ["--root", str(caller.root), "run", "--bundle", str(caller.bundle), "web"]
    done = subprocess.run(
        ["chroot", str(chroot), str(caller.program), *words], env=caller.environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "of the new root\n", "")


def test_the_same_directory_on_another_mount_is_another_root(tmp_path: Path) -> None:
    """What is mounted below the one is not below the other."""
    place = tmp_path / "slash"
    place.mkdir()
    subprocess.run(["mount", "--bind", "/", place], check=True, timeout=10)
    try:
        with subprocess.Popen(["chroot", place, "sh", "-c", "echo; read line"], stdin=-1, stdout=-1) as process:
            assert process.stdout is not None
            process.stdout.readline()
            found, own = identity.Identity(process.pid), identity.Identity("self")
            process.communicate(b"\n", timeout=30)
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=10)
    assert found != own
    assert found.differs_in_mounts_at_most(own)


# ---- who serves them ------------------------------------------------------------------------------------------------


def _processes(name: str, parent: int) -> list[int]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            if (directory / "comm").read_text().strip() == name and int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def test_nothing_is_known_before_a_child_has_joined() -> None:
    """No function that keeps what it has found out has been asked when the forker is forked."""
    code = (
        "import functools, gc\nfrom pilot.planner import joining, preload\npreload.load()\n"
        "kept = [f for f in gc.get_objects() if isinstance(f, functools._lru_cache_wrapper)]\n"
        "ours = [f for f in kept if (f.__module__ or '').startswith('pilot.')]\n"
        "assert ours\nprint(*(f.__qualname__ for f in ours if f.cache_info().currsize))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "\n"


def test_a_child_has_nothing_of_others(
    fronts: dict[str, Path], planner: subprocess.Popen[str], bundle: Path, tmp_path: Path
) -> None:
    """Neither the planner's socket nor another caller's, while it attends to a process."""
    _configure(bundle, "sh", "-c", "echo ready; read line; exit 5")
    with Caller(fronts["unserved"], tmp_path / "socket", bundle).begun() as process:
        (forker,) = _processes("pilot-forker", planner.pid)
        (child,) = _processes("pilot-joined", forker)
        assert os.readlink(f"/proc/{child}/ns/mnt") == os.readlink(f"/proc/{process.pid}/ns/mnt")
        shared = _descriptors(child) & _descriptors(planner.pid)
        assert {name for name in shared if name.startswith("socket:")} == set()
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 5
    _await(lambda: not _processes("pilot-joined", forker))


@pytest.mark.parametrize("whom", ["planner", "forker", "child"])
def test_the_status_of_a_process_is_not_lost(
    fronts: dict[str, Path], planner: subprocess.Popen[str], bundle: Path, tmp_path: Path, whom: str
) -> None:
    """Whoever is killed while it attends: with the planner all of them go."""
    _configure(bundle, "sh", "-c", "echo ready; read line; exit 5")
    caller = Caller(fronts["python"], tmp_path / "socket", bundle)
    with caller.begun() as process:
        (forker,) = _processes("pilot-forker", planner.pid)
        (child,) = _processes("pilot-joined", forker)
        os.kill({"planner": planner.pid, "forker": forker, "child": child}[whom], signal.SIGKILL)
        _await(lambda: not _is_alive(child))
        if whom == "planner":
            _await(lambda: not _is_alive(forker))
        _, err = process.communicate(b"\n", timeout=60)
    assert (process.returncode, err) == (5, b"pilot: the planner has gone meanwhile\n")
    assert Runtime(str(caller.root)).list() == []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_a_forker_they_are_not_served(
    fronts: dict[str, Path], planner: subprocess.Popen[str], bundle: Path, tmp_path: Path
) -> None:
    """All others are, and the planner ends as ever."""
    _configure(bundle, "true")
    (forker,) = _processes("pilot-forker", planner.pid)
    os.kill(forker, signal.SIGKILL)
    _await(lambda: not _is_alive(forker))
    caller = Caller(fronts["unserved"], tmp_path / "socket", bundle)
    assert caller("run", "web").returncode == front.COLD
    words = [str(caller.program), "--root", str(caller.root), "run", "web"]
    assert subprocess.run(words, cwd=bundle, env=caller.environment, check=False, timeout=60).returncode == 0
    planner.terminate()
    assert planner.wait(60) == 0


@pytest.mark.parametrize("place", ["packet 1", "packet 2", "packet 3", "sent 1", "sent 2", "sent 3"])
def test_create_is_done_once(fronts: dict[str, Path], tmp_path: Path, bundle: Path, place: str) -> None:
    """A child that dies at a packet: the command line makes the container, or has it made."""
    _configure(bundle, "sleep", "1000")
    command = (sys.executable, "-m", "tests.support.dying_planner", *place.split())
    with front.planner(tmp_path, *command) as process:
        front.digest_of(process)
        done = Caller(fronts["python"], tmp_path / "socket", bundle)("create", "web")
        assert done.returncode == 0, done.stderr
        (container,) = Runtime(str(tmp_path / "root")).list()
        assert container.status() is Status.CREATED
        container.delete(force=True)


def test_a_request_is_handed_on_as_it_came() -> None:
    from pilot.planner import messages

    request = messages.Request("digest", ("run", "", "web\udc80"), {"A": "1=2", "B": "", "\udcff": "x"})
    parsed = messages.parse_request(messages.parse_report(messages.format_request(request)))
    assert msgspec.structs.astuple(parsed) == msgspec.structs.astuple(request)


_UNWINDING = """
import os, socket, sys
from pilot.planner import joining

own = os.getpid()
try:
    forker = joining.Forker()
    read_fd, write_fd = os.pipe()
    socket.send_fds(forker._channel, [b"no request"], [write_fd])
    os.close(write_fd)
    os.read(read_fd, 1)  # the child has ended
    forker.close()
finally:
    os.write(1, b"of the planner " if os.getpid() == own else b"of a child ")
"""


def test_a_child_that_can_tell_nobody_of_its_error_ends() -> None:
    """What is above it in its stack is the planner's: it would be undone, first of all the name of its socket."""
    reader_fd, err_fd = os.pipe()
    os.close(reader_fd)
    try:
        done = subprocess.run([sys.executable, "-c", _UNWINDING], check=False, stdout=subprocess.PIPE, stderr=err_fd)
    finally:
        os.close(err_fd)
    assert (done.returncode, done.stdout) == (0, b"of the planner ")
