"""What root of a world may do, by its privileges, as config.json has it."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from pilot.agent import world_rights, world_spec
from pilot.spec import parse
from pilot.wire.schema import Privileges

PROFILES = ("", "minimal", "standard", "privileged")


def _config(privileges: Privileges) -> dict[str, Any]:
    rights = world_rights.plan_rights(privileges)
    made = world_spec.config(
        "/r", "/init", "walker", devices=list(rights.devices), card=None, files=4096, resources={}, machine="x86_64",
        rights=rights, withheld=rights.withheld,
    )  # fmt: skip
    parse.parse_spec(json.dumps(made))
    return made


def _refused(config: dict[str, Any]) -> dict[str, int]:
    """Those that are refused whatever their arguments are."""
    rules = config["linux"]["seccomp"]["syscalls"]
    return {name: rule["errnoRet"] for rule in rules if "args" not in rule for name in rule["names"]}


def _cgroup_options(config: dict[str, Any]) -> list[str]:
    (mount,) = [mount for mount in config["mounts"] if mount["type"] == "cgroup"]
    return list(mount["options"])


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_reaches_beyond_the_machine(profile: Any) -> None:
    config = _config(Privileges(profile=profile))
    rules = config["linux"]["seccomp"]["syscalls"]
    by_argument = {name: rule["args"][0]["valueTwo"] for rule in rules if "args" in rule for name in rule["names"]}
    assert (by_argument["socket"], by_argument["socketcall"]) == (40, 1)
    assert _refused(config)["io_uring_setup"] == errno.ENOSYS


def test_a_profile_that_is_not_said_is_standard() -> None:
    assert world_rights.plan_rights(Privileges()) == world_rights.plan_rights(Privileges(profile="standard"))


def test_standard_runs_containers_and_has_no_memory_cgroups_of_v1() -> None:
    config = _config(Privileges())
    assert "CAP_SYS_ADMIN" in config["process"]["capabilities"]["effective"]
    assert not {"mount", "unshare", "clone3"} & _refused(config).keys()
    assert _refused(config)["userfaultfd"] == errno.EPERM
    assert {"rw", "x-pilot.without=memory"} <= set(_cgroup_options(config))
    assert world_rights.plan_rights(Privileges()).devices == ("/dev/fuse", "/dev/net/tun")


def test_privileged_has_what_docker_refuses_and_all_of_its_cgroups() -> None:
    config = _config(Privileges(profile="privileged"))
    assert _refused(config).keys() == {"io_uring_setup", "io_uring_enter", "io_uring_register"}
    assert world_rights.plan_rights(Privileges(profile="privileged")).withheld == ()
    assert not [option for option in _cgroup_options(config) if option.startswith("x-")]


def test_minimal_makes_neither_namespaces_nor_mounts() -> None:
    config = _config(Privileges(profile="minimal"))
    assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"} & set(config["process"]["capabilities"]["bounding"])
    assert {"mount", "unshare", "setns", "fsopen", "bpf"} <= _refused(config).keys()
    assert _refused(config)["clone3"] == errno.ENOSYS, "C libraries then take clone, whose flags can be looked at"
    rules = config["linux"]["seccomp"]["syscalls"]
    flags = sum(rule["args"][0]["valueTwo"] for rule in rules if rule["names"] == ["clone"])
    assert flags == 0x7E020000
    assert "ro" in _cgroup_options(config)
    assert "/dev/fuse" not in {mount["destination"] for mount in config["mounts"]}


def test_a_device_is_had_beside_those_of_the_profile_and_once() -> None:
    assert world_rights.plan_rights(Privileges(profile="minimal", devices=["/dev/fuse"])).devices == ("/dev/fuse",)
    assert world_rights.plan_rights(Privileges(devices=["/dev/fuse"])).devices == ("/dev/fuse", "/dev/net/tun")


@pytest.mark.parametrize("uid", [0, 1000])
def test_processes_have_no_more_than_their_world(uid: int) -> None:
    rights = world_rights.plan_rights(Privileges(profile="minimal", no_new_privileges=True))
    person = world_spec.Person(name="sprite", uid=uid, gid=uid, home="/")
    document = world_spec.process(["true"], person, "/", [], tty=False, files=1024, rights=rights)
    process = parse.parse_process(json.dumps(document))
    assert process.capabilities is not None
    assert process.capabilities.bounding == rights.capabilities
    assert process.no_new_privileges
    assert _config(Privileges(no_new_privileges=True))["process"]["noNewPrivileges"]
