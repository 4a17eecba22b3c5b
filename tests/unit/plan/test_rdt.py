"""intelRdt: the rules of the specification as a plan, and a directory that stands in for resctrl.

No processor with RDT was at hand: what the kernel does by itself in a new group, the test does.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import resctrl
from pilot.plan import rdt
from pilot.plan.rdt import RdtGroup
from pilot.spec.linux import IntelRdt

PLANS = [
    (IntelRdt(), RdtGroup("web", is_own=True)),
    (IntelRdt(clos_id="gold"), RdtGroup("gold", must_exist=True)),
    (IntelRdt(clos_id="/", enable_monitoring=True), RdtGroup("", must_exist=True, monitor="web")),
    (IntelRdt(l3_cache_schema="L3:0=f\nMB:0=10", mem_bw_schema="MB:0=20", schemata=("L2:0=1",)),
     RdtGroup("web", ("L3:0=f", "MB:0=20", "L2:0=1"), is_own=True)),
    (IntelRdt(clos_id="gold", l3_cache_schema="L3:0=f\nMB:0=10", enable_cmt=True),
     RdtGroup("gold", ("L3:0=f", "MB:0=10"), monitor="web")),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "group"), PLANS)
def test_rules(asked: IntelRdt, group: RdtGroup) -> None:
    assert rdt.plan_rdt(asked, "web") == group


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which mkdir makes what the kernel makes."""
    make, remove = os.mkdir, os.rmdir

    def fill(group: str) -> None:
        files = ("tasks",) if os.path.basename(os.path.dirname(group)) == "mon_groups" else ("tasks", "schemata")
        for name in files:
            Path(group, name).touch()
        if "schemata" in files:
            make(f"{group}/mon_groups")

    def mkdir(path: str) -> None:
        make(path)
        fill(path)

    def rmdir(path: str) -> None:
        for name in ("schemata", "tasks"):
            Path(path, name).unlink(missing_ok=True)
        if os.path.exists(f"{path}/mon_groups"):
            remove(f"{path}/mon_groups")
        remove(path)

    fill(str(tmp_path))
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)
    return tmp_path


def test_a_group_of_its_own(root: Path) -> None:
    group = RdtGroup("web", ("L3:0=f",), is_own=True)
    resctrl.prepare(str(root), group)
    resctrl.assign(str(root), group, 12)
    assert (root / "web/schemata").read_text() == "L3:0=f\n"
    assert (root / "web/tasks").read_text() == "12\n"
    resctrl.change(str(root), group, ("L3:0=7",))
    assert (root / "web/schemata").read_text() == "L3:0=7\n"
    resctrl.remove(str(root), group)
    assert not (root / "web").exists()
    resctrl.remove(str(root), group)  # as often as one likes


def test_a_class_that_is_there_stays(root: Path) -> None:
    resctrl.prepare(str(root), RdtGroup("gold", ("L3:0=f",)))
    group = RdtGroup("gold", must_exist=True, monitor="web")
    resctrl.prepare(str(root), group)
    resctrl.assign(str(root), group, 12)
    assert (root / "gold/mon_groups/web/tasks").read_text() == "12\n"
    resctrl.remove(str(root), group)
    assert not (root / "gold/mon_groups/web").exists()
    assert (root / "gold").is_dir()


def test_a_class_that_is_not_there_or_is_another(root: Path) -> None:
    with pytest.raises(errors.HostError, match="there is no class of service gold"):
        resctrl.prepare(str(root), RdtGroup("gold", must_exist=True))
    resctrl.prepare(str(root), RdtGroup("gold", ("L3:0=f",)))
    resctrl.prepare(str(root), RdtGroup("gold", ("L3:0=f",)))
    with pytest.raises(errors.Conflict, match="is not L3:0=7"):
        resctrl.prepare(str(root), RdtGroup("gold", ("L3:0=7",)))
