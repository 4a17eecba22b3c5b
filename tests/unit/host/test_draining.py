"""`pilotd drain` says that nothing runs where that is so, and nowhere else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from pilot import errors
from pilot.host import daemon, draining
from pilot.host.fly.containers import MOST_STOP_S
from pilot.host.operations.context import VolumeService
from pilot.host.services.fly import FlyMachines
from pilot.host.services.sprites import Sprites

SERVES = """
import os, signal, sys
from pilot import errors
from pilot.host import daemon

ending = daemon.Ending()
signal.pthread_sigmask(signal.SIG_BLOCK, [daemon.draining.SIGNAL])
try:
    with daemon._locked(sys.argv[1], ending):
        print("serves", flush=True)
        signal.sigwait([daemon.draining.SIGNAL])
        ending.is_drain = True
        {how}
except errors.HostError as error:
    sys.exit(str(error))
"""


@contextlib.contextmanager
def serving(state: pathlib.Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVES.replace("{how}", how), str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serves\n"
        try:
            yield process
        finally:
            process.kill()


def test_all_has_ended(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path, "pass"):
        draining.drain(str(tmp_path), 60)
    with pytest.raises(errors.NotFound):
        draining.drain(str(tmp_path), 60)
    with serving(tmp_path, "pass"):  # and again, where one has drained
        draining.drain(str(tmp_path), 60)


@pytest.mark.parametrize(
    "how",
    ["ending.left.append('machine m')", "os.kill(os.getpid(), signal.SIGKILL)", "raise errors.HostError('broke')"],
)
def test_it_has_ended_and_something_runs_on(tmp_path: pathlib.Path, how: str) -> None:
    with serving(tmp_path, how) as process:
        with pytest.raises(errors.HostError, match="not all of its machines and disks"):
            draining.drain(str(tmp_path), 60)
        assert process.wait(60) != 0


def test_another_one_has_been_started_since(tmp_path: pathlib.Path) -> None:
    (tmp_path / "lock").touch()
    how = "os.ftruncate(os.open(sys.argv[1] + '/lock', os.O_WRONLY), 0); os._exit(0)"
    with serving(tmp_path, how), pytest.raises(errors.HostError, match="not all"):
        draining.drain(str(tmp_path), 60)


def test_what_is_left_keeps_its_network_and_disks(tmp_path: pathlib.Path) -> None:
    settings = daemon.Settings(str(tmp_path))
    settings.ending.is_drain = True
    assert settings.leaves_nothing
    settings.ending.left.append("machine m")
    assert not settings.leaves_nothing


class _Sprite:
    def __init__(self, name: str) -> None:
        self.name = name


class _Outcome:
    done = True


class _Sprites:
    """Two organisations have a sprite of the same name; only the second one's stops."""

    def every(self) -> Sequence[_Sprite]:
        return [_Sprite("web"), _Sprite("web")]

    def __init__(self) -> None:
        self.futures: list[concurrent.futures.Future[_Outcome]] = [concurrent.futures.Future() for _ in range(2)]
        self.futures[1].set_result(_Outcome())
        self._next = iter(self.futures)

    def stop(self, _: _Sprite) -> concurrent.futures.Future[_Outcome]:
        return next(self._next)


class _Fly:
    def stop_all(self) -> dict[str, concurrent.futures.Future[_Outcome]]:
        return {"m1": concurrent.futures.Future()}


def test_those_that_did_not_stop_are_told() -> None:
    left = daemon._stop_machines(cast(Sprites, _Sprites()), cast(FlyMachines, _Fly()), 0)
    assert left == ["sprite web", "machine m1"]


def test_a_drain_waits_for_longer_than_any_machine_takes() -> None:
    assert daemon.DRAIN_TIMEOUT_S > MOST_STOP_S


class _Silent:
    def list(self) -> Sequence[object]:
        raise errors.PeerError("volumed: connection refused")


def test_a_volumed_that_cannot_be_asked_is_left() -> None:
    assert daemon._attached(cast(VolumeService, _Silent())) != []
