"""A busy machine is not taken for dead: what counts as silence, and what a full backlog or a closed connection say."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.operations import machines, silence
from pilot.host.operations.silence import Silences
from pilot.host.services.wanted import NewSprite
from pilot.ids import MachineId
from pilot.machine import dial
from pilot.wire import faults

M = MachineId("m")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _asked(silences: Silences, clock: Clock, *pauses_s: float) -> list[bool]:
    noted = []
    for pause_s in pauses_s:
        clock.now_s += pause_s
        noted.append(silences.note(M, silence.LONG_S))
    return noted


def test_only_a_long_silence_to_many_questions_is_one() -> None:
    clock = Clock()
    silences = Silences(clock)
    assert not any(_asked(silences, clock, *[0.1] * 100)), "many, and not long"
    silences.end(M)
    assert _asked(silences, clock, 0, *[29.0] * 5) == [False] * 5 + [True]
    silences.end(M)
    assert not any(_asked(silences, clock, 0, *[29.0] * 4)), "long, and not many"


def test_a_word_or_a_long_pause_ends_it() -> None:
    clock = Clock()
    silences = Silences(clock)
    assert not any(_asked(silences, clock, 0, *[20.0] * 4))
    silences.end(M)
    assert not any(_asked(silences, clock, *[10.0] * 6))
    assert not any(_asked(silences, clock, 600.0, 1.0, 1.0)), "who knows what it did in ten minutes"
    assert _asked(silences, clock, *[12.0] * 5)[-1]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "dial.sock")


@pytest.fixture
def full(path: str) -> Iterator[socket.socket]:
    """A listener whose backlog is full, as that of an agent that stands still."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(1)]
        for sock in waiting:
            sock.connect(path)
        yield listener
        for sock in waiting:
            sock.close()


def _blocking(path: str, timeout_s: float) -> None:
    dial.connect(path, 10000, timeout_s).close()


def _on_a_loop(path: str, timeout_s: float) -> None:
    async def talk() -> None:
        (await dial.open_stream(path, 10000, timeout_s)).close()

    asyncio.run(talk())


@pytest.mark.parametrize("connect", [_blocking, _on_a_loop])
def test_a_full_backlog_is_waited_for_and_then_busy(
    full: socket.socket, path: str, connect: Callable[[str, float], None]
) -> None:
    with pytest.raises(dial.Busy):
        connect(path, 0.2)


@pytest.mark.parametrize("connect", [_blocking, _on_a_loop])
def test_who_goes_on_in_time_is_reached(full: socket.socket, path: str, connect: Callable[[str, float], None]) -> None:
    def go_on() -> None:
        full.accept()[0].close()
        stream, _ = full.accept()
        with stream:
            assert stream.makefile("rb", buffering=0).readline() == b"CONNECT 10000\n"
            stream.sendall(b"OK 10000\n")

    timer = threading.Timer(0.1, go_on)
    timer.start()
    connect(path, WAIT_S)
    timer.join()


@pytest.mark.parametrize("connect", [_blocking, _on_a_loop])
def test_nobody_who_listens_is_not_busy(path: str, connect: Callable[[str, float], None]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(path)
    with pytest.raises(errors.PeerError) as caught:
        connect(path, 1.0)
    assert not isinstance(caught.value, dial.Busy)


def test_a_machine_that_is_busy_is_left_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostUnderTest(tmp_path)
    try:
        assert host.sprites.create(host.organisation.id, NewSprite("web")).result(WAIT_S).done
        machine = host.sprites.find(host.organisation.id, "web").machine
        assert machine is not None
        running = host.vmm.machines[machine]

        def silent(self: object) -> None:
            raise dial.Busy("dial: resource temporarily unavailable")

        with monkeypatch.context() as patch:
            patch.setattr(host.vmm, "ask", lambda machine: None)
            patch.setattr("pilot.machine.pilot_api.PilotApi.status", silent)
            for _ in range(2 * silence.QUESTIONS):
                with pytest.raises(faults.Unavailable, match="busy"):
                    machines.is_up(host.host, machine)
        assert machines.is_up(host.host, machine)
        assert host.vmm.machines[machine] is running
    finally:
        host.close()
