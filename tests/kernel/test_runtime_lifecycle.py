"""Create, start, exec, kill, delete on the real kernel, and what is left afterwards: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import bundles

from pilot import errors
from pilot.kernel import inroot, mounts
from pilot.kernel import process as process_
from pilot.runtime import Runtime, Spawned, Stdio, Terminal, liveness
from pilot.spec import parse
from pilot.spec.process import Process, User
from pilot.spec.state import Status

pytestmark = pytest.mark.requires("root", "private", "busybox")


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Mounts, cgroups, descriptors, processes and state are those of before."""
    before = _present(tmp_path)
    yield
    assert _present(tmp_path) == before


def _present(tmp_path: Path) -> dict[str, object]:
    root = tmp_path / "root"
    return {
        "mounts": [entry.mount_point for entry in mounts.read_mountinfo()],
        "cgroups": sorted(found for found, _, _ in os.walk("/sys/fs/cgroup")),
        "descriptors": _descriptors(),
        "processes": [pid for pid in sorted(os.listdir("/proc")) if pid.isdigit() and _runs(int(pid))],
        # Compiled filters are kept for whoever has the same profile.
        "state": sorted(set(os.listdir(root))) if root.exists() else [],
    }


@pytest.mark.usefixtures("nothing_left")
def test_status_follows_the_process(runtime: Runtime, bundle: Path) -> None:
    created = bundles.create(runtime, bundle, bundles.make_config("sleep", "1000"))
    container = created.container
    assert container.status() is Status.CREATED
    container.start()
    assert container.status() is Status.RUNNING
    assert runtime.load("web").pid == created.process.pid
    container.pause()
    assert runtime.load("web").status() is Status.PAUSED
    container.resume()
    assert container.status() is Status.RUNNING
    container.kill(signal.SIGKILL)
    assert runtime.wait(created.process, 10).signal == signal.SIGKILL
    assert container.status() is Status.STOPPED
    assert container.state().pid == 0
    container.delete()
    created.process.close()
    with pytest.raises(errors.NotFound):
        runtime.load("web")


@pytest.mark.usefixtures("nothing_left")
def test_exit_status_and_output(runtime: Runtime, bundle: Path) -> None:
    assert bundles.run_to_end(runtime, bundle, bundles.make_config("sh", "-c", "echo out; exit 7")) == (7, "out\n")


def test_home_comes_from_the_containers_passwd(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("sh", "-c", "echo $HOME", user={"uid": 7, "gid": 8})
    assert bundles.run_to_end(runtime, bundle, config) == (0, "/home/some\n")


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "not text"])
def test_a_passwd_that_is_none(runtime: Runtime, bundle: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """What the image has at that place is not opened when it is no regular file: a device would notice."""
    passwd = bundle / "rootfs/etc/passwd"
    passwd.unlink()
    make: dict[str, Callable[[], object]] = {
        "fifo": lambda: os.mkfifo(passwd),
        "device": lambda: os.mknod(passwd, stat.S_IFCHR | 0o666, os.makedev(5, 2)),
        "directory": passwd.mkdir,
        "not text": lambda: passwd.write_bytes(b"root:x:0:0::/\xff\xfe:/bin/sh\n\0\n"),
    }
    make[kind]()
    opened: list[int] = []
    original = inroot.open_in_root

    def open_noting(root_fd: int, path: str, flags: int) -> int:
        opened.append(flags)
        return original(root_fd, path, flags)

    monkeypatch.setattr(inroot, "open_in_root", open_noting)
    config = bundles.make_config("sh", "-c", "case $HOME in /*) exit 6;; esac")
    assert bundles.run_to_end(runtime, bundle, config) == (6, "")
    assert set(opened) <= {os.O_PATH}


def test_operations_that_do_not_fit_the_status(runtime: Runtime, bundle: Path) -> None:
    container = bundles.create(runtime, bundle, bundles.make_config()).container
    with pytest.raises(errors.Conflict, match="already exists"):
        bundles.create(runtime, bundle, bundles.make_config())
    with pytest.raises(errors.StateError, match="not paused"):
        container.resume()
    container.start()
    with pytest.raises(errors.StateError, match="cannot start an already running container"):
        container.start()
    with pytest.raises(errors.StateError, match="that is not stopped: running"):
        container.delete()
    container.pause()
    with pytest.raises(errors.StateError, match="paused"):
        container.exec(_process("true"), Stdio())


def _runs(pid: int) -> bool:
    """A zombie is only waiting for its parent, who may be pid 1 of this test; the kernel's own threads come and go."""
    return os.path.exists(f"/proc/{pid}/exe") and liveness.is_alive(pid, process_.start_time(pid))


def _descriptors() -> list[str]:
    """What our own descriptors are of; the one of the directory that is listed is gone when it is looked at."""
    numbers = os.listdir("/proc/self/fd")
    targets = (os.readlink(f"/proc/self/fd/{n}") for n in numbers if os.path.lexists(f"/proc/self/fd/{n}"))
    return sorted(target for target in targets if not target.startswith("/memfd:pilot-launch"))  # kept for all launches


def _process(*args: str, **more: object) -> Process:
    return parse.parse_process(parse.format_spec(Process(args=args, cwd="/", env=("PATH=/bin",), **more)))  # type: ignore[arg-type]


@pytest.fixture
def running(runtime: Runtime, bundle: Path) -> Runtime:
    bundles.create(runtime, bundle, bundles.make_config()).container.start()
    return runtime


def _output(runtime: Runtime, process: Process) -> tuple[int, str]:
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd) as output:
        try:
            spawned = runtime.load("web").exec(process, Stdio(None, write_fd, write_fd))
        finally:
            os.close(write_fd)
        text = output.read()
    return runtime.wait(spawned, 10).exit_code(), text


