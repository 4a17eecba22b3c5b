"""linux.resources and cgroupsPath as values, for each cgroup version."""

from __future__ import annotations

import msgspec
import pytest

from pilot import errors
from pilot.plan import cgroup
from pilot.plan.cgroup import Placement, Unit, Write
from pilot.plan.facts import CgroupLayout, CgroupMount, HostFacts
from pilot.spec.resources import Resources

_CONTROLLERS = (
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "blkio",
    "pids",
    "hugetlb",
    "rdma",
    "net_cls",
    "net_prio",
)
_V1 = HostFacts(
    cgroup_layout=CgroupLayout.V1,
    cgroup_mounts=tuple(CgroupMount(f"/c/{name}", (name,), 1) for name in _CONTROLLERS),
    cgroup_controllers=frozenset(_CONTROLLERS),
)
_V2 = HostFacts(
    cgroup_layout=CgroupLayout.V2,
    cgroup_mounts=(CgroupMount("/c", (), 2),),
    cgroup_controllers=frozenset({"cpu", "cpuset", "memory", "io", "pids", "hugetlb", "rdma"}),
)
# As on a host where one controller was left to v2.
_HYBRID = msgspec.structs.replace(
    _V1,
    cgroup_layout=CgroupLayout.HYBRID,
    cgroup_mounts=(*(m for m in _V1.cgroup_mounts if m.name != "hugetlb"), CgroupMount("/c/unified", (), 2)),
)


def _plan(text: str, host: HostFacts) -> list[str]:
    """The writes for a JSON text of linux.resources, as `file=value`."""
    return [f"{w.file}={w.value}" for w in cgroup.plan_update(msgspec.json.decode(text, type=Resources), host)]


# ---- where ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", Placement("web", relative=True)),
        ("/a/web", Placement("a/web")),
        ("a/web", Placement("a/web", relative=True)),
        ("/../../etc", Placement("etc")),
        ("../up", Placement("up", relative=True)),
        ("//a//b/", Placement("a/b")),
    ],
)
def test_cgroupfs_paths(path: str, expected: Placement) -> None:
    assert cgroup.plan_placement(path, "web") == expected


