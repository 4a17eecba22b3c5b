"""Disks of machines: attached while the machine starts, and whose the descriptor is, whatever happens meanwhile."""

from __future__ import annotations

import os
import threading
from typing import Any, cast

import pytest

from pilot import errors
from pilot.host.operations.disks import VolumeDisk
from pilot.host.store.machines import UID_COUNT
from pilot.host.vmm.container import attaching
from pilot.ids import VolumeId

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
def volumes() -> Volumes:
    return Volumes()


@pytest.fixture
def disk(volumes: Volumes) -> VolumeDisk:
    return VolumeDisk(cast(Any, volumes), VolumeId("v"))


def _is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_the_attachment_goes_on_beside_the_block_and_is_the_takers(volumes: Volumes, disk: VolumeDisk) -> None:
    with attaching.begun(disk, 0, UID_COUNT) as mount:
        volumes.go_on.set()  # only now: the block did not wait for it
        fd = mount()
    assert volumes.calls == ["detach", "attach v 65536"]
    assert _is_open(fd)
    os.close(fd)


def test_nothing_stays_open_when_the_start_fails(volumes: Volumes, disk: VolumeDisk) -> None:
    volumes.go_on.set()
    with pytest.raises(errors.HostError, match="no luck"):
        _fail_to_start(disk)
    assert not _is_open(volumes.fd)


def _fail_to_start(disk: VolumeDisk) -> None:
    with attaching.begun(disk, 0, UID_COUNT):
        raise errors.HostError("start machine m: no luck")


def test_a_failure_is_told_to_who_attaches(volumes: Volumes, disk: VolumeDisk) -> None:
    volumes.error = errors.PeerError("volumed went away")
    volumes.go_on.set()
    with pytest.raises(errors.PeerError, match="went away"), attaching.begun(disk, 0, UID_COUNT) as mount:
        mount()


def test_who_attaches_twice_gets_another_one(volumes: Volumes, disk: VolumeDisk) -> None:
    volumes.go_on.set()
    fds = [disk.mount(0, UID_COUNT) for _ in range(2)]
    assert len(set(fds)) == 2
    assert volumes.calls == ["detach", "attach v 65536"] * 2
    for fd in fds:
        os.close(fd)
