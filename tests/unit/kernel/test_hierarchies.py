"""mountinfo and /proc/self/cgroup → hierarchies, for layouts that this machine does not have."""

from __future__ import annotations

import pytest

from pilot.kernel import hierarchies, mounts
from pilot.kernel.hierarchies import Hierarchies
from pilot.plan.facts import CgroupLayout, CgroupMount


def _parse(mountinfo: str, groups: str) -> Hierarchies:
    return Hierarchies(tuple(hierarchies.parse_hierarchies(mounts.parse_mountinfo(mountinfo), groups)))


_V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
_V1 = """\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
33 30 0:29 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 25 0:29 / /var/lib/rootfs/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
_GROUPS = "4:memory:/docker/abc/inner\n3:cpu,cpuacct:/docker/abc\n2:name=systemd:/docker/abc\n"


def test_v2() -> None:
    found = _parse(_V2, "0::/user.slice/x.scope\n")
    assert found.mounts == (CgroupMount("/sys/fs/cgroup", (), 2, "/user.slice/x.scope"),)
    assert found.layout is CgroupLayout.V2
    assert found.paths("a/b") == {"": "/sys/fs/cgroup/a/b"}
    # Beside our own cgroup, which has processes and so may have no children with controllers.
    assert found.paths("a", relative=True) == {"": "/sys/fs/cgroup/user.slice/a"}


def test_v1_with_controllers_mounted_together_and_a_part_of_a_tree() -> None:
    found = _parse(_V1, _GROUPS)
    assert found.layout is CgroupLayout.V1
    assert [(mount.name, mount.controllers, mount.own_group) for mount in found.mounts] == [
        ("cpu,cpuacct", ("cpu", "cpuacct"), "/docker/abc"),
        ("systemd", ("name=systemd",), "/docker/abc"),
        ("memory", ("memory",), "/inner"),
    ]
    assert found.controllers == {"cpu", "cpuacct", "memory"}
    assert found.paths("x", relative=True) == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/docker/abc/x",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/docker/abc/x",
        "name=systemd": "/sys/fs/cgroup/systemd/docker/abc/x",
        "memory": "/sys/fs/cgroup/memory/inner/x",
    }


def test_hybrid() -> None:
    found = _parse(_V1 + "50 30 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", _GROUPS + "0::/\n")
    assert found.layout is CgroupLayout.HYBRID
    assert found.paths("/x")[""] == "/sys/fs/cgroup/unified/x"


def test_nothing_mounted() -> None:
    found = _parse("30 25 0:26 / /proc rw - proc proc rw", "0::/\n")
    assert found.layout is CgroupLayout.NONE
    assert found.paths("x") == {}


def test_no_path_leads_out() -> None:
    assert _parse(_V2, "0::/\n").paths("../../../etc/x") == {"": "/sys/fs/cgroup/etc/x"}


@pytest.mark.parametrize(
    ("root", "group", "expected"),
    [
        ("/", "/", "/"),
        ("/", "/a/b", "/a/b"),
        ("/a", "/a", "/"),
        ("/a", "/a/b", "/b"),
        ("/a", "/ab", "/"),
        ("/a", "/c", "/"),
        ("/", "/../x", "/"),
    ],
)
def test_a_group_below_a_mount(root: str, group: str, expected: str) -> None:
    assert hierarchies.below(root, group) == expected