@pytest.mark.parametrize(
    ("path", "slice_", "unit", "where"),
    [
        ("", "system.slice", "pilot-web.scope", "system.slice/pilot-web.scope"),
        ("machine.slice:libpod:x", "machine.slice", "libpod-x.scope", "machine.slice/libpod-x.scope"),
        (":p:n", "system.slice", "p-n.scope", "system.slice/p-n.scope"),
        ("a-b-c.slice:p:n", "a-b-c.slice", "p-n.scope", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
        ("-.slice:p:n", "-.slice", "p-n.scope", "p-n.scope"),
        ("a.slice:p:own.slice", "a.slice", "own.slice", "a.slice/own.slice"),
    ],
)
def test_systemd_units(path: str, slice_: str, unit: str, where: str) -> None:
    assert cgroup.plan_placement(path, "web", "systemd") == Placement(where, unit=Unit(unit, slice_))


def test_rootless_systemd_units_are_the_users() -> None:
    assert cgroup.plan_placement("", "web", "systemd", rootless=True).path == "user.slice/pilot-web.scope"


@pytest.mark.parametrize("path", ["/a/b", "a:b", "a:b:c:d", "a:b:c", "a--b.slice:p:n", "a/b.slice:p:n", ".slice:p:n"])
def test_what_is_no_systemd_path(path: str) -> None:
    with pytest.raises(errors.SpecError, match=r"\$\.linux\.cgroupsPath"):
        cgroup.plan_placement(path, "web", "systemd")


# ---- what -------------------------------------------------------------------------------------------------------

_TABLE = [
    # resources, v1, v2
    ("{}", [], []),
    ('{"pids": {"limit": 10}}', ["pids.max=10"], ["pids.max=10"]),
    ('{"pids": {"limit": -1}}', ["pids.max=max"], ["pids.max=max"]),
    ('{"pids": {"limit": 0}}', ["pids.max=1"], ["pids.max=1"]),
    (
        '{"hugepageLimits": [{"pageSize": "2mb", "limit": 5}]}',
        ["hugetlb.2MB.limit_in_bytes=5", "hugetlb.2MB.rsvd.limit_in_bytes=5"],
        ["hugetlb.2MB.max=5", "hugetlb.2MB.rsvd.max=5"],
    ),
    ('{"cpu": {"idle": 0, "shares": 2}}', ["cpu.idle=0", "cpu.shares=2"], ["cpu.idle=0", "cpu.weight=1"]),
    ('{"cpu": {"idle": 1, "shares": 2}}', ["cpu.shares=2", "cpu.idle=1"], ["cpu.weight=1", "cpu.idle=1"]),
    ('{"cpu": {"shares": 1024}}', ["cpu.shares=1024"], ["cpu.weight=100"]),
    ('{"cpu": {"shares": 0}}', [], []),
    ('{"cpu": {"quota": 5000}}', ["cpu.cfs_quota_us=5000"], ["cpu.max=5000 100000"]),
    (
        '{"cpu": {"quota": 5000, "period": 10000, "burst": 100}}',
        ["cpu.cfs_period_us=10000", "cpu.cfs_burst_us=100", "cpu.cfs_quota_us=5000"],
        ["cpu.max.burst=100", "cpu.max=5000 10000"],
    ),
    ('{"cpu": {"quota": -1}}', ["cpu.cfs_quota_us=-1"], ["cpu.max=max 100000"]),
    ('{"cpu": {"period": 20000}}', ["cpu.cfs_period_us=20000"], ["cpu.max=max 20000"]),
    ('{"cpu": {"idle": 1}}', ["cpu.idle=1"], ["cpu.idle=1"]),
    (
        '{"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000}}',
        ["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
        [],
    ),
    (
        '{"cpu": {"cpus": "0-1", "mems": "0"}}',
        ["cpuset.cpus=0-1", "cpuset.mems=0"],
        ["cpuset.cpus=0-1", "cpuset.mems=0"],
    ),
    ('{"memory": {"limit": 4096}}', ["memory.limit_in_bytes=4096"], ["memory.max=4096"]),
    (
        '{"memory": {"limit": 4096, "swap": 6000}}',
        ["memory.limit_in_bytes=4096", "memory.memsw.limit_in_bytes=6000"],
        ["memory.swap.max=1904", "memory.max=4096"],
    ),
    (
        '{"memory": {"limit": 4096, "swap": 4096}}',
        ["memory.limit_in_bytes=4096", "memory.memsw.limit_in_bytes=4096"],
        ["memory.swap.max=0", "memory.max=4096"],
    ),
    (
        '{"memory": {"limit": 4096, "swap": -1}}',
        ["memory.limit_in_bytes=4096", "memory.memsw.limit_in_bytes=-1"],
        ["memory.swap.max=max", "memory.max=4096"],
    ),
    (
        '{"memory": {"limit": -1}}',
        ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
        ["memory.swap.max=max", "memory.max=max"],
    ),
    (
        '{"memory": {"limit": -1, "swap": 4096}}',
        ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=4096"],
        ["memory.swap.max=4096", "memory.max=max"],
    ),
    ('{"memory": {"reservation": 100}}', ["memory.soft_limit_in_bytes=100"], ["memory.low=100"]),
    (
        '{"memory": {"swappiness": 0, "disableOOMKiller": true, "kernelTCP": 5}}',
        ["memory.kmem.tcp.limit_in_bytes=5", "memory.oom_control=1", "memory.swappiness=0"],
        [],
    ),
    ('{"blockIO": {"weight": 10}}', ["blkio.weight=10"], ["io.bfq.weight=10"]),
    (
        '{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 20}]}}',
        ["blkio.weight_device=8:0 500", "blkio.leaf_weight_device=8:0 20"],
        ["io.bfq.weight=8:0 500"],
    ),
    (
        '{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}],'
        ' "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 0}]}}',
        ["blkio.throttle.read_bps_device=8:0 9", "blkio.throttle.write_iops_device=8:1 0"],
        ["io.max=8:0 rbps=9", "io.max=8:1 wiops=max"],
    ),
    (
        '{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}',
        ["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304"],
        ["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304"],
    ),
    (
        '{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}, "rxe3": {"hcaObjects": 7}}}',
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10", "rdma.max=rxe3 hca_object=7"],
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=10", "rdma.max=rxe3 hca_object=7"],
    ),
]


@pytest.mark.parametrize(("resources", "v1", "v2"), _TABLE, ids=[row[0] for row in _TABLE])
def test_conversions(resources: str, v1: list[str], v2: list[str]) -> None:
    assert _plan(resources, _V1) == v1
    assert _plan(resources, _V2) == v2


def test_network_classes_are_of_v1() -> None:
    text = '{"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}}'
    assert _plan(text, _V1) == ["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]
    with pytest.raises(errors.HostError, match="no cgroup controller net_cls"):
        _plan(text, _V2)


def test_a_hybrid_host_takes_each_controller_where_it_is() -> None:
    text = '{"memory": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2}], "unified": {"a.b": "c"}}'
    writes = cgroup.plan_update(msgspec.json.decode(text, type=Resources), _HYBRID)
    files = [(w.controller, w.file) for w in writes]
    assert files[:2] == [("memory", "memory.limit_in_bytes"), ("hugetlb", "hugetlb.2MB.max")]
    assert files[-1] == ("", "a.b")


def test_unified_is_written_line_by_line() -> None:
    writes = _plan('{"unified": {"io.max": "8:0 rbps=1\\n8:1 rbps=2", "memory.high": "9"}}', _V2)
    assert writes == ["io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=9"]


@pytest.mark.parametrize("name", ["../cgroup.procs", "a/b", "..", ""])
def test_unified_names_files(name: str) -> None:
    with pytest.raises(errors.SpecError, match="must be the name of a file"):
        cgroup.plan_update(Resources(unified={name: "1"}), _V2)


def test_unified_needs_v2() -> None:
    with pytest.raises(errors.HostError, match="cannot use unified on cgroup v1"):
        cgroup.plan_update(Resources(unified={"memory.high": "1"}), _V1)


def test_only_what_is_asked_for_is_missed() -> None:
    host = msgspec.structs.replace(_V2, cgroup_controllers=frozenset({"memory"}))
    assert _plan('{"memory": {"limit": 1}}', host) == ["memory.max=1"]
    with pytest.raises(errors.HostError, match=r"set pids.max: no cgroup controller pids on this host"):
        _plan('{"pids": {"limit": 1}}', host)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"memory": {"swap": 10}}', "needs a memory limit"),
        ('{"memory": {"limit": 100, "swap": 10}}', "must not be less"),
    ],
)
def test_swap_that_v2_cannot_have(text: str, problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        _plan(text, _V2)


def test_swappiness_is_a_percentage() -> None:
    with pytest.raises(errors.SpecError, match="valid range is 0-100"):
        _plan('{"memory": {"swappiness": 101}}', _V1)


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (1024, 100), (262144, 10000), (1 << 20, 10000)],
)
def test_cpu_weight(shares: int, weight: int) -> None:
    assert cgroup.cpu_weight(shares) == weight


