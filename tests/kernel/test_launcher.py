"""Programs run on the real kernel; what they did is read from /proc and from what they wrote."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import stat
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support import busybox

from pilot import errors
from pilot.kernel import launcher, waiter
from pilot.kernel.launcher import OnBarrier, Spawned
from pilot.plan import steps
from pilot.plan.abi import MountAttribute, MountFlag, Namespace, Propagation
from pilot.plan.program import Program, Step
from pilot.plan.steps import Slot

pytestmark = pytest.mark.requires("root", "private", "busybox")

OWN = Namespace.MOUNT | Namespace.PID | Namespace.UTS | Namespace.IPC
ROOT, OUT, HOST, NULL = Slot("root"), Slot("out"), Slot("host"), Slot("null")
CHILDREN = waiter.OwnChildren()


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox.make_rootfs(tmp_path_factory.mktemp("launch"))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No descriptor, child or mount of ours outlives a test."""
    before = _kernel_state()
    yield
    assert _kernel_state() == before


def _kernel_state() -> tuple[list[str], str, list[str]]:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    return sorted(os.listdir("/proc/self/fd")), children, mounts


def enter(rootfs: Path) -> tuple[Step, ...]:
    return (
        steps.SetPropagation("/", Propagation.PRIVATE),
        steps.OpenTree(ROOT, None, str(rootfs)),
        steps.Open(HOST, None, "/"),
        steps.AttachMount(ROOT, HOST, str(rootfs)),
    )


def shell(command: str) -> steps.Execute:
    return steps.Execute(("/bin/sh",), ("sh", "-c", command), ("PATH=/bin",))


def output(*slots: Slot | None) -> steps.InstallDescriptors:
    return steps.InstallDescriptors(slots or (NULL, OUT, OUT))


