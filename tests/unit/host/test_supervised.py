"""A daemon that is kept running: found, started, started again, replaced, let go, ended; and waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilot import errors
from pilot.host import supervised

_LISTENS = """
import os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + ".new")
listener.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
"""


class Toy(supervised.Supervised):
    """`reason`: why the one that runs is to be replaced."""

    def __init__(self, directory: Path, program: str = _LISTENS) -> None:
        super().__init__("toy", str(directory / "socket"), str(directory / "log"))
        self.program = program
        self.reason: str | None = None

    def _launch(self, log_fd: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.program, self.socket_path]
        return subprocess.Popen(command, stdout=log_fd, stderr=log_fd, start_new_session=True)

    def _why_not(self, pid: int) -> str | None:
        return self.reason


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    made = Toy(tmp_path)
    yield made
    made.stop()


def _wait_for(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_there(pid: int) -> bool:
    """Zombies are there."""
    return os.path.exists(f"/proc/{pid}")


def test_one_is_started_and_found_by_the_next(toy: Toy, tmp_path: Path) -> None:
    pid = toy.ensure()
    assert (toy.find(), toy.ensure(), Toy(tmp_path).ensure()) == (pid, pid, pid)
    assert os.getsid(pid) == pid


def test_stop_leaves_nothing(toy: Toy) -> None:
    pid = toy.ensure()
    toy.watch()
    toy.stop()
    assert not _is_there(pid)


def test_one_that_an_earlier_pilotd_has_started_is_ended_too(toy: Toy, tmp_path: Path) -> None:
    pid = toy.ensure()
    Toy(tmp_path).stop()
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"  # its parent's to wait for
    toy.stop()
    assert not _is_there(pid)


def test_one_that_ends_is_started_again(toy: Toy) -> None:
    pid = toy.ensure()
    toy.watch()
    os.kill(pid, signal.SIGKILL)
    _wait_for(lambda: toy.find() not in (None, pid))
    _wait_for(lambda: not _is_there(pid))


def test_one_that_ended_before_anybody_looked_is_waited_for(toy: Toy) -> None:
    pid = toy.ensure()
    os.kill(pid, signal.SIGKILL)
    _wait_for(lambda: toy.find() is None)
    assert toy.ensure() != pid
    assert not _is_there(pid)


def test_released_it_runs_on_and_is_not_started_again(toy: Toy) -> None:
    pid = toy.ensure()
    toy.watch()
    toy.release()
    assert toy.find() == pid
    os.kill(pid, signal.SIGKILL)
    _wait_for(lambda: toy.find() is None)
    toy.stop()
    assert toy.find() is None
    assert not _is_there(pid)


def test_one_that_is_not_as_it_should_be_is_replaced(toy: Toy) -> None:
    pid = toy.ensure()
    toy.reason = "it is old"
    assert toy.ensure() != pid
    assert not _is_there(pid)


def test_one_that_ends_at_once_is_told_and_tried_again(tmp_path: Path) -> None:
    toy = Toy(tmp_path, "import sys; print('no socket today'); sys.exit(7)")
    with pytest.raises(errors.HostError, match="start toy: it ended with 7") as raised:
        toy.ensure()
    assert raised.value.hint == f"see {tmp_path}/log"
    assert (tmp_path / "log").read_text() == "no socket today\n"
    toy.watch()
    _wait_for(lambda: (tmp_path / "log").read_text().count("no socket today") >= 3)
    toy.program = _LISTENS
    _wait_for(toy.find)
    toy.stop()


def test_one_that_is_never_ready_is_ended(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "READY_TIMEOUT_S", 0.3)
    toy.program = "import signal; signal.pause()"
    launch, started = toy._launch, list[int]()

    def noted(log_fd: int) -> subprocess.Popen[bytes]:
        process = launch(log_fd)
        started.append(process.pid)
        return process

    monkeypatch.setattr(toy, "_launch", noted)
    with pytest.raises(errors.HostError, match="start toy: not ready within"):
        toy.ensure()
    assert not _is_there(started[0])
