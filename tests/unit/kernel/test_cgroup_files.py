"""What is read from a cgroup's files, on files of the same names."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import cgroup_freezer, cgroups, kernfs
from pilot.kernel.cgroups import Cgroup
from pilot.plan.cgroup import Current


def _write(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n")
    return directory


def test_limits_that_come_in_pairs(tmp_path: Path) -> None:
    v2 = {"cpu.max": "max 100000", "memory.max": "4096"}
    assert Cgroup({"": str(_write(tmp_path / "v2", v2))}).current() == Current(-1, 100000, 4096)
    v1 = str(_write(tmp_path / "v1", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "5000"}))
    assert Cgroup({"cpu": v1, "memory": v1}).current() == Current(-1, 5000, None)
    assert Cgroup({}).current() == Current()


def test_a_freezer_above_is_found(tmp_path: Path) -> None:
    _write(tmp_path / "frozen", {"cgroup.freeze": "1", "freezer.self_freezing": "0"})
    child = _write(tmp_path / "frozen" / "child", {"cgroup.freeze": "0", "freezer.self_freezing": "0"})
    assert cgroup_freezer.find_frozen({"": str(child / "new")}) == str(tmp_path / "frozen")
    assert cgroup_freezer.find_frozen({"freezer": str(child)}) is None


def test_one_process_may_go_deeper() -> None:
    group = Cgroup({"cpu": "/c/cpu/web", "cpuacct": "/c/cpu/web", "memory": "/c/memory/web"})
    assert group.below({"": "/sub"}).paths == {name: f"{path}/sub" for name, path in group.paths.items()}
    deeper = group.below({"cpu": "a", "memory": "b/c"}).paths
    assert deeper == {"cpu": "/c/cpu/web/a", "cpuacct": "/c/cpu/web/a", "memory": "/c/memory/web/b/c"}
    assert group.below({"memory": "b"}).paths["cpu"] == "/c/cpu/web"


@pytest.mark.parametrize(
    ("names", "problem"), [({"net_cls": "a"}, "unknown controller net_cls"), ({"cpu": "a/../../b"}, "bad sub cgroup")]
)
def test_where_nobody_may_go(names: dict[str, str], problem: str) -> None:
    with pytest.raises(errors.StateError, match=problem):
        Cgroup({"cpu": "/c/cpu/web"}).below(names)


def test_what_is_used_is_told_of_the_cgroup_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called."""
    used = {"memory.usage_in_bytes": "9", "memory.max_usage_in_bytes": "11", "memory.limit_in_bytes": "20"}
    limits = _write(tmp_path / "limits", used)

    def busy(path: str, _: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)

    monkeypatch.setattr(kernfs, "write", busy)
    with pytest.raises(errors.HostError, match=r"limit to 4 \(current usage: 9, peak usage: 11\)"):
        cgroups._put(str(limits / "memory.limit_in_bytes"), "4", "write")
