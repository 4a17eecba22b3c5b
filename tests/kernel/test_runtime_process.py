"""`process` of config.json: what the kernel says about a process that was made to its wishes, and to those of exec."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles, store

from pilot import errors
from pilot.runtime import Runtime, Stdio, Terminal
from pilot.spec import parse

pytestmark = pytest.mark.requires("root", "private", "busybox")

_libc = ctypes.CDLL(None, use_errno=True)
_IOPRIO_GET, _SCHED_GETATTR, _GET_MEMPOLICY = 252, 315, 239
_RESET_ON_FORK = 0x01


def _created(runtime: Runtime, bundle: Path, **process: Any) -> int:
    """Pid of a container's process, which waits for start: all but exec has been done."""
    return bundles.create(runtime, bundle, bundles.make_config(**process)).process.pid


def _affinity_of_exec(runtime: Runtime, **affinity: str) -> set[int]:
    text = json.dumps({"args": ["/bin/sleep", "1000"], "cwd": "/", "execCPUAffinity": affinity})
    spawned = runtime.load("web").exec(parse.parse_process(text), Stdio())
    try:
        return os.sched_getaffinity(spawned.pid)
    finally:
        os.kill(spawned.pid, signal.SIGKILL)
        runtime.wait(spawned, 10)


def _scheduling(pid: int) -> dict[str, int]:
    """sched_getattr(2)."""
    attributes = (ctypes.c_uint32 * 12)()
    assert _libc.syscall(_SCHED_GETATTR, pid, attributes, 48, 0) == 0
    names = ("size", "policy", "flags", "nice", "priority", "runtime", "deadline", "period")
    return dict(zip(names, struct.unpack("<IIQiIQQQ", bytes(attributes)), strict=True))


SCHEDULERS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "other": ({"policy": "SCHED_OTHER", "nice": 5}, {"policy": 0, "nice": 5}),
    "batch": ({"policy": "SCHED_BATCH", "nice": -3}, {"policy": 3, "nice": -3}),
    "idle": ({"policy": "SCHED_IDLE"}, {"policy": 5}),
    "deadline": (
        {"policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 20_000_000, "period": 30_000_000,
         "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"]},
        {"policy": 6, "runtime": 2_000_000, "deadline": 20_000_000, "period": 30_000_000, "flags": 3},
    ),
    "reset on fork": (
        {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, {"policy": 3, "flags": _RESET_ON_FORK},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler(runtime: Runtime, bundle: Path, name: str) -> None:
    asked, expected = SCHEDULERS[name]
    found = _scheduling(_created(runtime, bundle, scheduler=asked))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.requires("cgroup1")
@pytest.mark.parametrize(("policy", "number"), [("SCHED_FIFO", 1), ("SCHED_RR", 2)])
def test_real_time_scheduler(runtime: Runtime, bundle: Path, policy: str, number: int) -> None:
    """With real-time group scheduling the cgroup needs its share before the process can have such a policy."""
    parent = Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")
    if not parent.exists():
        pytest.skip("a kernel without real-time group scheduling")
    parent.write_text("200000")  # of the tests' own cgroup, which goes with them; neighbours want theirs, too
    config = bundles.make_config(scheduler={"policy": policy, "priority": 7})
    config["linux"]["resources"]["cpu"] = {"realtimeRuntime": 100000, "realtimePeriod": 1000000}
    found = _scheduling(bundles.create(runtime, bundle, config).process.pid)
    assert (found["policy"], found["priority"]) == (number, 7)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"scheduler": {"policy": "SCHED_NONE"}}, "$.process.scheduler.policy"),
        ({"scheduler": {"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_NONE"]}}, "$.process.scheduler.flags"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_NONE"}}, "$.process.ioPriority.class"),
        ({"rlimits": [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]}, "$.process.rlimits[0].type"),
    ],
)
def test_names_that_there_are_not(runtime: Runtime, bundle: Path, changes: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        _created(runtime, bundle, **changes)
    assert caught.value.path == path
    assert runtime.list() == []


@pytest.mark.parametrize(
    ("io_class", "number"), [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)]
)
def test_io_priority(runtime: Runtime, bundle: Path, io_class: str, number: int) -> None:
    pid = _created(runtime, bundle, ioPriority={"class": io_class, "priority": 0 if number == 3 else 6})
    found = _libc.syscall(_IOPRIO_GET, 1, pid)
    assert (found >> 13, found & 0x1FFF) == (number, 0 if number == 3 else 6)


def test_cpu_affinity_is_of_exec_alone(runtime: Runtime, bundle: Path) -> None:
    every = os.sched_getaffinity(0)
    config = bundles.make_config(execCPUAffinity={"initial": "0", "final": "0"})
    container = bundles.create(runtime, bundle, config).container
    container.start()
    assert os.sched_getaffinity(container.pid) == every
    assert _affinity_of_exec(runtime, initial="0", final="1") == {1} & every
    assert _affinity_of_exec(runtime, final="0") == {0}
    # Nobody changes it afterwards: since 6.2 the kernel keeps what a process asked for across cpusets.
    assert _affinity_of_exec(runtime, initial="0") == {0}


