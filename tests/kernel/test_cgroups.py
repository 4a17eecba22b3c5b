"""Cgroups on whatever layout this machine has; what was done is read back from the cgroup files."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pilot import errors
from pilot.kernel import cgroups, hierarchies, kernfs
from pilot.kernel.cgroups import Cgroup
from pilot.plan.cgroup import Write
from pilot.plan.facts import CgroupMount

pytestmark = pytest.mark.requires("root", "private")

_NOBODY = 65534


@pytest.fixture(scope="module")
def host() -> hierarchies.Hierarchies:
    return hierarchies.probe_hierarchies()


@pytest.fixture
def group(host: hierarchies.Hierarchies, request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    made = Cgroup.create(host, f"/t/{request.node.name}")
    yield made
    made.kill()
    made.delete()


@contextlib.contextmanager
def _inside(
    inside: Cgroup,
    command: str = "exec sleep 100",
    *,
    stdin: int | None = None,
    stderr: int | None = None,
    uid: int = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that has joined a cgroup by its descriptors before it runs `command`; killed at the end."""
    fds = inside.join_descriptors()

    def join() -> None:
        for fd in fds:
            os.write(fd, b"0")

    process = subprocess.Popen(
        ["/bin/sh", "-c", command], preexec_fn=join,  # noqa: PLW1509 - this process has no other thread
        stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, user=uid, group=uid,
    )  # fmt: skip
    for fd in fds:
        os.close(fd)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _file(group: Cgroup, controller: str, name: str) -> str:
    directory = group.directory(controller)
    assert directory is not None
    return Path(directory, name).read_text().strip()


