"""config.json as what the contract is asked for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from pilot import errors
from pilot.shim import wanted
from pilot.spec import parse
from pilot.wire import graph

ROOTFS = "/bundle/rootfs"
DEFAULT_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
    {"destination": "/run", "type": "tmpfs", "source": "tmpfs"},
]


def _document(linux: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/tmp", "env": ["A=b", "C=d=e"], "user": {"uid": 5, "gid": 6}},
        "mounts": DEFAULT_MOUNTS,
        "linux": {"namespaces": [{"type": "pid"}, {"type": "uts"}, {"type": "network"}], **(linux or {})},
        **more,
    }


_MAPPINGS = [{"containerID": 0, "hostID": 1000, "size": 1}]


def _bind(source: str, *options: str) -> dict[str, Any]:
    return {"destination": "/x", "type": "bind", "source": source, "options": ["rbind", *options]}


def _plan(document: Mapping[str, Any], id: str = "web") -> wanted.Wanted:
    return wanted.plan(id, parse.parse_spec(json.dumps(document)), ROOTFS)


def test_what_a_config_asks_for() -> None:
    shared = {"destination": "/data/", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"]}
    resources = {
        "memory": {"limit": 1 << 28, "swap": 1 << 28},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
        "pids": {"limit": 40},
        "devices": [{"allow": False, "access": "rwm"}],
    }
    found = _plan(_document({"resources": resources}, mounts=[*DEFAULT_MOUNTS, shared], hostname="box"))
    assert found.name == "web"
    assert (found.root.source, found.root.readonly) == (ROOTFS, False)
    [bind] = found.binds
    assert (bind.source, bind.path, bind.readonly) == ("/srv/data", "/data", True)
    spec = found.spec
    assert found.root.disk != bind.disk
    assert spec.root == graph.Root(path=f"/run/disks/{found.root.disk}")
    assert (spec.command, spec.cwd, spec.user, spec.hostname) == (["sh"], "/tmp", "5:6", "box")
    assert spec.environment == {"A": "b", "C": "d=e"}
    assert spec.restart.policy == "no"
    assert spec.limits == graph.Limits(memory_bytes=1 << 28, processes=40, cpus=0.5)


@pytest.mark.parametrize(
    ("linux", "more", "path"),
    [
        ({"namespaces": [{"type": "pid"}, {"type": "network", "path": "/x"}]}, {}, "$.linux.namespaces[1].path"),
        ({"sysctl": {"net.ipv4.ip_forward": "1"}}, {}, "$.linux.sysctl"),
        ({"devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]}, {}, "$.linux.devices"),
        ({"resources": {"cpu": {"cpus": "0"}}}, {}, "$.linux.resources.cpu.cpus"),
        ({"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}}, {}, "$.linux.resources.hugepageLimits"),
        ({"resources": {"unified": {"memory.high": "1"}}}, {}, "$.linux.resources.unified"),
        ({}, {"hooks": {"poststart": [{"path": "/bin/true"}]}}, "$.hooks.poststart"),
        ({}, {"mounts": [{"destination": "/x", "type": "tmpfs", "source": "tmpfs"}]}, "$.mounts[0]"),
        ({}, {"mounts": [{"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}]}, "$.mounts[0]"),
        ({}, {"mounts": [_bind("data", "ro")]}, "$.mounts[0].source"),
        ({}, {"mounts": [_bind("/srv", "rw", "nosuid")]}, "$.mounts[0].options[2]"),
        ({}, {"mounts": [_bind("/srv", "rslave")]}, "$.mounts[0].options[1]"),
        (
            {},
            {"mounts": [_bind("/srv") | {"uidMappings": _MAPPINGS, "gidMappings": _MAPPINGS}]},
            "$.mounts[0].uidMappings",
        ),
    ],
)
def test_what_the_contract_has_no_words_for(linux: dict[str, Any], more: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.SpecError) as raised:
        _plan(_document(linux, **more))
    assert raised.value.path == path


@pytest.mark.parametrize(
    ("options", "readonly"),
    [((), False), (("rw", "rprivate"), False), (("ro",), True), (("rro",), True), (("rprivate", "rro"), True)],
)
def test_a_directory_that_is_not_to_be_written(options: tuple[str, ...], readonly: bool) -> None:
    found = _plan(_document(mounts=[_bind("/srv", *options)]))
    assert [mount.readonly for mount in found.spec.mounts] == [readonly]


@pytest.mark.parametrize("id", ["Web", "a" * 32, "world", "machine", "a_b", "-a", "f" * 64])
def test_what_is_no_name_in_a_machine_has_one_of_its_own(id: str) -> None:
    found = _plan(_document(), id)
    assert found.name.startswith("c-")
    assert len(found.name) < 32
    assert wanted.name_of(id) == found.name != wanted.name_of(id + "x")


def test_who_shares_a_machine() -> None:
    def group(annotations: Mapping[str, str]) -> str:
        return wanted.group_of("one", parse.parse_spec(json.dumps(_document(annotations=annotations))))

    assert group({}) == "one"
    assert group({"io.kubernetes.cri.sandbox-id": "pod"}) == "pod"
    assert group({"io.kubernetes.cri.sandbox-id": "pod", "io.containerd.runc.v2.group": "own"}) == "own"


def test_how_much_memory_its_machine_has() -> None:
    annotations = {wanted.MEMORY: "5000000000"}
    assert wanted.memory_bytes(parse.parse_spec(json.dumps(_document(annotations=annotations))), 7) == 5_000_000_000
    assert wanted.memory_bytes(parse.parse_spec(json.dumps(_document())), 7) == 7
    with pytest.raises(errors.SpecError, match="no number"):
        wanted.memory_bytes(parse.parse_spec(json.dumps(_document(annotations={wanted.MEMORY: "1G"}))), 7)


def test_other_limits_are_beside_those_that_were() -> None:
    plan = _plan(_document({"resources": {"memory": {"limit": 1 << 28}, "pids": {"limit": 40}}}))
    changed = wanted.with_limits(plan, graph.Limits(memory_bytes=1 << 29)).spec.limits
    assert changed == graph.Limits(memory_bytes=1 << 29, processes=40)


def test_a_limit_is_not_lifted() -> None:
    """-1 is "none" to runc; the contract keeps what is not said."""
    wanted.check_given(parse.parse_resources(b'{"memory": {"limit": 1}, "pids": {"limit": 0}}'))
    with pytest.raises(errors.SpecError) as raised:
        wanted.check_given(parse.parse_resources(b'{"memory": {"limit": -1}}'))
    assert raised.value.path == "$.memory.limit"
