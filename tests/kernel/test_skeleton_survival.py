"""kill -9 of any one of our processes loses nothing: the agent during output, pilotd, the volume worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("survivor")
        yield made
        client.destroy_sprite("survivor")


def _agents() -> set[int]:
    """Agents of all machines; for a moment a process that an agent is starting looks like it."""
    return {pid for pid, words in _commands() if words[:2] == ["/usr/bin/python3", "-ISE"]}


def _workers() -> set[int]:
    return {pid for pid, _ in _commands() if _name(pid) == "volume-worker"}


def _commands() -> Iterator[tuple[int, list[str]]]:
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            yield pid, Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:  # gone between the listing and the reading
            continue


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # gone
        return ""


def _until(condition: Callable[[], bool], what: str, deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"still not so after {deadline_s} s: {what}"
        time.sleep(0.05)


def _attach(sprite: Any, session: str) -> bytes:
    return bytes(sprite.attach_session(session, timeout=120).output())


def test_the_agent_killed_during_output_loses_no_byte(sprite: Any) -> None:
    count = 400_000
    started = threading.Event()
    script = f"for i in 1 2 3 4; do seq {count}; sleep 0.5; done"

    def first_connection() -> None:
        started.set()
        # The connection dies with the agent; the session must not.
        with pytest.raises(Exception):  # noqa: B017, PT011 - which error sprites-py raises here is its own business
            sprite.run("sh", "-c", script, capture_output=True, timeout=120)

    client = threading.Thread(target=first_connection, name="first-connection")
    client.start()
    started.wait()
    _until(lambda: bool(sprite.list_sessions()), "the session is listed")
    session = sprite.list_sessions()[0].id
    _until(lambda: len(_agents()) == 1, "one agent")
    os.kill(_agents().pop(), signal.SIGKILL)
    client.join(timeout=120)
    assert not client.is_alive()
    output = _attach(sprite, session)
    assert output == b"".join(b"%d\n" % n for n in range(1, count + 1)) * 4


def test_pilotd_killed_adopts_the_running_machine(pilotd: Pilotd, sprite: Any) -> None:
    boot = sprite.run("cat", "/proc/sys/kernel/random/boot_id", capture_output=True).stdout
    sprite.run("sh", "-c", "nohup sleep 100000 >/dev/null 2>&1 & echo $! > ~/pid", check=True)
    agents = _agents()
    pilotd.kill()
    pilotd.start()
    assert _agents() == agents, "the machine was started again instead of adopted"
    assert sprite.run("sh", "-c", "kill -0 $(cat ~/pid)").returncode == 0
    assert sprite.run("cat", "/proc/sys/kernel/random/boot_id", capture_output=True).stdout == boot


def test_the_volume_worker_killed_under_writes(sprite: Any) -> None:
    script = "i=0; while [ $i -lt 150 ]; do echo $i > ~/f$i && sync ~/f$i && echo ok $i || exit 9; i=$((i+1)); done"
    result: list[Any] = []
    writer = threading.Thread(
        target=lambda: result.append(sprite.run("sh", "-c", script, capture_output=True, timeout=240)), name="writer"
    )
    writer.start()
    for _ in range(3):
        workers = _workers()
        assert workers, "no volume worker is running"
        os.kill(min(workers), signal.SIGKILL)
        _until(lambda old=workers: bool(_workers() - old), "a new worker has taken over")  # type: ignore[misc]
    writer.join(timeout=240)
    assert not writer.is_alive()
    assert result[0].returncode == 0, result[0].stderr
    assert result[0].stdout.count(b"ok") == 150
    check = sprite.run("sh", "-c", "sudo touch /still-writable && cat ~/f149", capture_output=True)
    assert (check.returncode, check.stdout) == (0, b"149\n")


def _volumed(pilotd: Pilotd) -> set[int]:
    daemons = {pid for pid, words in _commands() if {"pilot.volume.volumed.daemon", str(pilotd.state)} <= set(words)}
    return {pid for pid in daemons if not _name(pid).startswith("volume-")}


def test_volumed_killed_comes_back_with_its_disks(pilotd: Pilotd, sprite: Any) -> None:
    sprite.run("sh", "-c", "echo before > ~/kept; sync", check=True)
    before = _volumed(pilotd)
    assert len(before) == 1
    os.kill(min(before), signal.SIGKILL)
    sprite.run("sh", "-c", "echo during > ~/during; sync ~/during", check=True)
    _until(lambda: bool(_volumed(pilotd) - before), "volumed has been started again")
    assert [message.type for message in sprite.create_checkpoint("after volumed")][-1] == "complete"
    point = max(point.id for point in sprite.list_checkpoints() if point.id.startswith("v"))
    sprite.run("sh", "-c", "echo after > ~/kept", check=True)
    assert [message.type for message in sprite.restore_checkpoint(point)][-1] == "complete"
    assert sprite.run("cat", "kept", "during", capture_output=True).stdout == b"before\nduring\n"