@contextlib.contextmanager
def launched(
    program: Program,
    descriptors: Mapping[str, int] | None = None,
    on_barrier: OnBarrier | None = None,
) -> Iterator[tuple[Spawned, int]]:
    """The process and the read end of its OUT; killed at the end if it still runs."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    bound = {"out": write_fd, "null": null_fd, **(descriptors or {})}
    try:
        spawned = launcher.launch(program, descriptors=bound, waiter=CHILDREN, on_barrier=on_barrier, timeout_s=30)
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        for descriptor in (write_fd, null_fd):
            os.close(descriptor)
    try:
        yield spawned, read_fd
    finally:
        os.close(read_fd)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(spawned.pid_fd, signal.SIGKILL)
        CHILDREN.wait(spawned, 30)
        for descriptor in (spawned.pid_fd, *spawned.descriptors.values()):
            os.close(descriptor)


def read_all(descriptor: int) -> str:
    data = b""
    while chunk := os.read(descriptor, 65536):
        data += chunk
    return data.decode()


def run(
    program: Program, descriptors: Mapping[str, int] | None = None, on_barrier: OnBarrier | None = None
) -> tuple[waiter.ExitStatus, str]:
    with launched(program, descriptors, on_barrier) as (spawned, out):
        text = read_all(out)
        return CHILDREN.wait(spawned, 30), text


def test_execute_in_new_namespaces(rootfs: Path) -> None:
    program = Program((*enter(rootfs), steps.PivotRoot(ROOT), steps.MountFilesystem("proc", ROOT, "proc"),
                       steps.SetHostname("box"), output(), shell("echo $$; hostname; ls /; exit 7")), OWN)  # fmt: skip
    status, text = run(program)
    assert status == waiter.ExitStatus(7)
    assert text.split() == ["1", "box", "bin", "dev", "etc", "proc", "root", "sys", "tmp"]


def test_mounts_are_what_was_asked_for(rootfs: Path) -> None:
    program = Program((*enter(rootfs),
        steps.MountFilesystem("proc", ROOT, "proc", attributes=MountAttribute.NOSUID | MountAttribute.NOEXEC),
        steps.MountFilesystem("tmpfs", ROOT, "dev", "tmpfs", (("mode", "755"),),
                              MountAttribute.NOSUID | MountAttribute.STRICTATIME),
        steps.BindMount("/etc/hostname", ROOT, "run/etc/hostname", set=MountAttribute.RDONLY),
        steps.Open(Slot("black"), None, "/dev/null"),
        steps.MaskPath(ROOT, "proc/timer_list", Slot("black")), steps.MaskPath(ROOT, "proc/bus", Slot("black")),
        steps.MaskPath(ROOT, "proc/not-there", Slot("black")), steps.ReadonlyPath(ROOT, "proc/sys"),
        steps.ReadonlyPath(ROOT, "nowhere"), steps.PivotRoot(ROOT), output(),
        shell("cat /proc/self/mountinfo; stat -c %a /dev; cat /proc/timer_list; ls /proc/bus; cat /run/etc/hostname"),
    ), OWN)  # fmt: skip
    _, text = run(program)
    lines = text.splitlines()
    mounts = {line.split()[4]: line for line in lines if " - " in line}
    assert set(mounts) == {"/", "/proc", "/dev", "/run/etc/hostname", "/proc/timer_list", "/proc/bus", "/proc/sys"}
    assert "nosuid,noexec,relatime" in mounts["/proc"]
    assert "rw,nosuid - tmpfs tmpfs" in mounts["/dev"]
    assert " ro," in mounts["/proc/sys"]
    assert " ro," in mounts["/run/etc/hostname"]
    assert " ro," in mounts["/proc/bus"]
    assert lines[len(mounts) :] == ["755", Path("/etc/hostname").read_text().strip()]
    (rootfs / "run/etc/hostname").unlink()
    (rootfs / "run/etc").rmdir()
    (rootfs / "run").rmdir()


def test_failure_names_the_step_and_leaves_nothing(rootfs: Path) -> None:
    program = Program((steps.SetHostname("x"), steps.Mount("none", "/not/there", "tmpfs"), shell("true")), OWN)
    with pytest.raises(errors.StepError) as raised, launched(program):
        pass
    assert (raised.value.index, raised.value.total, raised.value.errno) == (1, 3, errno.ENOENT)
    assert str(raised.value) == "mount tmpfs on /not/there: no such file or directory"
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("candidates", "number"),
    [
        (("/bin/missing", "/usr/bin/missing"), errno.ENOENT),
        (("/bin/missing", "/etc/passwd"), errno.EACCES),
        (("/tmp",), errno.EISDIR),
    ],
)
def test_executable_is_looked_for_before_exec(candidates: tuple[str, ...], number: int) -> None:
    with pytest.raises(errors.StepError) as raised, launched(Program((steps.FindExecutable(candidates),))):
        pass
    assert raised.value.errno == number


def test_exec_of_what_is_no_program_is_reported(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no magic")
    script.chmod(0o755)
    with pytest.raises(errors.StepError) as raised, launched(Program((steps.Execute((str(script),), ("x",), ()),))):
        pass
    assert raised.value.errno == errno.ENOEXEC


def test_clone_that_is_refused() -> None:
    with pytest.raises(errors.HostError, match="clone no namespaces: bad file descriptor"):
        launcher.launch(Program((), cgroup=Slot("cgroup")), descriptors={"cgroup": 1 << 20}, waiter=CHILDREN)


def test_descriptor_that_is_not_open() -> None:
    with pytest.raises(errors.HostError, match="clone mount: bad file descriptor"):
        launcher.launch(Program((steps.Close(OUT),), Namespace.MOUNT), descriptors={"out": 1 << 20}, waiter=CHILDREN)


def test_user_namespaces_beyond_the_limit() -> None:
    limit = Path("/proc/sys/user/max_user_namespaces")

    def forbid(name: str, process: Spawned) -> None:
        Path(f"/proc/{process.pid}/uid_map").write_text("0 0 1")

    outer = Program((steps.Barrier("idmap"), steps.WriteFile(None, str(limit), b"0"),
                     steps.Spawn(Namespace.USER)), Namespace.USER)  # fmt: skip
    with (
        pytest.raises(errors.StepError, match="spawn with new user: no space left on device"),
        launched(outer, None, forbid),
    ):
        pass


def test_barrier_calls_the_parent_and_receives_descriptors(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    note = tmp_path / "note"
    note.write_text("from the parent")
    note_fd = os.open(note, os.O_RDONLY | os.O_CLOEXEC)

    def on_barrier(name: str, process: Spawned) -> dict[str, int]:
        assert Path(f"/proc/{process.pid}/stat").read_text().split()[21] == str(process.start_time)
        seen.append((name, process.pid))
        return {"note": note_fd} if name == "second" else {}

    program = Program((steps.Barrier("first"), steps.Barrier("second", (Slot("note"),)),
                       output(Slot("note"), OUT), shell("cat; echo; echo $$")))  # fmt: skip
    _, text = run(program, on_barrier=on_barrier)
    os.close(note_fd)
    assert text.splitlines()[0] == "from the parent"
    pid = int(text.splitlines()[1])
    assert seen == [("first", pid), ("second", pid)]


def test_error_at_a_barrier_ends_the_process() -> None:
    def on_barrier(name: str, process: Spawned) -> None:
        raise errors.StateError("changed my mind")

    with (
        pytest.raises(errors.StateError),
        launched(Program((steps.Barrier("b"), shell("true"))), on_barrier=on_barrier),
    ):
        pass


def test_user_namespace_maps_are_written_at_a_barrier(rootfs: Path) -> None:
    def on_barrier(name: str, process: Spawned) -> None:
        Path(f"/proc/{process.pid}/setgroups").write_text("deny")
        Path(f"/proc/{process.pid}/gid_map").write_text("0 100000 1000")
        Path(f"/proc/{process.pid}/uid_map").write_text("0 100000 1000")

    program = Program((steps.Barrier("idmap"), steps.SetUser(0, 0), steps.SetPropagation("/", Propagation.SLAVE),
                       output(), shell("id -u; cat /proc/self/uid_map")), OWN | Namespace.USER)  # fmt: skip
    _, text = run(program, on_barrier=on_barrier)
    assert text.split() == ["0", "0", "100000", "1000"]


def test_parent_that_dies_at_a_barrier_takes_the_process_along(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    creator = os.fork()
    if creator == 0:

        def on_barrier(name: str, process: Spawned) -> None:
            os.write(write_fd, str(process.pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)

        launcher.launch(
            Program((steps.Barrier("b"), shell("sleep 100"))), descriptors={}, waiter=CHILDREN, on_barrier=on_barrier
        )
        os._exit(0)
    pid = int(os.read(read_fd, 100))
    with contextlib.suppress(ProcessLookupError):
        pid_fd = os.pidfd_open(pid)
        assert select.select([pid_fd], [], [], 30)[0]
        os.close(pid_fd)
    os.waitpid(creator, 0)
    os.close(read_fd)
    os.close(write_fd)


def test_release_and_start(tmp_path: Path) -> None:
    """The created status: launch has returned, nothing runs yet; a writer of the FIFO starts it."""
    fifo = tmp_path / "exec.fifo"
    os.mkfifo(fifo)
    fifo_fd = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
    written: list[str] = []
    program = Program((steps.Release(), steps.AwaitStart(Slot("fifo")), output(), shell("echo started; sleep 100")))
    with launched(program, {"fifo": fifo_fd}, lambda name, _: written.append(name)) as (spawned, out):
        os.close(fifo_fd)
        assert written == ["release"]
        assert not select.select([out], [], [], 0)[0]
        writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        os.write(writer, b"\0")
        os.close(writer)
        assert os.read(out, 100) == b"started\n"
        with pytest.raises(OSError, match="No such device"):  # ENXIO: nobody waits there any more
            os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        assert spawned.pid > 0


def test_killed_before_exec_is_told() -> None:
    def on_barrier(name: str, process: Spawned) -> None:
        signal.pidfd_send_signal(process.pid_fd, signal.SIGKILL)
        select.select([process.pid_fd], [], [], 30)

    with (
        pytest.raises(errors.PeerError, match="was killed before it executed"),
        launched(Program((steps.Barrier("b"), shell("true"))), on_barrier=on_barrier),
    ):
        pass


def test_no_descriptor_but_those_listed(rootfs: Path) -> None:
    leaked_fd = os.open("/", os.O_RDONLY)
    os.set_inheritable(leaked_fd, True)
    extra = (rootfs / "etc" / "extra").open("w+")
    program = Program((*enter(rootfs), steps.MountFilesystem("proc", ROOT, "proc"), steps.PivotRoot(ROOT),
                       output(None, OUT, OUT, Slot("extra"), OUT),
                       shell("ls /proc/self/fd; basename $(readlink /proc/self/fd/3)")), OWN)  # fmt: skip
    _, text = run(program, {"extra": extra.fileno()})
    os.close(leaked_fd)
    extra.close()
    # 0 was closed, so it is what ls itself opened: the directory.
    assert text.split() == ["0", "1", "2", "3", "4", "extra"]


def test_slots_that_collide_with_the_numbers_wanted(rootfs: Path) -> None:
    """Descriptors 0 and 1 of this process exchanged, and one descriptor bound twice."""
    (rootfs / "etc" / "a").write_text("A")
    a_fd = os.open(rootfs / "etc" / "a", os.O_RDWR | os.O_CLOEXEC)
    program = Program((steps.Close(Slot("b")), output(Slot("a"), OUT, OUT), shell("cat")))
    _, text = run(program, {"a": a_fd, "b": a_fd})
    os.close(a_fd)
    assert text == "A"


def test_second_stage_joins_the_namespaces_of_a_process(rootfs: Path) -> None:
    first = Program((*enter(rootfs), steps.MountFilesystem("proc", ROOT, "proc"), steps.PivotRoot(ROOT),
                     steps.SetHostname("first"), output(), shell("echo up; exec sleep 100")), OWN)  # fmt: skip
    kinds = Namespace.MOUNT | Namespace.PID | Namespace.UTS | Namespace.IPC
    second = Program((steps.JoinNamespace(Slot("target"), kinds), steps.Spawn(), output(),
                      shell("hostname; ls -d /proc/[0-9]*; readlink /proc/self/ns/pid")))  # fmt: skip
    with launched(first) as (target, out):
        assert os.read(out, 10) == b"up\n"
        status, text = run(second, {"target": target.pid_fd})
        lines = text.split()
        assert status == waiter.ExitStatus(0)
        assert lines[0] == "first"
        assert "/proc/1" in lines
        assert lines[-1] == os.readlink(f"/proc/{target.pid}/ns/pid")


def test_second_stage_is_our_child_with_a_pidfd() -> None:
    program = Program((steps.Unshare(Namespace.TIME),
                       steps.WriteFile(None, "/proc/self/timens_offsets", b"monotonic 86400 0\n"),
                       steps.Spawn(Namespace.PID),
                       steps.Barrier("b"), output(), shell("echo $$; cat /proc/uptime")))  # fmt: skip
    seen: list[int] = []
    with launched(program, on_barrier=lambda _, process: seen.append(process.pid)) as (spawned, out):
        assert seen == [spawned.pid]
        assert read_all(out).split()[0] == "1"
        assert CHILDREN.wait(spawned, 30) == waiter.ExitStatus(0)
        fields = Path(f"/proc/self/fdinfo/{spawned.pid_fd}").read_text()
        assert "Pid:\t-1" in fields  # reaped


def test_failure_after_the_second_stage_is_reported() -> None:
    program = Program((steps.Spawn(), steps.ChangeDirectory("/not/there")))
    with pytest.raises(errors.StepError, match="cd /not/there: no such file or directory"), launched(program):
        pass


def test_error_at_a_barrier_of_the_second_stage() -> None:
    def on_barrier(name: str, process: Spawned) -> None:
        raise errors.StateError("no")

    program = Program((steps.Spawn(), steps.Barrier("b"), shell("true")))
    with pytest.raises(errors.StateError), launched(program, on_barrier=on_barrier):
        pass


def test_making_paths_never_leaves_the_base(tmp_path: Path) -> None:
    base, outside = tmp_path / "base", tmp_path / "outside"
    base.mkdir()
    outside.mkdir()
    (base / "abs").symlink_to(outside)
    (base / "up").symlink_to("../../outside")
    (base / "nowhere").symlink_to("gone/dir")
    base_fd = os.open(base, os.O_PATH | os.O_CLOEXEC)
    ok = Program((steps.MakeDirectories(ROOT, "a/b//c/", 0o700), steps.MakeDirectories(ROOT, "up"),
                  steps.MakeSymlink(ROOT, "a/link", "b"), steps.MakeSymlink(ROOT, "a/link", "b"),
                  steps.MakeDirectories(ROOT, "a/link/../d"),
                  steps.MakeNode(ROOT, "a/null", stat.S_IFCHR | 0o666, 1, 3),
                  steps.Umask(0), steps.MakeNode(ROOT, "a/null", stat.S_IFCHR | 0o600, 1, 3, exist_ok=True),
                  steps.Open(OUT, ROOT, "a/file", os.O_WRONLY | os.O_CREAT, 0o640), steps.Write(OUT, b"text"),
                  steps.ChangeMode(OUT, 0o4711), steps.ChangeOwner(OUT, 5, 6)))  # fmt: skip
    status, _ = run(ok, {"root": base_fd})
    assert status == waiter.ExitStatus(0)
    # /outside does not exist inside the base, so `abs` and `up` are links to nowhere there: what they name is made.
    assert (base / "outside").is_dir()
    (base / "chain").symlink_to("a/second")
    (base / "a/second").symlink_to("../third/./x")
    (base / "loop").symlink_to("loop/x")
    for path, made in (("nowhere/x", "gone/dir/x"), ("abs/x", f"{outside}/x".lstrip("/")), ("chain", "third/x")):
        status, _ = run(Program((steps.MakeDirectories(ROOT, path),)), {"root": base_fd})
        assert status == waiter.ExitStatus(0)
        assert (base / made).is_dir()
    for path in ("loop", "loop/y"):
        with pytest.raises(errors.StepError, match="too many levels of symbolic links"):
            run(Program((steps.MakeDirectories(ROOT, path),)), {"root": base_fd})
    os.close(base_fd)
    assert list(outside.iterdir()) == []
    found = (base / "a" / "null").stat()
    assert (found.st_mode, found.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert (base / "a/b/c").stat().st_mode & 0o777 == 0o700
    assert (base / "a/d").is_dir()
    file = (base / "a/file").stat()
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (5, 6, 0o711)  # chown took the set-uid bit
    assert (base / "a/file").read_text() == "text"


def test_copy_up(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "deeper").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(os.urandom(300_000))
    (source / "deep" / "file").chmod(0o640)
    os.chown(source / "deep" / "file", 11, 12)
    os.utime(source / "deep" / "file", (1, 2))
    (source / "link").symlink_to("deep/file")
    os.mkfifo(source / "fifo")
    target = tmp_path / "target"
    target.mkdir()
    fds = {name: os.open(tmp_path / name, os.O_PATH | os.O_CLOEXEC) for name in ("source", "target")}
    assert run(Program((steps.CopyUp(Slot("source"), Slot("target")),)), fds)[0] == waiter.ExitStatus(0)
    for descriptor in fds.values():
        os.close(descriptor)
    copied = (target / "deep" / "file").stat()
    assert (target / "deep" / "file").read_bytes() == (source / "deep" / "file").read_bytes()
    assert (copied.st_mode & 0o777, copied.st_uid, copied.st_gid, copied.st_mtime) == (0o640, 11, 12, 2)
    assert os.readlink(target / "link") == "deep/file"
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
    assert (target / "deep" / "deeper").is_dir()


def test_privileges(rootfs: Path) -> None:
    keep = frozenset({0, 5})
    program = Program((steps.Umask(0o027), steps.SetLimit(7, 100, 200), steps.KeepCapabilities(),
                       steps.DropBoundingSet(keep), steps.SetGroups((7, 8)), steps.SetUser(1000, 1001),
                       steps.SetCapabilities(keep, keep, keep), steps.SetAmbientSet(frozenset({5})),
                       steps.NoNewPrivileges(),
                       steps.ChangeDirectory("/tmp"), output(),
                       shell("cat /proc/self/status; umask; ulimit -n; ulimit -Hn; pwd")))  # fmt: skip
    _, text = run(program)
    status = dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert status["Groups"].split() == ["7", "8"]
    masks = {name: int(status[name], 16) for name in ("CapBnd", "CapAmb", "CapEff", "CapInh")}
    assert masks == {"CapBnd": 0x21, "CapAmb": 0x20, "CapEff": 0x20, "CapInh": 0x21}
    assert status["NoNewPrivs"] == "1"
    assert text.splitlines()[-4:] == ["0027", "100", "200", "/tmp"]


def test_signals_are_as_after_boot() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, text = run(Program((output(), shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"))))
    signal.signal(signal.SIGHUP, old)
    assert {int(line.split()[1], 16) for line in text.splitlines()} == {0}


def test_scheduling_and_memory_policy() -> None:
    program = Program((steps.SetScheduler(3, nice=5), steps.SetIoPriority(2, 6),
                       steps.SetCpuAffinity(frozenset({0})),
                       steps.SetMemoryPolicy(2, frozenset({0})), steps.SetPersonality(8), output(),
                       shell("cd /proc/self; cat stat status numa_maps; ionice; uname -m")))  # fmt: skip
    _, text = run(program)
    fields = text.splitlines()[0].rpartition(")")[2].split()
    assert (fields[16], fields[38]) == ("5", "3")
    assert "Cpus_allowed_list:\t0\n" in text
    assert " bind:0 " in text
    assert "best-effort: prio 6" in text
    assert text.split()[-1] == "i686"


@pytest.mark.parametrize("number", [1, 38])
def test_seccomp(number: int) -> None:
    """A filter that answers EPERM to sethostname(2) of this architecture, or lets all pass."""
    call = 170 if os.uname().machine == "x86_64" else 161
    allow, refuse = 0x7FFF0000, 0x00050000 | number
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
    bpf = b"".join(struct.pack("<HBBI", *line) for line in code)
    program = Program((steps.NoNewPrivileges(), steps.Seccomp(bpf), steps.SetHostname("x")), Namespace.UTS)
    with pytest.raises(errors.StepError) as raised, launched(program):
        pass
    assert (raised.value.index, raised.value.errno) == (2, number)


def test_filter_that_kills_whoever_sends_a_message() -> None:
    """The launcher must not say a word after the filter."""
    sendmsg = 46 if os.uname().machine == "x86_64" else 211
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, sendmsg), (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)]
    bpf = b"".join(struct.pack("<HBBI", *line) for line in code)
    status, text = run(Program((output(), steps.Seccomp(bpf), shell("echo alive"))))
    assert (status, text) == (waiter.ExitStatus(0), "alive\n")


def test_process_that_says_nothing() -> None:
    """It waits for a start that does not come; the deadline is the caller's."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    program = Program((steps.AwaitStart(Slot("fifo")), shell("true")))
    with pytest.raises(errors.PeerError, match=r"no word for 0\.01 s"):
        launcher.launch(program, descriptors={"fifo": read_fd}, waiter=CHILDREN, timeout_s=0.01)
    os.close(read_fd)
    os.close(write_fd)


