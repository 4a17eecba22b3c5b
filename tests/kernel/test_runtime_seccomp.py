"""Profiles of `linux.seccomp` at work in containers, with and without privileges to load them."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles

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


def _receive(listener: socket.socket) -> dict[str, Any]:
    """The document; the descriptor that came with it is a listener."""
    with listener.accept()[0] as connection:
        text, [notify_fd], _, _ = socket.recv_fds(connection, 1 << 16, 1)
    assert os.readlink(f"/proc/self/fd/{notify_fd}") == "anon_inode:seccomp notify"
    os.close(notify_fd)
    document: dict[str, Any] = json.loads(text)
    assert document["fds"] == ["seccompFd"]
    return document
