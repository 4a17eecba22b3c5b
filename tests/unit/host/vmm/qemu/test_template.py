"""Templates without a machine: whose they are, and what a crash in the middle leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pilot.host.vmm.qemu import command as q
from pilot.host.vmm.qemu import template

SHAPE = q.Machine("/d", q.Artefacts("/k", "/i", "/r"), q.Host(q.Accelerator.TCG, 1), q.Memory(1 << 28), 1)
_HOLDER = """
import signal, sys
from pilot.host.vmm.qemu import pidfile
pidfile.hold(sys.argv[1])
print(flush=True)
signal.pause()
"""


def _digest(shape: q.Machine, disk_bytes: int = 0, *drives_bytes: int) -> str:
    return template.digest(shape, template.Sizes(disk_bytes, drives_bytes))


def test_what_is_a_machines_own_does_not_count() -> None:
    own = replace(
        SHAPE, directory="/e", uid=7, disk_fd=5, incoming=True, memory=q.Memory(1 << 28, "/ram", private=True)
    )
    assert _digest(own) == _digest(SHAPE)


@pytest.mark.parametrize(
    "other",
    [
        replace(SHAPE, cpus=2),
        replace(SHAPE, memory=q.Memory(1 << 29)),
        replace(SHAPE, host=q.Host(q.Accelerator.TCG, 2)),
        replace(SHAPE, host=q.Host(q.Accelerator.KVM, 1)),
        replace(SHAPE, artefacts=q.Artefacts("/k", "/i", "/other")),
    ],
)
def test_another_shape_has_another_template(other: q.Machine) -> None:
    assert _digest(other) != _digest(SHAPE)


def test_another_disk_size_has_another_template() -> None:
    assert _digest(SHAPE, 1) != _digest(SHAPE, 2)
    drives = replace(SHAPE, drive_fds=(7, 8))
    assert len({_digest(SHAPE), _digest(drives, 0, 1, 2), _digest(drives, 0, 2, 1)}) == 3
    assert _digest(drives, 0, 1, 2) == _digest(replace(SHAPE, drive_fds=(9, 3)), 0, 1, 2)


def test_what_a_crash_left_running_is_killed_and_removed(tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "ram").write_bytes(b"half")
    command = [sys.executable, "-c", _HOLDER, str(new / q.PID)]

    def boot(machine: q.Machine) -> None:
        assert os.listdir(new) == []
        assert machine.directory == str(new)
        raise RuntimeError("no boot in this test")

    with subprocess.Popen(command, stdout=subprocess.PIPE) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == b"\n"
        with pytest.raises(RuntimeError):
            template.ensure(str(tmp_path), SHAPE, template.Sizes(1 << 20), boot)
        assert left.wait(20) == -9
    assert os.listdir(tmp_path) == ["lock"]


def test_a_finished_template_is_not_booted_again(tmp_path: Path) -> None:
    made = tmp_path / _digest(SHAPE, 1)
    made.mkdir()
    assert template.ensure(str(tmp_path), SHAPE, template.Sizes(1), lambda _: pytest.fail("booted")) == str(made)
