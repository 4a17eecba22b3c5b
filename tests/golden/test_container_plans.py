"""Whole plans as text: a change of order or of a step is seen in a diff.

`PILOT_UPDATE_GOLDEN=1 pytest tests/golden` writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.support import bundles
from tests.support.bundles import Config

from pilot.plan import create
from pilot.plan import exec as exec_
from pilot.plan.abi import Namespace
from pilot.plan.facts import CgroupLayout, CgroupMount, HostFacts
from pilot.plan.identity import Ending, Filter
from pilot.plan.plan import Plan
from pilot.spec.process import Process

_V2 = HostFacts(cgroup_mounts=(CgroupMount("/sys/fs/cgroup", (), 2),))
_V1 = HostFacts(
    cgroup_layout=CgroupLayout.V1,
    cgroup_mounts=(
        CgroupMount("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"), 1),
        CgroupMount("/sys/fs/cgroup/systemd", ("name=systemd",), 1),
    ),
)
_ENVIRONMENT = ("PATH=/bin:/usr/bin", "HOME=/root")


def _plan(config: Config, facts: HostFacts = _V2, **options: object) -> Plan:
    paths = tuple((mount, f"{mount.mount_point}/web") for mount in facts.cgroup_mounts)
    asked = create.CreateOptions(
        id="web", bundle="/bundle", rootfs="/bundle/rootfs", ending=Ending(_ENVIRONMENT), cgroup_paths=paths
    )
    return create.plan_create(bundles.parse_config(config), facts, msgspec.structs.replace(asked, **options))


def _pod() -> Config:
    config = bundles.make_config("sh")
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] in {"network", "pid"}:
            namespace["path"] = f"/proc/1/ns/{namespace['type']}"
    return config


def _machine() -> Config:
    """The outer container of the substrate `container`."""
    config = bundles.with_user_namespace(bundles.make_config("/usr/lib/pilot/bin/pilot-init", noNewPrivileges=False))
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    config["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "run", "options": ["nosuid", "ro"]})
    return config


def _everything() -> Config:
    config = bundles.make_config("sh", terminal=True, oomScoreAdj=100, cwd="/work", noNewPrivileges=False)
    config["hooks"] = {
        kind: [{"path": f"/{kind}", "timeout": 5}] for kind in ("createRuntime", "createContainer", "startContainer")
    }
    config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro", "rro", "rshared"]}
    )
    config["mounts"].append({"destination": "/up", "type": "tmpfs", "source": "up", "options": ["tmpcopyup", "ro"]})
    config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3}
    config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    config["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    config["linux"]["rootfsPropagation"] = "rslave"
    config["linux"]["namespaces"].append({"type": "time"})
    config["linux"]["timeOffsets"] = {"monotonic": {"secs": 5, "nanosecs": 1}}
    config["linux"]["personality"] = {"domain": "LINUX32"}
    config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}
    return config


_EXEC = Process(args=("sh", "-c", "true"), cwd="/", no_new_privileges=True)

PLANS = {
    "default-v2": lambda: _plan(bundles.make_config("sh")),
    "default-v1": lambda: _plan(bundles.make_config("sh"), _V1, cgroup_procs=2),
    "pod": lambda: _plan(_pod()),
    "machine": lambda: _plan(_machine(), idmap_root=True),
    "everything": lambda: _plan(_everything(), ending=Ending(_ENVIRONMENT, 4, True, filter=Filter(bytes(8)))),
    "exec": lambda: exec_.plan_exec(
        _EXEC, _V2,
        exec_.ExecOptions("web", Namespace.MOUNT | Namespace.PID, Ending(_ENVIRONMENT, filter=Filter(bytes(16))), 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str) -> None:
    text = PLANS[name]().describe()
    path = Path(__file__).parent / "plans" / f"{name}.txt"
    if os.environ.get("PILOT_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", PLANS)
def test_plans_can_be_encoded(name: str) -> None:
    assert PLANS[name]().program.encode()
