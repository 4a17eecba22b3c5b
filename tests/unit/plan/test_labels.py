"""Security labels: planned where the host has the module, refused where it has not."""

from __future__ import annotations

import pytest
from tests.support import bundles

from pilot import errors
from pilot.plan import create, labels
from pilot.plan.facts import HostFacts
from pilot.plan.identity import Ending
from pilot.spec.process import Process

_PROCESS = Process(args=("true",), cwd="/")


def _describe(process: Process, *lsms: str) -> list[str]:
    planned = labels.plan_labels(process, HostFacts(lsms=frozenset(lsms)))
    return [step.describe() for step in (*planned.holds, *planned.opens, *planned.writes)]


def test_no_label_nothing_to_do() -> None:
    assert _describe(_PROCESS) == []
    assert _describe(Process(apparmor_profile="unconfined"), "apparmor") == []


def test_labels_are_written_for_exec() -> None:
    process = Process(apparmor_profile="web", selinux_label="u:r:t:s0")
    assert _describe(process, "apparmor", "selinux") == [
        "open /proc as proc",
        "open proc:self/attr/apparmor/exec as apparmor-label",
        "open proc:self/attr/exec as selinux-label",
        "write 'exec web' to apparmor-label",
        "write 'u:r:t:s0' to selinux-label",
    ]


def test_a_label_without_its_module_is_refused() -> None:
    with pytest.raises(errors.HostError, match="apparmor is not enabled"):
        _describe(Process(apparmor_profile="web"), "selinux")


def test_proc_is_held_before_a_mount_namespace_is_joined() -> None:
    config = bundles.make_config("sh", apparmorProfile="web")
    next(n for n in config["linux"]["namespaces"] if n["type"] == "mount")["path"] = "/proc/1/ns/mnt"
    config["linux"].update({"maskedPaths": [], "readonlyPaths": []})
    config["mounts"] = []
    facts = HostFacts(lsms=frozenset({"apparmor"}))
    asked = create.CreateOptions(id="web", bundle="/b", rootfs="/b/rootfs", ending=Ending(()))
    text = create.plan_create(bundles.parse_config(config), facts, asked).describe()
    assert (
        text.index("open /proc as proc")
        < text.index("join namespace")
        < text.index("open proc:self/attr/apparmor/exec")
    )