def test_a_directory_in_every_hierarchy(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    assert len(group.directories) == len(host.mounts)
    assert all(os.path.isdir(directory) for directory in group.directories)


def test_creating_again_keeps_what_is_there(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    with _inside(group) as process:
        again = Cgroup.create(host, "/t/" + os.path.basename(group.directories[0]))
        assert again.pids() == [process.pid]


def test_a_failed_create_leaves_nothing(host: hierarchies.Hierarchies) -> None:
    with pytest.raises(errors.HostError, match="invalid argument"):
        Cgroup.create(host, "/halfway/two\nlines")
    assert not Cgroup(host.paths("/halfway")).exists()


def test_a_process_joins_every_hierarchy(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    with _inside(group) as process:
        assert host.paths_of(process.pid) == group.paths
        assert group.pids() == [process.pid]


def test_no_descriptor_is_left(group: Cgroup) -> None:
    before = os.listdir("/proc/self/fd")
    with _inside(group):
        group.freeze()
        group.thaw()
        group.stats()
    group.oom_events().close()
    broken = Cgroup({**group.paths, "pids": "/nonexistent"})
    with pytest.raises(errors.HostError, match="/nonexistent"):
        broken.join_descriptors()
    group.kill()
    assert os.listdir("/proc/self/fd") == before


def test_a_process_is_moved_from_outside(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        group.add(process.pid)
        assert host.paths_of(process.pid) == group.paths
        process.kill()


def test_freeze_and_thaw(group: Cgroup) -> None:
    with _inside(group, "echo; while read x; do echo got $x; done", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert not group.frozen()
        group.freeze()
        assert group.frozen()
        process.stdin.write(b"1\n")
        process.stdin.flush()
        # Frozen processes of v1 are in state D, those of v2 in S: that it does not answer is what counts.
        assert select.select([process.stdout], [], [], 0.05)[0] == []
        group.thaw()
        assert process.stdout.readline() == b"got 1\n"
        assert not group.frozen()
        process.stdin.close()


def test_freezing_by_the_v1_freezer_alone(group: Cgroup) -> None:
    if "freezer" not in group.paths:
        pytest.skip("no v1 freezer")
    v1 = Cgroup({c: p for c, p in group.paths.items() if c})
    with _inside(group):
        v1.freeze()
        assert _file(v1, "freezer", "freezer.state") == "FROZEN"
        v1.kill()  # kills what it has frozen
        assert not v1.frozen()
        assert v1.pids() == []


@pytest.mark.parametrize("only_v1", [False, True])
def test_kill_ends_processes_that_keep_forking(group: Cgroup, only_v1: bool) -> None:
    if only_v1:
        group = Cgroup({c: p for c, p in group.paths.items() if c})
        if not group.paths:
            pytest.skip("no v1 hierarchy")
    group.apply([Write("pids", "pids.max", "60", optional=True)] if group.directory("pids") else [])
    # Each child starts another and ends: there is a new pid all the time.
    forker = "f() { (f) & }; echo; trap '' TERM; f; while :; do f; wait; done"
    with _inside(group, forker, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        group.kill()
        assert group.pids() == []
        assert process.wait(10) == -signal.SIGKILL


def test_kill_ends_what_was_frozen_below(group: Cgroup) -> None:
    """Who has the cgroup can make others in it, and freeze itself there: a frozen process of v1 is deaf to SIGKILL."""
    if "freezer" not in group.paths:
        pytest.skip("no v1 freezer")
    with _inside(group) as process:
        below = os.path.join(group.paths["freezer"], "below", "deeper")
        os.makedirs(below)
        kernfs.write(os.path.join(below, "cgroup.procs"), str(process.pid))
        for directory in (below, os.path.dirname(below), group.paths["freezer"]):
            kernfs.write(os.path.join(directory, "freezer.state"), "FROZEN")
        group.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_kill_with_another_signal_does_not_wait(group: Cgroup) -> None:
    with _inside(group, "trap 'echo term; exit 3' TERM; echo; sleep 100 & wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        group.kill(signal.SIGTERM)
        assert process.wait(10) == 3
        assert process.stdout.readline() == b"term\n"


def test_killing_an_empty_or_absent_cgroup(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    group.kill()
    absent = Cgroup(host.paths("/t/absent"))
    absent.kill()
    absent.thaw()
    absent.delete()
    assert not absent.exists()
    assert not absent.frozen()
    assert absent.pids() == []


def test_a_cgroup_that_is_removed_meanwhile(group: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by systemd, between the opening of a file and the write into it (ENODEV)."""
    write = kernfs.write

    def remove_first(path: str, value: str) -> None:
        file_fd = os.open(path, os.O_WRONLY)
        os.rmdir(os.path.dirname(path))
        try:
            os.write(file_fd, value.encode())
        finally:
            os.close(file_fd)

    if "" not in group.paths:
        pytest.skip("no v2 tree")
    v2 = Cgroup({"": group.paths[""]})
    monkeypatch.setattr(kernfs, "write", remove_first)
    v2.thaw()
    assert not v2.exists()
    monkeypatch.setattr(kernfs, "write", write)
    os.mkdir(group.paths[""])
    monkeypatch.setattr(kernfs, "write", remove_first)
    assert v2._kill_at_once()
    assert not v2.frozen()


def test_delete_takes_children_along(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    Cgroup.create(host, f"/t/{os.path.basename(group.directories[0])}/a/b")
    group.delete()
    assert not group.exists()


def test_delete_gives_up_on_a_busy_one(group: Cgroup) -> None:
    with _inside(group), pytest.raises(errors.HostError, match="device or resource busy"):
        group.delete(timeout_s=0.02)


def test_pids_of_children_count(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    below = group.child("below")
    for directory in below.directories:
        os.mkdir(directory)
    Cgroup.create(host, f"/t/{os.path.basename(group.directories[0])}/below")  # cpuset
    with _inside(below) as process:
        assert group.pids() == [process.pid]
        group.kill()


@pytest.mark.requires("cgroup1")
def test_limits_reach_the_files(group: Cgroup) -> None:
    group.apply([Write("pids", "pids.max", "7"), Write("cpu", "cpu.shares", "512")])
    assert _file(group, "pids", "pids.max") == "7"
    assert _file(group, "cpu", "cpu.shares") == "512"


@pytest.mark.requires("cgroup1")
@pytest.mark.parametrize("limits", [(64, 128), (256, 512), (16, 32), (600, 600)])
def test_memory_and_swap_in_either_direction(group: Cgroup, limits: tuple[int, int]) -> None:
    def writes(limit: int, swap: int) -> list[Write]:
        return [
            Write("memory", "memory.limit_in_bytes", str(limit << 20), again=True),
            Write("memory", "memory.memsw.limit_in_bytes", str(swap << 20)),
        ]

    group.apply(writes(64, 128))
    group.apply(writes(*limits))
    got = [int(_file(group, "memory", f"memory.{name}limit_in_bytes")) >> 20 for name in ("", "memsw.")]
    assert got == list(limits)


def test_a_refused_limit_says_what_and_where(group: Cgroup) -> None:
    with pytest.raises(errors.HostError, match=r"failed to write \"soon\": .*pids.max: invalid argument"):
        group.apply([Write("pids", "pids.max", "soon")])


@pytest.mark.requires("cgroup2")
def test_a_child_of_a_cgroup_with_processes(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    """It has no controllers, and says so; but it takes processes, which it would not below a threaded domain."""
    with _inside(group):
        below = Cgroup.create(host, f"/t/{os.path.basename(group.directories[0])}/below")
        with pytest.raises(errors.HostError, match=r"below/pids.max: no such file.* has processes, so its children"):
            below.apply([Write("pids", "pids.max", "9")])
        with _inside(below) as process:
            assert below.pids() == [process.pid]


def test_a_file_that_the_kernel_lacks(group: Cgroup) -> None:
    group.apply([Write("pids", "pids.nosuch", "1", optional=True)])
    group.apply([Write("pids", "pids.nosuch", "1", instead=Write("pids", "pids.max", "9"))])
    assert _file(group, "pids", "pids.max") == "9"
    with pytest.raises(errors.HostError, match=r"pids.nosuch: no such file"):
        group.apply([Write("pids", "pids.nosuch", "1")])
    assert "pids.nosuch" not in os.listdir(group.directory("pids"))


def test_a_limit_below_what_is_used(group: Cgroup) -> None:
    with _inside(group), pytest.raises(errors.HostError, match=r"set pids.max to 1: 1 are in use"):
        group.apply([Write("pids", "pids.max", "1", above="pids.current")])


def test_stats(group: Cgroup) -> None:
    command = "head -c 30000000 /dev/zero | tail -c 20000000 | wc -c; echo all have ended; read x"
    group.apply([Write("pids", "pids.max", "50")])
    with _inside(group, command, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"20000000\n", b"all have ended\n"]
        stats = group.stats()
        process.stdin.close()
    assert stats.pids.current == 1
    assert stats.pids.limit == 50
    assert stats.cpu.usage.total > 1_000_000
    assert stats.memory.usage.max > 20_000_000
    assert stats.memory.usage.usage > 0
    assert stats.memory.raw
    assert stats.cpuset.cpus
    document = msgspec.json.decode(msgspec.json.encode(stats))
    assert document["memory"]["kernelTCP"]["failcnt"] == 0
    assert set(document) == {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "network_interfaces"}


def test_stats_of_an_absent_cgroup(host: hierarchies.Hierarchies) -> None:
    assert Cgroup(host.paths("/t/absent")).stats().memory.usage.usage == 0


def test_oom_is_told(group: Cgroup) -> None:
    v1 = "memory" in group.paths
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if v1 else ("memory.max", "memory.swap.max")
    group.apply([Write("memory", names[0], str(16 << 20)), Write("memory", names[1], str(16 << 20), optional=True)])
    with group.oom_events() as events:
        assert events.read() == 0
        with _inside(group, "exec dd if=/dev/zero of=/dev/null bs=100M count=1") as process:
            assert process.wait(60) == -signal.SIGKILL
        assert select.select([events], [], [], 10)[0]
        assert events.read() == 1


def test_the_watcher_hears_of_the_end(host: hierarchies.Hierarchies) -> None:
    group = Cgroup.create(host, "/t/ending")
    with group.oom_events() as events:
        group.delete()
        if "memory" in group.paths:
            assert select.select([events], [], [], 10)[0]
        assert events.read() is None


def _step_aside(group: Cgroup) -> str:
    """Where v2 carries the controllers: only a cgroup without processes of its own gives them to its children."""
    own = group.paths[""] if group.is_v2 else ""
    return f"echo 0 > {own}/below/cgroup.procs; echo +pids > {own}/cgroup.subtree_control" if own else ""


@pytest.mark.requires("userns")
def test_a_delegated_cgroup_gives_children_but_not_its_limits(group: Cgroup) -> None:
    group.apply([Write("pids", "pids.max", "40")])
    group.delegate(_NOBODY, _NOBODY)
    memory_limit = "memory.max" if group.is_v2 else "memory.limit_in_bytes"
    script = f"""
set -e
for d in {" ".join(group.directories)}; do mkdir $d/below; done
for d in {" ".join(d for c, d in group.paths.items() if c == "cpuset")}; do
  for f in cpuset.cpus cpuset.mems; do cat $d/$f > $d/below/$f; done
done
for d in {" ".join(d for c, d in group.paths.items() if c)}; do echo 0 > $d/below/tasks; done
{_step_aside(group)}
echo joined
echo 20 > {group.directory("pids")}/below/pids.max && echo own limit
for f in {group.directory("pids")}/pids.max {group.directory("memory")}/{memory_limit}; do
  (echo 100000000 > $f) 2>/dev/null || echo refused
done
read x
"""
    with _inside(group, script, uid=_NOBODY, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(4)]
        assert lines == ["joined", "own limit", "refused", "refused"]
        assert group.pids() == [process.pid]
        process.stdin.close()
    assert _file(group, "pids", "pids.max") == "40"


def test_create_without_permission(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    name = "/t/" + os.path.basename(group.directories[0]) + "/denied"
    child = os.fork()
    if child == 0:
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        try:
            Cgroup.create(host, name)
            os._exit(1)
        except errors.HostError as error:
            if "permission denied" not in str(error):
                os._exit(2)
        os._exit(0 if Cgroup.create(host, name, skip_denied=True).paths == {} else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_cloned_into_the_v2_tree(group: Cgroup) -> None:
    if "" not in group.paths:
        pytest.skip("no v2 tree")
    directory_fd = group.v2_descriptor()
    assert directory_fd is not None
    assert os.path.samestat(os.fstat(directory_fd), os.stat(group.paths[""]))
    assert not os.get_inheritable(directory_fd)
    os.close(directory_fd)
    assert cgroups.Cgroup({c: p for c, p in group.paths.items() if c}).v2_descriptor() is None


def test_stepping_aside_in_a_v2_tree(group: Cgroup) -> None:
    if "" not in group.paths:
        pytest.skip("no v2 tree")
    tree = CgroupMount(group.paths[""], (), 2)
    with _inside(group) as process:
        cgroups.vacate(hierarchies.Hierarchies((tree,), frozenset({"memory"})))
        procs = Path(tree.mount_point, "init", "cgroup.procs").read_text()
        assert procs.split() == [str(process.pid)]
        assert Path(tree.mount_point, "cgroup.procs").read_text() == ""
        cgroups.vacate(hierarchies.Hierarchies((tree,), frozenset({"memory"})))
    # Without controllers there is no need to.
    with _inside(group) as process:
        cgroups.vacate(hierarchies.Hierarchies((tree,)))
        assert Path(tree.mount_point, "cgroup.procs").read_text().split() == [str(process.pid)]


@pytest.mark.requires("cgroup1")
def test_oom_in_a_child_counts(host: hierarchies.Hierarchies, group: Cgroup) -> None:
    name = os.path.basename(group.directories[0])
    below = Cgroup.create(host, f"/t/{name}/below")
    for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        group.apply([Write("memory", file, str(16 << 20), optional=True)])
    with group.oom_events() as events:
        with _inside(below, "exec dd if=/dev/zero of=/dev/null bs=100M count=1") as process:
            assert process.wait(60) == -signal.SIGKILL
        assert select.select([events], [], [], 10)[0]
        assert events.read() == 1


@pytest.mark.requires("cgroup1")
def test_more_processes_than_descriptors(group: Cgroup) -> None:
    v1 = Cgroup({c: p for c, p in group.paths.items() if c})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with _inside(v1, "n=0; while [ $n -lt 300 ]; do sleep 100 & n=$((n + 1)); done; echo; wait") as process:
        assert process.stdout is not None
        process.stdout.readline()
        in_use = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 200, before[1]))
        try:
            v1.kill()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert v1.pids() == []
