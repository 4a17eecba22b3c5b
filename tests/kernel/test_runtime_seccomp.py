"""Profiles of `linux.seccomp` at work in containers, with and without privileges to load them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles

from pilot import errors
from pilot.runtime import Runtime, Stdio
from pilot.spec import parse

pytestmark = pytest.mark.requires("root", "private", "busybox")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = bundles.make_bundle(tmp_path / "bundle")
    (made / "rootfs/bin/mkdir").symlink_to("busybox")
    return made


def _profile(**syscalls: Any) -> dict[str, Any]:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, **syscalls}
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule]}


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_refused_call(runtime: Runtime, bundle: Path, no_new_privileges: bool) -> None:
    config = bundles.make_config("mkdir", "/x", noNewPrivileges=no_new_privileges)
    config["linux"]["seccomp"] = _profile()
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text) == (1, "mkdir: can't create directory '/x': Operation not supported\n")


def test_exec_is_under_the_same_profile(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config()
    config["linux"]["seccomp"] = _profile()
    container = bundles.create(runtime, bundle, config).container
    container.start()
    process = parse.parse_process(json.dumps({"args": ["/bin/mkdir", "/x"], "cwd": "/"}))
    spawned = container.exec(process, Stdio())
    assert runtime.wait(spawned, 10).exit_code() == 1
    assert not (bundle / "rootfs/x").exists()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_listener_goes_to_the_agent(
    runtime: Runtime, bundle: Path, tmp_path: Path, no_new_privileges: bool
) -> None:
    config = bundles.make_config("mkdir", "/x", noNewPrivileges=no_new_privileges)
    config["linux"]["seccomp"] = {
        **_profile(action="SCMP_ACT_NOTIFY", errnoRet=None),
        "listenerPath": str(tmp_path / "agent"),
        "listenerMetadata": "cookie",
    }
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        container = bundles.create(runtime, bundle, config).container
        document = _receive(listener)
        assert document["metadata"] == "cookie"
        assert document["state"]["status"] == "creating"
        assert document["pid"] == document["state"]["pid"] == container.pid
        process = parse.parse_process(json.dumps({"args": ["/bin/true"], "cwd": "/"}))
        spawned = container.exec(process, Stdio())
        assert runtime.wait(spawned, 10).exit_code() == 0
        of_exec = _receive(listener)
        assert (of_exec["pid"], of_exec["state"]["pid"]) == (spawned.pid, container.pid)


@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
def test_the_listener_of_the_call_that_would_send_it(
    runtime: Runtime, bundle: Path, tmp_path: Path, user_namespace: bool
) -> None:
    """Nobody answers a notification of sendmsg(2) before he has the listener; and it stays open in nobody."""
    config = bundles.make_config("true")
    if user_namespace:
        config = bundles.with_user_namespace(config)
    rule = _profile(names=["sendmsg"], action="SCMP_ACT_NOTIFY", errnoRet=None)
    config["linux"]["seccomp"] = {**rule, "listenerPath": str(tmp_path / "agent")}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        container = bundles.create(runtime, bundle, config).container
        assert _receive(listener)["pid"] == container.pid
        _await(lambda: "anon_inode:seccomp notify" not in _descriptors(container.pid))
        process = parse.parse_process(json.dumps({"args": ["/bin/true"], "cwd": "/"}))
        spawned = container.exec(process, Stdio())
        assert runtime.wait(spawned, 10).exit_code() == 0
        assert _receive(listener)["pid"] == spawned.pid


def _descriptors(pid: int) -> set[str]:
    """What they lead to; they may go meanwhile."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return found


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _receive(listener: socket.socket) -> dict[str, Any]:
    """The document; the descriptor that came with it is a listener."""
    with listener.accept()[0] as connection:
        text, [notify_fd], _, _ = socket.recv_fds(connection, 1 << 16, 1)
    assert os.readlink(f"/proc/self/fd/{notify_fd}") == "anon_inode:seccomp notify"
    os.close(notify_fd)
    document: dict[str, Any] = json.loads(text)
    assert document["fds"] == ["seccompFd"]
    return document


# What a small static program needs, and what pilot needs after the filter: capset, read, write, close.
_OLD = [
    "access", "arch_prctl", "brk", "capset", "clone", "close", "dup2", "dup3",
    "execve", "exit", "exit_group", "fcntl", "fstat", "getcwd", "getdents64", "getegid",
    "geteuid", "getgid", "getpid", "getppid", "getuid", "ioctl", "lseek", "lstat",
    "mmap", "mprotect", "munmap", "newfstatat", "open", "openat", "pipe2", "poll",
    "prlimit64", "read", "readlink", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "set_robust_list", "set_tid_address",
    "sigaltstack", "stat", "statx", "uname", "unlink", "vfork", "wait4", "waitid",
    "write", "writev",
]  # fmt: skip