@pytest.mark.parametrize("text", ["x", "0-", "-1", "0-99999999"])
def test_what_is_no_list_of_cpus(runtime: Runtime, bundle: Path, text: str) -> None:
    bundles.create(runtime, bundle, bundles.make_config()).container.start()
    with pytest.raises(errors.SpecError, match="not a list of numbers and ranges"):
        _affinity_of_exec(runtime, initial=text)
    with pytest.raises(errors.SpecError, match="invalid range: 1-0"):
        _affinity_of_exec(runtime, final="1-0")


@pytest.mark.parametrize("affinity", [{"initial": "some"}, {"final": "1-"}])
def test_what_is_no_list_of_cpus_is_told_before_anything_is_executed(
    runtime: Runtime, bundle: Path, affinity: dict[str, str]
) -> None:
    with pytest.raises(errors.SpecError, match=f"bad CPUAffinity.{next(iter(affinity)).title()}"):
        bundles.create(runtime, bundle, bundles.make_config(execCPUAffinity=affinity))


def test_console_size(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("stty", "size", terminal=True, consoleSize={"height": 33, "width": 121})
    created = bundles.create(runtime, bundle, config)
    created.container.start()
    assert created.process.master_fd is not None
    assert bundles.read_terminal(created.process.master_fd) == b"33 121\r\n"


def test_the_callers_size_of_a_terminal_counts_more(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("stty", "size", terminal=True, consoleSize={"height": 33, "width": 121})
    created = bundles.create(runtime, bundle, config, terminal=Terminal(10, 20))
    created.container.start()
    assert created.process.master_fd is not None
    assert bundles.read_terminal(created.process.master_fd) == b"10 20\r\n"


def test_terminal_is_of_the_user_and_controls_the_session(runtime: Runtime, bundle: Path) -> None:
    script = "tty; stat -c '%u %F' /dev/console; read p c s pp pg sid tty r < /proc/$$/stat; echo $tty"
    config = bundles.make_config("sh", "-c", script, terminal=True, user={"uid": 7, "gid": 8})
    created = bundles.create(runtime, bundle, config)
    created.container.start()
    assert created.process.master_fd is not None
    tty, console, number = bundles.read_terminal(created.process.master_fd).decode().split("\r\n")[:3]
    assert (tty, console) == ("/dev/pts/0", "7 character special file")
    assert int(number) == os.makedev(136, 0)


def test_working_directory_is_made(runtime: Runtime, bundle: Path) -> None:
    assert bundles.run_to_end(runtime, bundle, bundles.make_config("sh", "-c", "pwd", cwd="/a/b")) == (0, "/a/b\n")
    assert stat.S_IMODE((bundle / "rootfs/a/b").stat().st_mode) == 0o755


def test_no_new_privileges(runtime: Runtime, bundle: Path) -> None:
    for wanted in (True, False):
        pid = _created(runtime, bundle, noNewPrivileges=wanted)
        assert f"NoNewPrivs:\t{wanted:d}" in Path(f"/proc/{pid}/status").read_text()
        runtime.load("web").delete(force=True)


def test_every_kind_of_limit(runtime: Runtime, bundle: Path) -> None:
    names = {
        "CORE": "Max core file size", "CPU": "Max cpu time", "DATA": "Max data size", "FSIZE": "Max file size",
        "LOCKS": "Max file locks", "MEMLOCK": "Max locked memory", "MSGQUEUE": "Max msgqueue size",
        "NICE": "Max nice priority", "NOFILE": "Max open files", "NPROC": "Max processes",
        "RSS": "Max resident set", "RTPRIO": "Max realtime priority", "RTTIME": "Max realtime timeout",
        "SIGPENDING": "Max pending signals", "STACK": "Max stack size", "AS": "Max address space",
    }  # fmt: skip
    soft = dict.fromkeys(names, 1 << 20) | {
        "AS": 1 << 40,
        "MSGQUEUE": 1 << 19,
        "NOFILE": 999,
        "NICE": 0,
        "RTPRIO": 0,
        "SIGPENDING": 99,
        "NPROC": 98,
    }
    rows = [{"type": f"RLIMIT_{name}", "soft": value, "hard": value} for name, value in soft.items()]
    pid = _created(runtime, bundle, rlimits=rows)
    text = Path(f"/proc/{pid}/limits").read_text()
    found = {line[:26].strip(): line[26:47].strip() for line in text.splitlines()[1:]}
    assert {name: int(found[title]) for name, title in names.items()} == soft


def test_memory_policy(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("sh", "-c", "cat /proc/self/numa_maps | head -n 1 | cut -d' ' -f2")
    for applet in ("head", "cut"):
        (bundle / "rootfs/bin" / applet).symlink_to("busybox")
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    assert bundles.run_to_end(runtime, bundle, config) == (0, "bind=static:0\n")


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ({"mode": "MPOL_NONE"}, 'mode: invalid memory policy mode "MPOL_NONE"'),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}, 'flags: invalid memory policy flag "X"'),
        ({"mode": "MPOL_BIND", "nodes": "x"}, 'nodes: invalid memory policy nodes "x": not a list'),
        ({"mode": "MPOL_BIND"}, "nodes: memory policy mode requires at least one node but got 0"),
        ({"mode": "MPOL_DEFAULT", "nodes": "0"}, "nodes: memory policy mode requires 0 nodes but got 1"),
    ],
)
def test_a_memory_policy_that_there_is_not(
    runtime: Runtime, bundle: Path, policy: dict[str, Any], problem: str
) -> None:
    config = bundles.make_config("true")
    config["linux"]["memoryPolicy"] = policy
    with pytest.raises(errors.SpecError, match=rf"\$\.linux\.memoryPolicy\.{problem}"):
        bundles.create(runtime, bundle, config)


