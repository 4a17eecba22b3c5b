"""Security labels: planned where the host has the module, refused where it has not."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.plan import labels
from pilot.plan.facts import HostFacts
from pilot.spec.process import Process

_PROCESS = Process(args=("true",), cwd="/")


def _describe(process: Process, *lsms: str) -> list[str]:
    opens, writes = labels.plan_labels(process, HostFacts(lsms=frozenset(lsms)))
    return [step.describe() for step in (*opens, *writes)]


def test_no_label_nothing_to_do() -> None:
    assert _describe(_PROCESS) == []
    assert _describe(Process(apparmor_profile="unconfined"), "apparmor") == []


def test_labels_are_written_for_exec() -> None:
    process = Process(apparmor_profile="web", selinux_label="u:r:t:s0")
    assert _describe(process, "apparmor", "selinux") == [
        "open /proc/self/attr/apparmor/exec as apparmor-label",
        "open /proc/self/attr/exec as selinux-label",
        "write 'exec web' to apparmor-label",
        "write 'u:r:t:s0' to selinux-label",
    ]


def test_a_label_without_its_module_is_refused() -> None:
    with pytest.raises(errors.HostError, match="apparmor is not enabled"):
        _describe(Process(apparmor_profile="web"), "selinux")
