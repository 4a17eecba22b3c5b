"""A disk that is attached while its machine starts: whose the descriptor is, whatever happens meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pilot import errors
from pilot.host.operations import disks
from pilot.host.store import sprites
from pilot.host.store.database import Database
from pilot.ids import MachineId, VolumeId

DEADLINE_S = 20


class Volumes:
    """Attaches when it is told to; remembers the order of calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.go_on = threading.Event()
        self.error: Exception | None = None
        self.fd = -1

    def detach(self, volume: VolumeId) -> None:
        self.calls.append("detach")

    def attach(self, volume: VolumeId, uid_base: int, uid_count: int) -> int:
        assert self.go_on.wait(DEADLINE_S)
        self.calls.append(f"attach {volume} {uid_count}")
        if self.error:
            raise self.error
        self.fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return self.fd


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Any]:
    database = Database(str(tmp_path / "state.db"))
    with database.transaction() as tx:
        sprites.assign_machine(tx, MachineId("m"), "container")
    yield SimpleNamespace(database=database, volumes=Volumes())
    database.close()


SPRITE = cast(sprites.Sprite, SimpleNamespace(id="s", machine=MachineId("m"), volume=VolumeId("v")))


def _is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_the_attachment_goes_on_beside_the_block_and_is_the_takers(host: Any) -> None:
    with disks.attaching(host, SPRITE) as volumes:
        host.volumes.go_on.set()  # only now: the block did not wait for it
        fd = volumes.attach(VolumeId("v"), 0, sprites.UID_COUNT)
    assert host.volumes.calls == ["detach", "attach v 65536"]
    assert _is_open(fd)
    os.close(fd)


def test_nothing_stays_open_when_the_start_fails(host: Any) -> None:
    host.volumes.go_on.set()
    with pytest.raises(errors.HostError, match="no luck"):
        _fail_to_start(host)
    assert not _is_open(host.volumes.fd)


def _fail_to_start(host: Any) -> None:
    with disks.attaching(host, SPRITE):
        raise errors.HostError("start machine m: no luck")


def test_a_failure_is_told_to_who_attaches(host: Any) -> None:
    host.volumes.error = errors.PeerError("volumed went away")
    host.volumes.go_on.set()
    with pytest.raises(errors.PeerError, match="went away"), disks.attaching(host, SPRITE) as volumes:
        volumes.attach(VolumeId("v"), 0, sprites.UID_COUNT)


def test_who_attaches_twice_gets_another_one(host: Any) -> None:
    host.volumes.go_on.set()
    with disks.attaching(host, SPRITE) as volumes:
        fds = [volumes.attach(VolumeId("v"), 0, sprites.UID_COUNT) for _ in range(2)]
    assert len(set(fds)) == 2
    assert len(host.volumes.calls) == 3
    for fd in fds:
        os.close(fd)
