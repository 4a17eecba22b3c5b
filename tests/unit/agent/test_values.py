"""What the agent decides without touching anything: people, environments, drives, signals, ports, watch events."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from pilot import errors
from pilot.agent import (
    fs_watch,
    machine,
    ports_api,
    record_budget,
    rootfs,
    signal_names,
    world,
    world_limits,
    world_spec,
)
from pilot.kernel import inotify, listening
from pilot.kernel.inotify import Mask
from pilot.spec import parse
from pilot.wire import faults
from pilot.wire.exec_frames import PortChange

PASSWD = "root:x:0:0:root:/root:/bin/sh\nbroken:x:::\nsprite:x:1000:1001::/home/sprite:/bin/bash\n"
GROUP = "sudo:x:27:sprite,other\nsprite:x:1001:\ndocker:x:bad:sprite\nadm:x:4:other\n"


def test_the_person_of_sessions_comes_from_the_worlds_own_files() -> None:
    sprite = world_spec.Person(name="sprite", uid=1000, gid=1001, home="/home/sprite", groups=(27,))
    assert world_spec.find_person("sprite", PASSWD, GROUP) == sprite
    assert world_spec.find_person("broken", PASSWD, GROUP) is None
    assert world_spec.find_person("nobody", "", "") is None


def test_environment_is_defaults_then_world_then_request() -> None:
    sprite = world_spec.Person(name="sprite", uid=1000, gid=1000, home="/home/sprite")
    found = world_spec.environment(sprite, {"A": "world", "B": "world"}, ["B=a=b", "HOME=/else"], tty=True)
    variables = dict(item.split("=", 1) for item in found)
    assert variables["A"] == "world"
    assert variables["B"] == "a=b"
    assert (variables["HOME"], variables["USER"], variables["TERM"]) == ("/else", "sprite", "xterm-256color")


def test_the_worlds_config_and_processes_are_valid_specs() -> None:
    spec = parse.parse_spec(
        json.dumps(
            world_spec.config(
                "/run/disk/rootfs",
                "/init",
                "walker",
                devices=["/dev/fuse"],
                card="eth0",
                files=4096,
                resources={},
                machine="x86_64",
            )
        )
    )
    assert spec.hostname == "walker"
    assert {space.type.value for space in spec.linux.namespaces} == {
        "user", "network", "pid", "mount", "ipc", "uts", "cgroup",
    }  # fmt: skip
    assert "/dev/fuse" in {mount.destination for mount in spec.mounts}
    assert spec.linux.masked_paths == ()
    sprite = world_spec.Person(name="sprite", uid=1000, gid=1000, home="/home/sprite")
    process = parse.parse_process(json.dumps(world_spec.process(["true"], sprite, "/", [], tty=False, files=4096)))
    assert process.capabilities is not None
    assert process.capabilities.effective == ()
    assert "CAP_SYS_ADMIN" in process.capabilities.bounding
    assert (process.rlimits[0].soft, process.rlimits[0].hard) == (4096, 4096)


def test_drives_are_found_by_serial() -> None:
    assert world.find_drive({"vda": "pilot-root\n", "vdb": "pilot-disk\n"}, "pilot-disk") == "vdb"
    with pytest.raises(errors.NotFound):
        world.find_drive({}, "pilot-disk")


def test_isolation_is_read_off_the_uid_map() -> None:
    assert machine.probe_isolation("         0          0 4294967295\n") == "vm"
    assert machine.probe_isolation("         0     165536      65536\n") == "container"


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigint", 2), ("9", 9), (" SIGHUP ", 1)])
def test_signal_names(text: str, number: int) -> None:
    assert signal_names.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "SIG", "0", "65", "-1", "TERMINATE", "٩"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(faults.InvalidRequest):
        signal_names.parse_signal(text)


@pytest.mark.parametrize(
    ("path", "base", "clean"),
    [("a", "/w", "/w/a"), ("/a/../../b", "/", "/b"), ("..", "/w/x", "/w"), ("//a", "/", "/a"), (".", "rel", "/rel")],
)
def test_paths_are_made_absolute_and_plain(path: str, base: str, clean: str) -> None:
    assert rootfs.clean(path, base) == clean


@pytest.mark.parametrize(("path", "base"), [("", "/"), ("a\0b", "/"), ("a", "/\0")])
def test_paths_that_are_none(path: str, base: str) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        rootfs.clean(path, base)


def test_listening_sockets_of_proc() -> None:
    def row(address: bytes, port: int, state: str, inode: int) -> str:
        words = "".join(f"{word:08X}" for word in struct.unpack(f"={len(address) // 4}I", address))
        return f"   0: {words}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0 0 {inode} 1\n"

    v4, v6 = socket.inet_pton(socket.AF_INET, "127.0.0.1"), socket.inet_pton(socket.AF_INET6, "::1")
    table = "  sl  local_address ...\n" + row(v4, 8080, "0A", 7) + row(v4, 22, "01", 8)
    assert listening.parse_table(table) == [listening.Listening(8080, "127.0.0.1", 7)]
    assert listening.parse_table("header\n" + row(v6, 80, "0A", 9)) == [listening.Listening(80, "::1", 9)]


def test_port_differences() -> None:
    before, now = {(80, "::"): 1, (22, "0.0.0.0"): 2}, {(80, "::"): 1, (443, "::"): 3}
    assert ports_api.differences(before, now) == [
        PortChange(type="port_closed", port=22, address="0.0.0.0", pid=2),
        PortChange(type="port_opened", port=443, address="::", pid=3),
    ]


def test_inotify_events_and_their_words() -> None:
    data = struct.pack("iIII", 1, int(Mask.CREATE | Mask.ISDIR), 0, 8) + b"sub\0\0\0\0\0"
    data += struct.pack("iIII", 2, int(Mask.IGNORED), 0, 0)
    first, second = inotify.parse_events(data)
    assert (first.watch, first.name, bool(first.mask & Mask.ISDIR)) == (1, "sub", True)
    assert fs_watch.event_name(first.mask) == "create"
    assert fs_watch.event_name(second.mask) is None
    assert fs_watch.event_name(Mask.CLOSE_WRITE) == "write"


def test_the_world_leaves_a_reserve_to_init_and_agent() -> None:
    size = world_limits.Size(memory_bytes=2 << 30, processes=16384)
    assert world_limits.resources(size) == {
        "memory": {"limit": (2 << 30) - world_limits.RESERVE_BYTES - record_budget.MOST_BYTES},
        "pids": {"limit": 16384 - world_limits.RESERVE_PROCESSES},
    }
    small = world_limits.Size(memory_bytes=128 << 20, processes=None)
    assert world_limits.resources(small) == {"memory": {"limit": 96 << 20}}


def test_memory_filesystems_of_the_world_are_bounded_by_its_memory() -> None:
    config = world_spec.config(
        "/r",
        "/init",
        "walker",
        devices=[],
        card=None,
        files=4096,
        resources={"memory": {"limit": 100 << 20}},
        machine="x86_64",
    )
    spec = parse.parse_spec(json.dumps(config))
    sizes = {mount.destination: mount.options[-1] for mount in spec.mounts if mount.type == "tmpfs"}
    assert sizes == {
        "/dev": "size=65536k",
        "/dev/shm": f"size={50 << 20}",
        "/run": f"size={50 << 20}",
        "/run/user/1000": f"size={50 << 20}",
    }