def test_seccomp_listener_is_sent() -> None:
    bpf = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    listener = Slot("listener")
    program = Program((steps.Seccomp(bpf, 1 << 3, listener), steps.SendDescriptor(listener), output(), shell("true")))
    with launched(program) as (spawned, _):
        assert "seccomp notify" in os.readlink(f"/proc/self/fd/{spawned.descriptors['listener']}")


def test_terminal_of_the_container(rootfs: Path) -> None:
    master, peer = Slot("master"), Slot("peer")
    program = Program((*enter(rootfs),
        steps.MountFilesystem("proc", ROOT, "proc"), steps.MountFilesystem("tmpfs", ROOT, "dev"),
        steps.MountFilesystem("devpts", ROOT, "dev/pts", options=(("newinstance", None), ("ptmxmode", "0666"))),
        steps.OpenTerminal(ROOT, master, peer, 33, 99, console="dev/console"), steps.SendDescriptor(master),
        steps.NewSession(), steps.ControllingTerminal(peer), steps.PivotRoot(ROOT), output(peer, peer, peer),
        shell("tty; stty size; ls -l /dev/console; ps -o tty,pid")), OWN)  # fmt: skip
    with launched(program) as (spawned, _):
        text = b""
        with contextlib.suppress(OSError):  # EIO: the last one who had the peer is gone
            while chunk := os.read(spawned.descriptors["master"], 4096):
                text += chunk
    lines = text.decode().splitlines()
    assert lines[0] == "/dev/pts/0"
    assert lines[1] == "33 99"
    assert "136,   0" in lines[2]