def test_exec_is_in_all_namespaces_and_in_the_cgroup(running: Runtime) -> None:
    container = running.load("web")
    spawned = container.exec(_process("sleep", "1000"), Stdio())
    for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        of_exec, of_init = (os.readlink(f"/proc/{pid}/ns/{name}") for pid in (spawned.pid, container.pid))
        assert of_exec == of_init
    assert sorted(container.processes()) == sorted([container.pid, spawned.pid])
    # The kernel keeps the first process of a pid namespace until all others are reaped, and this one is our child.
    signal.pidfd_send_signal(spawned.pid_fd, signal.SIGKILL)
    assert running.wait(spawned, 10).signal == signal.SIGKILL
    spawned.close()


def test_exec_as_another_user(running: Runtime) -> None:
    process = _process("sh", "-c", "id; echo $HOME", user=User(uid=7, gid=8, additional_gids=(9,)))
    assert _output(running, process) == (0, "uid=7(some) gid=8 groups=9\n/home/some\n")


def test_exec_on_a_terminal(running: Runtime) -> None:
    seen: list[Spawned] = []
    container = running.load("web")
    spawned = container.exec(
        _process("sh", "-c", "tty; stty size"), Stdio(), terminal=Terminal(10, 20), before_start=seen.append
    )
    assert seen == [spawned]
    assert running.wait(spawned, 10).exit_code() == 0
    assert spawned.master_fd is not None
    assert bundles.read_terminal(spawned.master_fd) == b"/dev/pts/0\r\n10 20\r\n"
    spawned.close()


def test_exec_passes_descriptors_and_nothing_else(running: Runtime, tmp_path: Path) -> None:
    with open(tmp_path / "passed", "w") as passed, open("/dev/null") as null:
        spawned = running.load("web").exec(
            _process("sh", "-c", "echo hello >&3; ls /proc/self/fd >&3"), Stdio(), pass_fds=(passed.fileno(),)
        )
        assert null.fileno() > 3
    assert running.wait(spawned, 10).exit_code() == 0
    # ls itself opens one more, the directory.
    assert (tmp_path / "passed").read_text() == "hello\n0\n1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("nonesuch",), r'exec: "nonesuch": executable file not found in \$PATH'),
        (("/etc/passwd",), r'exec: "/etc/passwd": permission denied'),
        (("/nonesuch",), r'exec: "/nonesuch": stat /nonesuch: no such file or directory'),
    ],
)
def test_what_cannot_be_executed(running: Runtime, args: tuple[str, ...], reason: str) -> None:
    with pytest.raises(errors.StepError, match=reason):
        running.load("web").exec(_process(*args), Stdio())


