"""Machines are admitted by what they may take together; what the host counts once is only ever raised."""

from __future__ import annotations

import concurrent.futures
import pathlib
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host import host_limits
from pilot.host.fsm.outcome import Outcome, UserFault
from pilot.host.operations.capacity import Capacity
from pilot.host.services.wanted import NewSprite
from pilot.host.store.sprites import Sprite
from pilot.host.vmm import Size
from pilot.ids import MachineId


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    object.__setattr__(under_test.host, "capacity", Capacity(lambda: 2 * Size.pids + 1))
    yield under_test
    under_test.close()


def _create(host: HostUnderTest, name: str) -> Outcome:
    return host.sprites.create(host.organisation.id, NewSprite(name)).result(WAIT_S)


def _sprite(host: HostUnderTest, name: str) -> Sprite:
    return host.sprites.find(host.organisation.id, name)


def test_a_machine_too_many_is_refused_and_leaves_nothing(host: HostUnderTest) -> None:
    assert _create(host, "one").done
    assert _create(host, "two").done
    headers = {"Authorization": f"Bearer {host.token}"}
    answer = httpx.post(f"{host.url}/v1/sprites", headers=headers, json={"name": "three"}, timeout=WAIT_S)
    assert (answer.status_code, "process numbers" in answer.json()["error"]) == (429, True)
    assert [sprite.name for sprite in host.sprites.every()] == ["one", "two"]
    assert len(host.vmm.made) == 2


def test_what_has_stopped_in_whatever_way_makes_room(host: HostUnderTest) -> None:
    for name in ("one", "two"):
        assert _create(host, name).done
    assert host.sprites.stop(_sprite(host, "one")).result(WAIT_S).done
    assert _create(host, "three").done
    assert host.sprites.wake(_sprite(host, "one")).result(WAIT_S).code == "exhausted"
    died = _sprite(host, "two").machine
    assert died is not None
    host.vmm.stop(died)
    assert host.sprites.wake(_sprite(host, "one")).result(WAIT_S).done


def test_those_that_start_at_once_are_counted_too() -> None:
    capacity = Capacity(lambda: 10)
    inside = []

    def start(number: int) -> bool:
        try:
            with capacity.admitted(MachineId(f"m{number}"), 4, dict):
                inside.append(number)
                return True
        except UserFault:
            return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(start, range(50)))
    assert sum(outcomes) == len(inside)
    with capacity.admitted(MachineId("a"), 4, dict), capacity.admitted(MachineId("b"), 4, dict):
        with capacity.admitted(MachineId("a2"), 2, dict):
            pass
        with pytest.raises(UserFault, match="2 are left"):
            capacity.admitted(MachineId("c"), 4, dict).__enter__()


def test_one_that_is_started_again_counts_once() -> None:
    capacity = Capacity(lambda: 4)
    for _ in range(2):
        with capacity.admitted(MachineId("a"), 4, lambda: {MachineId("a"): 4}):
            pass


def test_limits_are_raised_and_never_lowered(tmp_path: pathlib.Path) -> None:
    plan = host_limits.plan(16 << 30)
    for row in plan:
        path = tmp_path / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("4096\n")
    (tmp_path / "fs/aio-max-nr").write_text(str(1 << 40))
    (tmp_path / "fs/file-max").unlink()
    raised = host_limits.raise_limits(plan, tmp_path)
    assert [row.describe() for row in raised] == ["kernel.pid_max = 4194304", "kernel.pty.max = 1048576"]
    assert (tmp_path / "kernel/pid_max").read_text() == "4194304"
    assert (tmp_path / "fs/aio-max-nr").read_text() == str(1 << 40)
    assert host_limits.raise_limits(plan, tmp_path) == []
    assert host_limits.memory_bytes() > 1 << 28