def test_cpu_weight_grows() -> None:
    weights = [cgroup.cpu_weight(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(("weight", "expected"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_io_weight(weight: int, expected: int) -> None:
    assert cgroup.io_weight(weight) == expected


def test_what_depends_on_the_kernel_is_said() -> None:
    def plan(text: str, host: HostFacts) -> tuple[Write, ...]:
        return cgroup.plan_update(msgspec.json.decode(text, type=Resources), host)

    assert plan('{"memory": {"limit": 9, "swap": 9}}', _V1)[0].again
    assert plan('{"cpu": {"period": 9, "quota": 9}}', _V1)[0].again
    assert not plan('{"cpu": {"period": 9}}', _V1)[0].again
    assert plan('{"memory": {"limit": -1}}', _V1)[1].optional
    assert plan('{"memory": {"limit": 9, "swap": 9}}', _V2)[0].optional
    assert not plan('{"memory": {"limit": 9, "swap": 10}}', _V2)[0].optional
    assert plan('{"memory": {"limit": 9, "checkBeforeUpdate": true}}', _V2)[0].above == "memory.current"
    weight = plan('{"blockIO": {"weight": 100}}', _V2)[0]
    assert weight.instead == Write("io", "io.weight", "910")


def test_device_rules_by_version() -> None:
    resources = Resources()
    v1 = cgroup.plan_limits(resources, _V1)
    assert (v1.writes[0].file, v1.writes[0].value, v1.device_program) == ("devices.deny", "a", None)
    assert Write("devices", "devices.allow", "c 1:3 rwm") in v1.writes
    v2 = cgroup.plan_limits(resources, _V2)
    assert v2.writes == ()
    assert v2.device_program
    assert cgroup.plan_limits(resources, _HYBRID).device_program is None
    for host in (_V1, _V2):
        inside = msgspec.structs.replace(host, in_user_namespace=True)
        assert cgroup.plan_limits(resources, inside) == cgroup.Limits(())
    assert cgroup.plan_limits(None, HostFacts(cgroup_layout=CgroupLayout.NONE)) == cgroup.Limits(())


def test_a_plan_can_be_read() -> None:
    limits = cgroup.plan_limits(msgspec.json.decode('{"pids": {"limit": 3}}', type=Resources), _V2)
    lines = limits.describe().splitlines()
    assert lines[0] == "pids: 3 > pids.max"
    assert lines[1].startswith("unified: attach device program of ")


# ---- updates of one of a pair ------------------------------------------------------------------------------------

_NOW = cgroup.Current(quota=50000, period=200000, memory=30 << 20)
UPDATES = [
    ('{"cpu": {"period": 400000}}', _NOW, ["cpu.max=50000 400000"]),
    ('{"cpu": {"quota": 60000}}', _NOW, ["cpu.max=60000 200000"]),
    ('{"cpu": {"quota": -1}}', _NOW, ["cpu.max=max 200000"]),
    ('{"cpu": {"period": 400000}}', cgroup.Current(-1, 100000), ["cpu.max=max 400000"]),
    ('{"cpu": {"quota": 1000, "period": 2000}}', _NOW, ["cpu.max=1000 2000"]),
    ('{"memory": {"swap": 47185920}}', _NOW, ["memory.swap.max=15728640", "memory.max=31457280"]),
    ('{"memory": {"limit": 20971520}}', _NOW, ["memory.max=20971520"]),
    ('{"memory": {"limit": 20971520}}', cgroup.Current(memory=-1), ["memory.max=20971520"]),
    ('{"memory": {"limit": -1}}', _NOW, ["memory.swap.max=max", "memory.max=max"]),
]


@pytest.mark.parametrize(("text", "current", "expected"), UPDATES)
def test_what_an_update_leaves_out_stays(text: str, current: cgroup.Current, expected: list[str]) -> None:
    asked = cgroup.complete(msgspec.json.decode(text, type=Resources), current)
    assert [f"{w.file}={w.value}" for w in cgroup.plan_update(asked, _V2)] == expected


def test_files_of_v2_are_not_written_where_the_controller_is_of_v1() -> None:
    assert _plan('{"unified": {"hugetlb.2MB.max": "0"}}', _V2) == ["hugetlb.2MB.max=0"]
    for file in ("memory.min", "io.weight"):
        with pytest.raises(errors.HostError, match=f"set {file}: .*cannot use unified on cgroup v1"):
            _plan(f'{{"unified": {{"{file}": "1"}}}}', _HYBRID)
    assert _plan('{"unified": {"cgroup.max.depth": "1"}}', _HYBRID) == ["cgroup.max.depth=1"]


@pytest.mark.parametrize(("shares", "problem"), [(1, "minimum .* is 2"), (262145, "maximum .* is 262144")])
def test_shares_that_v1_would_change_in_silence(shares: int, problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        _plan(f'{{"cpu": {{"shares": {shares}}}}}', _V1)


def test_a_container_without_a_cgroup_has_no_limits() -> None:
    cgroup.require_none(Resources())
    with pytest.raises(errors.SpecError, match=r"\$.linux.resources: limits and rules for devices need a cgroup"):
        cgroup.require_none(msgspec.json.decode('{"devices": [{"allow": false}]}', type=Resources))
