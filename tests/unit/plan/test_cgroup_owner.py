"""Whom a container's cgroup is delegated to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilot.plan import cgroup
from pilot.plan.facts import CgroupLayout, HostFacts
from pilot.spec import defaults, parse
from pilot.spec.config import Spec

_MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def _spec(uid: int = 0, options: tuple[str, ...] = ("rw",), kinds: tuple[str, ...] = ("user",)) -> Spec:
    config: dict[str, Any] = json.loads(json.dumps(defaults.default_config()))
    config["process"]["user"]["uid"] = uid
    config["linux"]["namespaces"] += [{"type": kind} for kind in kinds]
    if "user" in kinds:
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = _MAP
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    config["mounts"].append(mount)
    return parse.parse_spec(json.dumps(config))


@pytest.mark.parametrize(
    ("spec", "owner"),
    [
        (_spec(), 100000),
        (_spec(7), 100007),
        (_spec(65536), None),  # an id that the container does not have
        (_spec(options=("ro",)), None),
        (_spec(kinds=()), None),
        (_spec(7, kinds=()), 7),
    ],
)
def test_owner(spec: Spec, owner: int | None) -> None:
    assert cgroup.plan_owner(spec, HostFacts(cgroup_layout=CgroupLayout.V2)) == owner
    assert cgroup.plan_owner(spec, HostFacts(cgroup_layout=CgroupLayout.HYBRID)) is None