def test_descriptor_to_a_console_socket() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        program = Program((steps.SendTo(Slot("console"), NULL, b"/dev/ptmx"), output(), shell("true")))
        with launched(program, {"console": theirs.fileno()}):
            data, received, _, _ = socket.recv_fds(ours, 100, 1)
        assert data == b"/dev/ptmx"
        assert os.readlink(f"/proc/self/fd/{received[0]}") == "/dev/null"
        os.close(received[0])


def _hook(rootfs: Path, script: str, timeout_ms: int = 0) -> steps.RunHook:
    return steps.RunHook(str(rootfs / "bin/sh"), ("sh", "-c", script), ("HOOK=yes",), Slot("state"), timeout_ms)


def test_hooks_get_the_state_and_their_status_counts(rootfs: Path, tmp_path: Path) -> None:
    state = os.memfd_create("state", os.MFD_CLOEXEC)

    def on_barrier(name: str, process: Spawned) -> None:
        os.pwrite(state, json.dumps({"pid": process.pid}).encode(), 0)

    made = tmp_path / "made"
    hooks = (_hook(rootfs, f"cat > {made}; echo $HOOK >> {made}"), _hook(rootfs, f"cat >> {made}"))
    program = Program((steps.Barrier("hooks"), *hooks, output(), shell("echo $$")))
    _, text = run(program, {"state": state}, on_barrier)
    assert made.read_text() == f'{{"pid": {text.strip()}}}yes\n{{"pid": {text.strip()}}}'
    for script, timeout_ms, reason in (
        ("exit 3", 0, "exit status 3"),
        ("kill -9 $$", 0, "killed by signal 9"),
        ("kill -STOP $$", 1, "timed out"),
    ):
        with pytest.raises(errors.StepError, match=reason):
            run(Program((_hook(rootfs, script, timeout_ms),)), {"state": state})
    missing = steps.RunHook("/not/there", ("x",), (), Slot("state"))
    with pytest.raises(errors.StepError, match="run hook /not/there: no such file"):
        run(Program((missing,)), {"state": state})
    os.close(state)