def test_personality(runtime: Runtime, bundle: Path) -> None:
    (bundle / "rootfs/bin/uname").symlink_to("busybox")
    config = bundles.make_config("uname", "-m")
    config["linux"]["personality"] = {"domain": "LINUX32"}
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text.strip() != os.uname().machine) == (0, True)
    config["linux"]["personality"] = {"domain": "LINUX"}
    assert bundles.run_to_end(runtime, bundle, config) == (0, os.uname().machine + "\n")


def test_a_personality_that_there_is_not(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("true")
    config["linux"]["personality"] = {"domain": "WINDOWS"}
    with pytest.raises(errors.SpecError, match=r"\$\.linux\.personality"):
        bundles.create(runtime, bundle, config)


@pytest.mark.parametrize("changes", [{"apparmorProfile": "some"}, {"selinuxLabel": "system_u:system_r:t:s0"}])
def test_labels_without_their_module(runtime: Runtime, bundle: Path, changes: dict[str, str]) -> None:
    if runtime.facts.lsms & {"apparmor", "selinux"}:
        pytest.skip("this host has them")
    with pytest.raises(errors.HostError, match=r"is (not enabled on this host|disabled or not supported)"):
        _created(runtime, bundle, **changes)
    assert runtime.list() == []


def test_unconfined_needs_no_module(runtime: Runtime, bundle: Path) -> None:
    assert _created(runtime, bundle, apparmorProfile="unconfined") > 0


def test_what_is_executed_may_be_another_than_argv_0(runtime: Runtime, bundle: Path) -> None:
    bundles.create(runtime, bundle, bundles.make_config()).container.start()
    process = parse.parse_process(
        json.dumps({"args": ["busybox by name", "sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]})
    )
    spawned = runtime.load("web").exec(process, Stdio(), executable="sleep")  # which is a busybox
    try:
        # Empty while the kernel is at execve(2), which is after the last that `exec` waits for.
        cmdline = store.wait_for(Path(f"/proc/{spawned.pid}/cmdline").read_bytes)
        assert cmdline == b"busybox by name\0sleep\x001000\0"
    finally:
        os.kill(spawned.pid, signal.SIGKILL)
        runtime.wait(spawned, 10)
        spawned.close()
    with pytest.raises(errors.StepError, match='exec: "/nowhere"'):
        runtime.load("web").exec(process, Stdio(), executable="/nowhere")


def test_exec_takes_over_what_holds_for_the_container(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config(
        scheduler={"policy": "SCHED_BATCH", "nice": 3}, ioPriority={"class": "IOPRIO_CLASS_IDLE"}
    )
    config["process"]["user"]["umask"] = 0o27
    config["linux"]["personality"] = {"domain": "LINUX32"}
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    container = bundles.create(runtime, bundle, config).container
    container.start()
    process = parse.parse_process(json.dumps({"args": ["/bin/sleep", "1000"], "cwd": "/"}))
    spawned = container.exec(process, Stdio())
    try:
        of_exec, of_first = (_inherited(pid) for pid in (spawned.pid, container.pid))
        assert of_exec == of_first
        assert of_exec[0] == os.SCHED_BATCH
    finally:
        os.kill(spawned.pid, signal.SIGKILL)
        runtime.wait(spawned, 10)
        spawned.close()


def _inherited(pid: int) -> tuple[object, ...]:
    """Scheduler, nice, umask, personality, and the memory policies of its maps."""
    maps = Path(f"/proc/{pid}/numa_maps")
    policies = {line.split()[1] for line in maps.read_text().splitlines()} if maps.exists() else set()
    umask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Umask"))
    personality = Path(f"/proc/{pid}/personality").read_text()
    return os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid), umask, personality, policies


def test_the_callers_affinity_is_not_the_containers(runtime: Runtime, bundle: Path) -> None:
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        container = bundles.create(runtime, bundle, bundles.make_config()).container
        assert os.sched_getaffinity(container.pid) == every
        container.start()
        assert _affinity_of_exec(runtime) == every
    finally:
        os.sched_setaffinity(0, every)
