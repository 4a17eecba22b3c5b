"""A pid file names a process exactly as long as that process lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.host.vmm.qemu import pidfile

_HOLDER = """
import signal, sys
from pilot.host.vmm.qemu import pidfile
print(pidfile.hold(sys.argv[1]), flush=True)
signal.pause()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    path = str(tmp_path / "pid")
    with subprocess.Popen([sys.executable, "-c", _HOLDER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() != "None"
        yield path, process
        process.kill()


def test_the_holder_is_found(holder: tuple[str, subprocess.Popen[str]]) -> None:
    path, process = holder
    assert pidfile.find(path) == process.pid


def test_a_second_one_does_not_become_it(holder: tuple[str, subprocess.Popen[str]]) -> None:
    path, process = holder
    assert pidfile.hold(path) is None
    assert Path(path).read_text().strip() == str(process.pid)


def test_killed_it_is_nobody_though_the_file_stays(holder: tuple[str, subprocess.Popen[str]]) -> None:
    path, process = holder
    assert pidfile.end(path, signal.SIGKILL, 20)
    assert process.wait(20) == -signal.SIGKILL
    assert os.path.exists(path)
    assert pidfile.find(path) is None
    assert pidfile.end(path, signal.SIGKILL, 0)


def test_a_process_that_stays_is_said_to_stay(holder: tuple[str, subprocess.Popen[str]]) -> None:
    path, _ = holder
    assert not pidfile.wait(path, 0)


def test_a_pid_without_its_lock_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    assert pidfile.find(str(path)) is None
    assert pidfile.find(str(tmp_path / "absent")) is None