def test_idmapped_mount_from_a_prepared_namespace(rootfs: Path) -> None:
    """Files of uid 0 appear as 0 in a user namespace whose 0 is 100000 outside."""

    def on_barrier(name: str, process: Spawned) -> None:
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{kind}").write_text("0 100000 65536")

    holder = Program((steps.Barrier("idmap"), output(), shell("echo up; exec sleep 100")), Namespace.USER)
    with launched(holder, on_barrier=on_barrier) as (held, out):
        assert os.read(out, 10) == b"up\n"
        userns_fd = os.open(f"/proc/{held.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    program = Program((steps.SetPropagation("/", Propagation.PRIVATE), steps.OpenTree(ROOT, None, str(rootfs)),
                       steps.SetMountAttributes(ROOT, idmap=Slot("userns")),
                       steps.Open(HOST, None, "/"), steps.AttachMount(ROOT, HOST, str(rootfs)), output(),
                       shell(f"stat -c %u {rootfs}/bin")), Namespace.MOUNT)  # fmt: skip
    _, text = run(program, {"userns": userns_fd})
    os.close(userns_fd)
    assert text == "100000\n"


def test_cgroup_by_descriptor() -> None:
    group = Path("/sys/fs/cgroup/unified")
    if not group.is_dir():
        pytest.skip("no cgroup v2 mount here")
    child = group / "launcher-test"
    child.mkdir()
    child_fd = os.open(child, os.O_PATH | os.O_CLOEXEC)
    program = Program((output(), shell("cat /proc/self/cgroup")), cgroup=Slot("group"))
    _, text = run(program, {"group": child_fd})
    os.close(child_fd)
    assert any(line.startswith("0::") and line.endswith("/launcher-test") for line in text.splitlines())
    procs = os.open(child / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    _, text = run(
        Program((steps.JoinCgroup(Slot("procs")), output(), shell("cat /proc/self/cgroup"))), {"procs": procs}
    )
    os.close(procs)
    assert "/launcher-test" in text
    child.rmdir()


def test_many_threads_launch(rootfs: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                _finish(Program((steps.Barrier("b"), steps.Spawn(), shell("true")), Namespace.MOUNT), lambda *_: None)
        except BaseException as error:  # noqa: BLE001 (told below, by the thread that can fail the test)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_launches_at_once_do_not_hold_each_other(rootfs: Path) -> None:
    """A process that waits at its barrier must not keep another's conversation open."""
    go = threading.Event()
    waiting = threading.Event()

    def hold(name: str, process: Spawned) -> None:
        waiting.set()
        assert go.wait(30)

    slow = threading.Thread(target=lambda: _finish(Program((steps.Barrier("b"), shell("true"))), hold))
    slow.start()
    assert waiting.wait(30)
    for _ in range(20):
        _finish(Program((shell("true"),)), None)
    go.set()
    slow.join(30)
    assert not slow.is_alive()


def _finish(program: Program, on_barrier: OnBarrier | None) -> None:
    spawned = launcher.launch(program, descriptors={}, waiter=CHILDREN, on_barrier=on_barrier, timeout_s=30)
    assert CHILDREN.wait(spawned, 30) == waiter.ExitStatus(0)
    os.close(spawned.pid_fd)


def test_classic_mounts_and_chroot(rootfs: Path) -> None:
    program = Program((steps.SetPropagation("/", Propagation.PRIVATE),
                       steps.Mount(str(rootfs), str(rootfs), None, MountFlag.BIND), steps.Open(ROOT, None, str(rootfs)),
                       steps.Mount("tmpfs", f"{rootfs}/tmp", "tmpfs", MountFlag.NODEV, "size=1m"),
                       steps.Unmount(f"{rootfs}/tmp", 0),
                       steps.ChangeRoot(ROOT), output(), shell("ls /")), Namespace.MOUNT)  # fmt: skip
    _, text = run(program)
    assert "bin" in text.split()


def test_working_directory_outside_the_root_is_refused(rootfs: Path) -> None:
    program = Program((*enter(rootfs), steps.MountFilesystem("proc", ROOT, "proc"), steps.PivotRoot(ROOT),
                       steps.ChangeDirectory("/proc/self/fd/HOST")), OWN)  # fmt: skip
    host_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    # The slot keeps its number in the process, so the number is known here.
    last = steps.ChangeDirectory(f"/proc/self/fd/{host_fd}")
    with pytest.raises(errors.StepError) as raised:
        run(Program((*program.steps[:-1], last), OWN), {"leak": host_fd})
    os.close(host_fd)
    assert raised.value.errno in (errno.EXDEV, errno.ENOENT)
