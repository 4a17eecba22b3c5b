"""Properties of a container's transient unit."""

from __future__ import annotations

import msgspec
import pytest

from pilot import errors
from pilot.plan import systemd
from pilot.plan.cgroup import Unit
from pilot.spec.resources import Resources

_SCOPE = Unit("pilot-web.scope", "machine.slice")


def _properties(unit: Unit, text: str = "{}", **annotations: str) -> dict[str, object]:
    resources = msgspec.json.decode(text, type=Resources)
    named = {f"org.systemd.property.{name}": value for name, value in annotations.items()}
    return {p.name: p.value for p in systemd.plan_properties(unit, "web", resources, (42,), {"other": "x", **named})}


def test_annotations_are_properties() -> None:
    properties = _properties(
        _SCOPE, TimeoutStopUSec="uint64 123", CollectMode="'inactive-or-failed'", After="['a.service', \"b.service\"]",
        Delegate="false", RuntimeMaxSec="1.5", TimeoutStopSec="uint32 7",
    )  # fmt: skip
    wanted = {
        "TimeoutStopUSec": 7_000_000, "CollectMode": "inactive-or-failed", "After": ("a.service", "b.service"),
        "Delegate": False, "RuntimeMaxUSec": 1_500_000,
    }  # fmt: skip
    assert wanted.items() <= properties.items()
    assert not {"other", "RuntimeMaxSec"} & properties.keys()


def test_limits_count_more_than_annotations() -> None:
    assert _properties(_SCOPE, '{"pids": {"limit": 9}}', TasksMax="uint64 8")["TasksMax"] == 9


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ab", "true"),
        ("With-dash", "true"),
        ("Space", "nonesuch"),
        ("Number", "uint32 -1"),
        ("TimeoutStopSec", "'5'"),
        ("TimeoutStopSec", "true"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "1e999"),
    ],
)
def test_annotations_that_are_none(name: str, text: str) -> None:
    with pytest.raises(errors.SpecError, match=rf"\$\.annotations\.org\.systemd\.property\.{name}"):
        _properties(_SCOPE, **{name: text})


def test_a_scope() -> None:
    properties = _properties(_SCOPE)
    assert properties["PIDs"] == (42,)
    assert properties["Slice"] == "machine.slice"
    assert properties["Delegate"] is True
    assert properties["DefaultDependencies"] is False


def test_a_slice_has_no_processes_of_its_own() -> None:
    properties = _properties(Unit("own.slice", "machine.slice"))
    assert properties["Wants"] == ("machine.slice",)
    assert not {"PIDs", "Delegate", "Slice"} & set(properties)


def test_limits() -> None:
    text = (
        '{"memory": {"limit": 4096, "reservation": -1}, "pids": {"limit": 9},'
        ' "cpu": {"shares": 1024, "quota": 15000, "period": 10000}}'
    )
    properties = _properties(_SCOPE, text)
    wanted = {
        "MemoryMax": 4096,
        "MemoryLow": (1 << 64) - 1,
        "TasksMax": 9,
        "CPUWeight": 100,
        "CPUQuotaPerSecUSec": 1_500_000,
    }
    assert wanted.items() <= properties.items()
    assert properties["CPUQuotaPeriodUSec"] == 10000


def test_everything_that_systemd_would_set_back() -> None:
    text = (
        '{"memory": {"limit": 4096, "swap": 8192}, "blockIO": {"weight": 10}, "cpu": {"cpus": "0-1,9", "mems": "0"},'
        ' "unified": {"memory.high": "2048", "pids.max": "max", "cpu.max": "max 50000", "io.weight": "default 7",'
        ' "cpuset.cpus": "3", "memory.oom.group": "1"}}'
    )
    wanted = {
        "MemorySwapMax": 4096,
        "AllowedMemoryNodes": b"\x01",
        "MemoryHigh": 2048,
        "TasksMax": (1 << 64) - 1,
        "CPUQuotaPeriodUSec": 50000,
        "CPUQuotaPerSecUSec": (1 << 64) - 1,
    }
    properties = _properties(_SCOPE, text)
    assert wanted.items() <= properties.items()
    # `unified` comes after what says the same in other words.
    assert (properties["IOWeight"], properties["AllowedCPUs"]) == (7, b"\x08")
    assert _properties(_SCOPE, '{"cpu": {"cpus": "0-1,9"}}')["AllowedCPUs"] == b"\x03\x02"
    assert _properties(_SCOPE, '{"cpu": {"idle": 1, "shares": 512}}')["CPUWeight"] == 0


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        (50_000, 100_000, 500_000),
        (1000, 3000, 340_000),
        (1000, 100_000, 10_000),
        (1, 100_000, 10_000),
        (-1, 5, (1 << 64) - 1),
    ],
)
def test_quota_is_rounded_up(quota: int, period: int, expected: int) -> None:
    assert systemd.quota_per_second(quota, period) == expected
