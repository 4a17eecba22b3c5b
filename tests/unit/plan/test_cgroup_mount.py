"""What a container is shown below /sys/fs/cgroup."""

from __future__ import annotations

import pytest
from tests.support import bundles

from pilot.plan import create
from pilot.plan.facts import CgroupLayout, CgroupMount, HostFacts
from pilot.plan.identity import Ending

_MOUNTS = (
    CgroupMount("/c/memory", ("memory",), 1), CgroupMount("/c/cpu,cpuacct", ("cpu", "cpuacct"), 1),
    CgroupMount("/c/unified", (), 2),
)  # fmt: skip


def _shown(*options: str, layout: CgroupLayout = CgroupLayout.HYBRID) -> list[str]:
    config = bundles.make_config("sh")
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    config["mounts"].append(mount)
    asked = create.CreateOptions(
        id="web", bundle="/b", rootfs="/b/rootfs", ending=Ending(()),
        cgroup_paths=tuple((mount, f"{mount.mount_point}/web") for mount in _MOUNTS),
    )  # fmt: skip
    facts = HostFacts(cgroup_layout=layout, cgroup_mounts=_MOUNTS)
    lines = create.plan_create(bundles.parse_config(config), facts, asked).describe().splitlines()
    return [name for name in ("memory", "cpu,cpuacct", "unified") if any(f"sys/fs/cgroup/{name}" in x for x in lines)]


def test_all_hierarchies_are_shown() -> None:
    assert _shown("rw") == ["memory", "cpu,cpuacct", "unified"]


@pytest.mark.parametrize(
    ("without", "left"),
    [
        (("memory",), ["cpu,cpuacct", "unified"]),
        (("cpuacct",), ["memory", "unified"]),
        (("memory", "cpu"), ["unified"]),
        (("nonesuch",), ["memory", "cpu,cpuacct", "unified"]),
    ],
)
def test_those_that_are_not_wanted_are_left_out(without: tuple[str, ...], left: list[str]) -> None:
    assert _shown("rw", *(f"x-pilot.without={name}" for name in without)) == left