def test_an_error_before_start_ends_the_process(running: Runtime) -> None:
    seen: list[Spawned] = []

    def refuse(spawned: Spawned) -> None:
        seen.append(spawned)
        raise errors.PeerError("nobody to remember it")

    with pytest.raises(errors.PeerError):
        running.load("web").exec(_process("sleep", "1000"), Stdio(), before_start=refuse)
    assert not os.path.exists(f"/proc/{seen[0].pid}")


FAILURES = [
    ("a mount that the kernel refuses", {"mounts": [{"destination": "/x", "type": "nonesuch", "source": "x"}]},
     errors.StepError),
    ("a source that is not there", {"mounts": [{"destination": "/x", "type": "bind", "source": "/nonesuch",
                                                "options": ["bind"]}]}, errors.StepError),
    ("a hook that fails", {"hooks": {"createRuntime": [{"path": "/bin/false"}]}}, errors.HostError),
    ("a hook inside that fails", {"hooks": {"createContainer": [{"path": "/bin/false"}]}}, errors.StepError),
    ("a limit that cannot be", {"linux": {"resources": {"cpu": {"cpus": "4000"}}}}, errors.HostError),
    ("a program that is not there", {"process": {"args": ["nonesuch"]}}, errors.StepError),
    ("a rootfs that is not there", {"root": {"path": "nonesuch"}}, errors.HostError),
    ("a working directory that is a file", {"process": {"cwd": "/etc/passwd"}}, errors.StepError),
    ("a sysctl that the kernel refuses", {"linux": {"sysctl": {"kernel.shm_rmid_forced": "x"}}}, errors.StepError),
    ("a limit that cannot be raised", {"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2**62}]}},
     errors.StepError),
    ("a name that is too long", {"hostname": "a" * 100}, errors.StepError),
    ("a namespace that is not there", {"linux": {"namespaces": [
        {"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/nonesuch"}]}}, errors.HostError),
    ("a namespace of another kind", {"linux": {"namespaces": [
        {"type": "mount"}, {"type": "uts"}, {"type": "network", "path": "/proc/self/ns/uts"}]}}, errors.StepError),
    ("a device that is not there", {"linux": {"netDevices": {"nonesuch": {}}}}, errors.HostError),
    ("a listener that is not there", {"linux": {"seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonesuch",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}}}, errors.HostError),
    ("an action that there is not", {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NONE"}}}, errors.SpecError),
    ("a class of cache without resctrl", {"linux": {"intelRdt": {"closID": "gold"}}}, errors.HostError),
    ("a scheduler that there is not", {"process": {"scheduler": {"policy": "SCHED_NONE"}}}, errors.SpecError),
    ("a deadline that cannot be", {"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 5}}},
     errors.SpecError),
    ("a mount over proc", {"mounts": [{"destination": "/proc/self", "type": "tmpfs"}]}, errors.SpecError),
    ("a hook that is not there", {"hooks": {"prestart": [{"path": "/nonesuch"}]}}, errors.HostError),
    ("an idmap that is empty", {"linux": {"uidMappings": [], "gidMappings": []},
                                "mounts": [{"destination": "/x", "type": "bind", "source": "/tmp",
                                            "options": ["bind", "idmap"]}]}, errors.SpecError),
]  # fmt: skip


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("changes", "kind"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_a_failed_create_leaves_nothing(
    runtime: Runtime, bundle: Path, changes: dict[str, dict[str, object]], kind: type[Exception]
) -> None:
    config = bundles.make_config()
    for name, value in changes.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(kind):
        bundles.create(runtime, bundle, config)
    assert runtime.list() == []
    assert runtime._store.ids() == []


@pytest.mark.usefixtures("nothing_left")
def test_the_systemd_driver_without_systemd(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    runtime = Runtime(str(tmp_path / "root"), cgroup_driver="systemd")
    with pytest.raises(errors.HostError, match=r"start unit pilot-web\.scope: connect to the system bus"):
        bundles.create(runtime, bundle, bundles.make_config())
    assert runtime.list() == []


@pytest.mark.usefixtures("nothing_left")
def test_a_cgroup_that_others_live_in(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["linux"]["cgroupsPath"] = "shared"
    first = bundles.create(runtime, bundle, config, "first")
    with pytest.raises(errors.Conflict, match="cgroup is not empty: 1 process"):
        bundles.create(runtime, bundle, config, "second")
    assert first.container.status() is Status.CREATED
    first.container.delete(force=True)
    runtime.wait(first.process, 10)
    first.process.close()


@pytest.mark.requires("cgroup1")
@pytest.mark.usefixtures("nothing_left")
def test_a_cgroup_where_others_have_devices_only(runtime: Runtime, bundle: Path) -> None:
    """As in runc: they would be held to the container's rules."""
    config = bundles.make_config()
    config["linux"]["cgroupsPath"] = "/devices-of-others"
    theirs = Path("/sys/fs/cgroup/devices/devices-of-others")
    theirs.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            (theirs / "cgroup.procs").write_text(str(other.pid))
            with pytest.raises(errors.Conflict, match="cgroup is not empty: 1 process"):
                bundles.create(runtime, bundle, config)
        finally:
            other.kill()
    while (theirs / "cgroup.procs").read_text():
        time.sleep(0.01)
    theirs.rmdir()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_created_container_that_is_asked_to_end(runtime: Runtime, bundle: Path, number: int) -> None:
    """As in runc; as the first process of its pid namespace it would hear of none of these."""
    created = bundles.create(runtime, bundle, bundles.make_config())
    created.container.kill(signal.SIGUSR1)  # which is no such request: it is as it was
    assert created.container.status() is Status.CREATED
    created.container.kill(number)
    runtime.wait(created.process, 10)
    assert created.container.status() is Status.STOPPED
    created.container.delete()
    created.process.close()


@pytest.mark.usefixtures("nothing_left")
def test_a_creator_that_is_killed_leaves_what_delete_removes(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """It dies while a createRuntime hook runs: the process ends by itself, the rest goes with delete --force."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $$ > {fifo}\nexec sleep 1000 >/dev/null 2>&1\n")
    hook.chmod(0o755)
    config = bundles.make_config()
    config["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    (bundle / "config.json").write_bytes(parse.format_spec(bundles.parse_config(config)))
    program = "import sys; from pilot.runtime import Runtime; Runtime(sys.argv[1]).create('web', sys.argv[2])"
    creator = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "root"), str(bundle)])
    hook_pid = int(fifo.read_text())
    container = runtime.load("web")
    assert container.status() is Status.CREATING
    [first] = container.processes()
    pid_fd = os.pidfd_open(first)
    creator.kill()
    creator.wait()
    assert liveness.has_ended(pid_fd, 10)
    os.close(pid_fd)
    assert container.status() is Status.STOPPED
    container.delete(force=True)
    hook_fd = os.pidfd_open(hook_pid)
    signal.pidfd_send_signal(hook_fd, signal.SIGKILL)
    assert liveness.has_ended(hook_fd, 10)
    os.close(hook_fd)


@pytest.mark.usefixtures("nothing_left")
def test_one_that_ends_just_before_its_signal(runtime: Runtime, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else, or criu, ended it between the look and the kill: it does not run, and it can be deleted."""
    opened = liveness.opened_process

    @contextlib.contextmanager
    def ends_when_it_was_seen(pid: int, start_time: int) -> Iterator[int | None]:
        with opened(pid, start_time) as pid_fd:
            if pid_fd is not None:
                signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
                runtime.wait(created.process, 10)
            yield pid_fd

    created = bundles.create(runtime, bundle, bundles.make_config("sleep", "1000"))
    with monkeypatch.context() as patched:
        patched.setattr(liveness, "opened_process", ends_when_it_was_seen)
        with pytest.raises(errors.StateError, match="container not running"):
            created.container.kill(signal.SIGTERM)
    created.container.delete()
    created.process.close()

    created = bundles.create(runtime, bundle, bundles.make_config("sleep", "1000"))
    with monkeypatch.context() as patched:
        patched.setattr(liveness, "opened_process", ends_when_it_was_seen)
        created.container._kill_everything()
    created.container.delete()
    created.process.close()