def _old_profile(default: str = "SCMP_ACT_ERRNO") -> dict[str, Any]:
    """Made before there were clone3, faccessat2 and close_range; without umask and setuid, too."""
    rule = {"names": _OLD, "action": "SCMP_ACT_ALLOW"}
    return {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule]}


@pytest.mark.parametrize("default", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 7])
def test_a_profile_of_old_refuses_no_container(
    runtime: Runtime, bundle: Path, no_new_privileges: bool, default: str, uid: int
) -> None:
    user = {"uid": uid, "gid": uid, "umask": 0o77, "additionalGids": [9]}
    script = "umask; while read n v; do case $n in Cap*|Seccomp:) echo $n $v;; esac; done < /proc/self/status"
    config = bundles.make_config("sh", "-c", script, user=user, noNewPrivileges=no_new_privileges)
    config["linux"]["seccomp"] = {**_old_profile(default)}
    # What busybox asks for itself, and does without where it is refused.
    own = ["umask", "getrandom", "prctl", "rseq", "setgid", "setuid"]
    config["linux"]["seccomp"]["syscalls"][0]["names"] = [*_OLD, *own]
    code, text = bundles.run_to_end(runtime, bundle, config)
    full = "0000000020000420" if uid == 0 else "0000000000000000"
    assert (code, text.split("\n")) == (
        0,
        ["0077", "CapInh: 0000000000000000", f"CapPrm: {full}", f"CapEff: {full}", "CapBnd: 0000000020000420",
         "CapAmb: 0000000000000000", "Seccomp: 2", ""],
    )  # fmt: skip


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_exec_under_a_profile_of_old(runtime: Runtime, bundle: Path, no_new_privileges: bool) -> None:
    config = bundles.make_config()
    config["linux"]["seccomp"] = _old_profile()
    config["linux"]["seccomp"]["syscalls"][0]["names"] = [*_OLD, "nanosleep", "clock_nanosleep"]
    container = bundles.create(runtime, bundle, config).container
    container.start()
    asked = {"args": ["/bin/true"], "cwd": "/", "noNewPrivileges": no_new_privileges, "user": {"uid": 7, "gid": 8}}
    spawned = container.exec(parse.parse_process(json.dumps(asked)), Stdio())
    assert runtime.wait(spawned, 10).exit_code() == 0


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_start_container_hooks_are_under_the_filter_and_have_the_environment(
    runtime: Runtime, bundle: Path, no_new_privileges: bool
) -> None:
    config = bundles.make_config("true", noNewPrivileges=no_new_privileges, env=["PATH=/bin", "OF=process"])
    status = "while read n v; do case $n in Seccomp:) echo $v;; esac; done < /proc/self/status"
    script = f"mkdir /made 2> /dev/null; echo $OF; {status}"
    config["hooks"] = {
        "startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", f"{{ {script}; }} > /first"]},
            {"path": "/bin/sh", "args": ["sh", "-c", "echo $OF > /second"], "env": ["OF=hook"]},
        ]
    }
    config["linux"]["seccomp"] = _profile()
    assert bundles.run_to_end(runtime, bundle, config) == (0, "")
    assert (bundle / "rootfs/first").read_text() == "process\n2\n"
    assert (bundle / "rootfs/second").read_text() == "hook\n"
    assert not (bundle / "rootfs/made").exists()


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_hooks_run_under_a_profile_of_old(runtime: Runtime, bundle: Path, no_new_privileges: bool) -> None:
    config = bundles.make_config("true", noNewPrivileges=no_new_privileges)
    config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo ran > /tmp/ran"]}]}
    config["linux"]["seccomp"] = _old_profile()
    assert bundles.run_to_end(runtime, bundle, config) == (0, "")
    assert (bundle / "rootfs/tmp/ran").read_text() == "ran\n"


def test_a_filter_that_kills_before_the_start_is_named(runtime: Runtime, bundle: Path) -> None:
    config = bundles.make_config("true", noNewPrivileges=True)
    names = [name for name in _OLD if name != "write"]
    config["linux"]["seccomp"] = _old_profile("SCMP_ACT_KILL_PROCESS")
    config["linux"]["seccomp"]["syscalls"][0]["names"] = names
    with pytest.raises(errors.PeerError, match="seccomp filter") as raised:
        bundles.create(runtime, bundle, config)
    assert "write" in (raised.value.hint or "")
    assert runtime.list() == []


def test_a_created_process_has_no_privilege_beyond_its_own(runtime: Runtime, bundle: Path) -> None:
    """It has loaded its filter, for which it took CAP_SYS_ADMIN."""
    config = bundles.make_config("true", noNewPrivileges=False)
    config["linux"]["seccomp"] = _profile()
    created = bundles.create(runtime, bundle, config)
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{created.process.pid}/status").read_text().splitlines())
    assert (lines["Seccomp"], lines["CapPrm"], lines["CapEff"]) == ("2", "0000000020000420", "0000000020000420")
