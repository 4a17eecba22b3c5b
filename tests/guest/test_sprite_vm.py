"""The whole way with virtual machines: pilotd, volumed, a clone of a template, the world, sprites-py unmodified."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

from pilot.conformance import running
from pilot.conformance.promise import World
from pilot.conformance.promises import graph
from pilot.conformance.report import Outcome
from pilot.conformance.subject import Subject

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space")


@pytest.fixture(scope="module")
def client(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        yield client


@pytest.fixture(scope="module")
def sprite(client: Any) -> Iterator[Any]:
    made = client.create_sprite("virtual")
    yield made
    made.destroy()


def _output(sprite: Any, *command: str) -> bytes:
    return bytes(sprite.run(*command, capture_output=True).stdout)


def _number(checkpoint: str) -> int:
    return int(checkpoint.removeprefix("v"))


def test_it_is_another_kernel_and_the_users_debian(sprite: Any) -> None:
    release, user, host = _output(sprite, "sh", "-c", "uname -r; id -un; hostname").decode().split()
    assert release != os.uname().release
    assert (user, host) == ("sprite", "virtual")


def test_the_world_may_become_root_and_no_more(sprite: Any) -> None:
    assert _output(sprite, "sudo", "-n", "id", "-u") == b"0\n"
    done = sprite.run(
        "sudo", "-n", "sh", "-c", "ls /sys/module/erofs && mount -t erofs /dev/vda /mnt", capture_output=True
    )
    assert done.returncode != 0


def test_containers_are_a_graph_there_as_well(pilotd: Pilotd, sprite: Any) -> None:
    """What the conformance kit asks of them, in a machine of its own kernel: services in the world, logs, events."""
    (dial,) = (pilotd.state / "machines").glob("*/dial.sock")
    sprite.run("true", check=True)
    asked = [promise for promise in graph.promises() if promise.world is not World.ABSENT]
    report = running.Run(Subject(str(dial), 120.0, "pilot-conformance-graph"), keep=True).all(asked)
    assert report.isolation == "vm"
    assert [row for row in report.results if row.outcome is Outcome.UNMET] == []
    assert sum(row.outcome is Outcome.MET for row in report.results) > 30


def test_it_knows_from_its_host_who_it_is(sprite: Any) -> None:
    """By a stream that the guest opens."""
    told = json.loads(_output(sprite, "/.sprite/bin/sprite-env", "curl", "/v1/self"))
    assert (told["sprite"], told["isolation"]) == ("virtual", "vm")


def test_the_clock_is_the_hosts(sprite: Any) -> None:
    before = time.time()
    there = int(_output(sprite, "date", "+%s"))
    # A template's clock stands still while it lies there; `adopt` sets it, a moment after the host looked at its own.
    assert before - 5 < there < time.time() + 5


def test_the_guest_says_how_its_checkpoint_was_held(pilotd: Pilotd, sprite: Any) -> None:
    """A freeze that a busy host slows down may miss its deadline; then it is flagged, and one of the next is clean."""
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    for _ in range(10):
        list(sprite.create_checkpoint("held"))
        rows = httpx.get(f"{pilotd.url}/v1/sprites/virtual/checkpoints", headers=headers, timeout=60).json()
        last = max((row for row in rows if row["id"] != "Current"), key=lambda row: int(row["id"][1:]))
        if last["clean"]:
            break
    assert last["clean"]
    assert 0 < last["frozen_ms"] < 1000


def test_what_was_written_survives_checkpoint_damage_and_restore(sprite: Any) -> None:
    _output(sprite, "sh", "-c", "echo kept > ~/file; sync")
    messages = list(sprite.create_checkpoint("before the damage"))
    assert messages[-1].type == "complete"
    _output(sprite, "sh", "-c", "echo lost > ~/file; echo new > ~/other; sync")
    boot = _output(sprite, "cat", "/proc/sys/kernel/random/boot_id")
    checkpoint = max((point.id for point in sprite.list_checkpoints() if point.id != "Current"), key=_number)
    messages = list(sprite.restore_checkpoint(checkpoint))
    assert messages[-1].type == "complete"
    assert _output(sprite, "cat", "/home/sprite/file") == b"kept\n"
    assert sprite.run("test", "-e", "/home/sprite/other").returncode != 0
    assert _output(sprite, "cat", "/proc/sys/kernel/random/boot_id") == boot


def test_a_machine_that_was_killed_is_restored(pilotd: Pilotd, sprite: Any) -> None:
    """What it had not synced is in nobody's way."""
    _output(sprite, "sh", "-c", "echo kept > ~/again; sync")
    list(sprite.create_checkpoint("before the kill"))
    checkpoint = max((point.id for point in sprite.list_checkpoints() if point.id != "Current"), key=_number)
    _output(
        sprite,
        "sh",
        "-c",
        "echo lost > ~/again; sync; dd if=/dev/urandom of=/home/sprite/more bs=1M count=20 status=none",
    )
    (machine,) = os.listdir(pilotd.state / "machines")
    pid = int((pilotd.state / "machines" / machine / "qemu.pid").read_text())
    end = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([end], [], [], 30)[0]
    os.close(end)
    assert list(sprite.restore_checkpoint(checkpoint))[-1].type == "complete"
    assert _output(sprite, "cat", "/home/sprite/again") == b"kept\n"


def test_much_comes_through_whole(sprite: Any) -> None:
    assert len(_output(sprite, "head", "-c", "5000000", "/dev/zero")) == 5_000_000


def test_a_second_machine_is_another(client: Any, sprite: Any) -> None:
    other = client.create_sprite("second")
    try:
        _output(sprite, "sh", "-c", "echo mine > ~/private")
        assert other.run("test", "-e", "/home/sprite/private").returncode != 0
        for never_the_same in ("/dev/urandom", "/proc/sys/kernel/random/boot_id"):
            assert len({_output(one, "head", "-c", "16", never_the_same) for one in (sprite, other)}) == 2
    finally:
        other.destroy()


def test_frozen_it_takes_no_processor_time_and_goes_on_where_it_was(pilotd: Pilotd, sprite: Any) -> None:
    _output(sprite, "sh", "-c", "echo kept > ~/warm; sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/sleeping")
    boot = _output(sprite, "cat", "/proc/sys/kernel/random/boot_id")
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    answer = httpx.post(f"{pilotd.url}/v1/sprites/virtual/sleep", headers=headers, timeout=60)
    assert answer.json()["status"] == "warm", answer.text
    (machine,) = os.listdir(pilotd.state / "machines")
    stat = Path(f"/proc/{(pilotd.state / 'machines' / machine / 'qemu.pid').read_text().strip()}/stat")
    before = stat.read_text().split()[13:15]
    time.sleep(0.5)
    assert stat.read_text().split()[13:15] == before
    assert list(sprite.create_checkpoint("of one that was warm"))[-1].type == "complete"
    assert _output(sprite, "sh", "-c", "kill -0 $(cat /tmp/sleeping) && cat ~/warm") == b"kept\n"
    assert _output(sprite, "cat", "/proc/sys/kernel/random/boot_id") == boot


def test_pilotd_killed_and_started_anew_finds_it(pilotd: Pilotd, sprite: Any) -> None:
    _output(sprite, "sh", "-c", "nohup sleep 1000 > /dev/null 2>&1 & echo $! > /tmp/pid")
    pilotd.kill()
    pilotd.start()
    assert _output(sprite, "sh", "-c", "kill -0 $(cat /tmp/pid) && echo alive") == b"alive\n"
