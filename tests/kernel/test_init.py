"""pilot-init as PID 1: what it keeps over the death of its agent, what it reaps, and how it ends."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support import underinit

from pilot import errors
from pilot.kernel import initlink
from pilot.machine import health

pytestmark = pytest.mark.requires("root", "private")

Start = Callable[..., underinit.UnderInit]


@pytest.fixture(scope="module", params=sorted(underinit.BUILDS))
def init(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return underinit.build_init_or_skip(request.param, tmp_path_factory.mktemp("init"))


@pytest.fixture
def start(init: Path, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(
            underinit.UnderInit(init, tmp_path, "--longest-pause-ms", "20", *options, **settings)
        )


def test_agent_gets_only_what_it_should(start: Start, tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("from the host")
    with (tmp_path / "seed").open() as seed, (tmp_path / "seed").open() as stray:
        machine = start(descriptors={"dial": seed.fileno(), "a:b": stray.fileno()})
        agent = machine.agent()
    assert agent.inherited == {"dial": "from the host", "a:b": "from the host"}
    assert "PILOT_FDS" not in agent.environment
    assert "PILOT_INIT_FD" not in agent.environment  # taken by the link
    assert "TEST_SOCKET" in agent.environment


def test_bad_names_of_inherited_descriptors_are_left_out(start: Start, tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("given")
    with (tmp_path / "seed").open() as seed:
        fd = seed.fileno()
        junk = [
            f"twice:{fd}",
            "x:999",
            ":9",
            "x:",
            "x",
            "x:1",
            "x:-1",
            "x:3x",
            "x:99999999999999999999",
            "n" * 96 + f":{fd}",
        ]
        # 3, 4 ... are not open: init must not take its own for them.
        machine = start(descriptors={"good": fd}, junk=[*junk, *(f"own{n}:{n}" for n in range(3, 9) if n != fd)])
        agent = machine.agent()
    assert agent.inherited == {"good": "given"}
    assert "PILOT_FDS names a descriptor twice: twice" in machine.log.read_text()


def test_agent_has_four_descriptors_and_no_blocked_or_ignored_signal(start: Start, tmp_path: Path) -> None:
    said = tmp_path / "said"
    os.mkfifo(said)
    with (tmp_path / "stray").open("w") as stray:
        start(
            descriptors={"kept": stray.fileno()},
            command=[
                "/bin/sh",
                "-c",
                f"exec >{said}; ls /proc/$$/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; sleep 60",
            ],
        )
        with said.open() as lines:
            found = [next(lines).strip() for _ in range(6)]
    assert found == ["0", "1", "2", "3", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]


def test_descriptors_outlive_twenty_kills_while_they_are_stored(start: Start) -> None:
    """Each agent is killed in the middle of a burst of puts: what it was told is stored must be there."""
    machine = start()
    agent = machine.agent()
    stored: dict[str, str] = {}
    for kill in range(20):
        for number in range(5):
            name, text = f"{kill}/{number}", f"content {kill} {number}"
            agent.call("put", name, text)
            stored[name] = text
        agent.tell("put_many", f"burst{kill}/", 100_000, 10 + kill)
        agent.wait()
        agent = machine.agent()
        assert {n: t for n, t in agent.inherited.items() if not n.startswith("burst")} == stored
    bursts = {name for name in agent.inherited if name.startswith("burst")}
    for kill in range(20):
        numbers = sorted(int(n.partition("/")[2]) for n in bursts if n.startswith(f"burst{kill}/"))
        assert numbers == list(range(max(10 + kill, len(numbers))))


def test_put_replaces_and_drop_forgets(start: Start) -> None:
    machine = start()
    agent = machine.agent()
    before = agent.call("init")["fds"]
    agent.call("put", "one", "first")
    agent.call("put", "one", "second")
    agent.call("put", "two", "other")
    agent.call("drop", "two")
    agent.call("drop", "never there")
    agent.call("put", "three", "last")
    assert agent.call("init")["fds"] == before + 2
    agent.kill()
    assert machine.agent().inherited == {"one": "second", "three": "last"}


def test_full_store_refuses_and_keeps_what_it_has(start: Start) -> None:
    machine = start(limit="200:200")
    agent = machine.agent()
    with pytest.raises(RuntimeError, match=r"HostError: store descriptor x\d+: Too many open files"):
        agent.call("put_many", "x", 200)
    agent.call("drop", "x0")
    agent.call("put", "again", "room")
    agent.kill()
    assert machine.agent().inherited["again"] == "room"


def test_thousands_of_descriptors_are_handed_over(start: Start) -> None:
    """More than the agent's soft limit, which its link raises."""
    machine = start(limit="1024:20000")
    agent = machine.agent()
    agent.call("put_many", "x", 5000)
    agent.kill()
    assert set(machine.agent().inherited) == {f"x{n}" for n in range(5000)}


def test_orphans_are_reaped_and_recorded_with_their_status(start: Start) -> None:
    machine = start()
    agent = machine.agent()
    agent.call("orphans", [0, 7, 255, -signal.SIGKILL, -signal.SIGSEGV])
    records = agent.call("records", 5)
    assert sorted(r["status"] & ~0x80 for r in records) == [0, signal.SIGKILL, signal.SIGSEGV, 7 << 8, 255 << 8]
    assert [r["seq"] for r in records] == [1, 2, 3, 4, 5]
    assert all(r["start_time"] > 0 for r in records)
    assert len(agent.call("init")["children"]) == 1  # the agent itself; no zombies


def test_sibling_wakes_init_and_its_record_names_it(start: Start) -> None:
    agent = start().agent()
    sibling = agent.call("sibling", 9)
    assert sibling["parent"] == 1
    (record,) = agent.call("records", 1)
    assert (record["pid"], record["start_time"]) == (sibling["pid"], sibling["start_time"])
    assert os.waitstatus_to_exitcode(record["status"]) == 9


def test_record_comes_to_each_agent_until_one_acknowledges_it(start: Start) -> None:
    machine = start()
    agent = machine.agent()
    agent.call("orphans", [1])
    agent.call("orphans", [2])
    first, second = agent.call("records", 2)
    agent.kill()
    agent = machine.agent()
    assert agent.call("records", 2) == [first, second]
    agent.call("acknowledge", first["seq"], 12345)
    agent.kill()
    agent = machine.agent()
    assert agent.call("records", 1) == [second]
    agent.call("acknowledge", second["seq"])
    agent.call("orphans", [3])
    (third,) = agent.call("records", 1)
    assert third["seq"] == 3


def test_last_words_of_an_agent_count(start: Start) -> None:
    """It acknowledges and dies with unread records, while init is stopped: ECONNRESET then precedes its packets."""
    machine = start()
    agent = machine.agent()
    agent.call("orphans", list(range(20)))
    agent.call("records", 20)
    agent.call("orphans", list(range(20)))
    _wait_until_reaped(agent)
    os.kill(machine.init_pid(), signal.SIGSTOP)
    agent.tell("acknowledge_and_die", *range(1, 31))
    agent.wait()
    os.kill(machine.init_pid(), signal.SIGCONT)
    assert [r["seq"] for r in machine.agent().call("records", 10)] == list(range(31, 41))


def _wait_until_reaped(agent: underinit.Agent) -> None:
    """Each has its record then, which init made when it reaped it."""
    deadline = time.monotonic() + 20
    while len(agent.call("init")["children"]) > 1:
        assert time.monotonic() < deadline, "orphans are left"


def test_children_that_die_while_there_is_no_agent_are_recorded(start: Start) -> None:
    machine = start()
    agent = machine.agent()
    agent.call("lingering", 6)
    agent.kill()
    (record,) = machine.agent().call("records", 1)
    assert os.waitstatus_to_exitcode(record["status"]) == 6


def test_agent_that_does_not_read_is_owed_everything(start: Start) -> None:
    """More records than the socket holds, none read meanwhile; and init serves puts in between."""
    agent = start().agent()
    for _ in range(12):
        agent.call("orphans", [0] * 100)
    agent.call("put", "between", "")
    records = agent.call("records", 1200)
    assert [r["seq"] for r in records] == list(range(1, 1201))
    assert len({(r["pid"], r["start_time"]) for r in records}) == 1200


def test_agent_that_cannot_start_is_tried_again(start: Start, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    os.mkfifo(marks)
    start(command=["/bin/sh", "-c", f"echo x > {marks}; exit 1"])
    with open(os.open(marks, os.O_RDWR)) as lines:
        assert [next(lines) for _ in range(3)] == ["x\n"] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGPWR])
def test_signal_goes_to_the_agent_and_its_end_is_the_end(start: Start, number: signal.Signals) -> None:
    machine = start()
    machine.agent()
    os.kill(machine.init_pid(), number)
    assert machine.wait() == 0
    assert f"exited with status: {40 + number}" in machine.log.read_text()


def test_agent_that_ignores_the_signal_has_a_deadline(start: Start, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    machine = start(
        "--agent-grace-ms", "1", "--grace-ms", "1",
        command=["/bin/sh", "-c", f"trap '' TERM; echo x > {started}; read x < {started}"],
    )  # fmt: skip
    started.read_text()
    os.kill(machine.init_pid(), signal.SIGTERM)
    assert machine.wait() == 0


@pytest.mark.parametrize(("reboot", "status"), [(False, 0), (True, 3)])
def test_shutdown_kills_the_stubborn(start: Start, reboot: bool, status: int) -> None:
    machine = start("--grace-ms", "10")
    agent = machine.agent()
    agent.call("stubborn")
    agent.tell("shutdown", reboot)
    assert machine.wait() == status


def _packet(**fields: int | bytes) -> str:
    values: dict[str, int | bytes] = {
        "magic": initlink.MAGIC, "kind": 0, "seq": 0, "pid": 0, "status": 0, "start_time": 0, "name": b"", **fields,
    }  # fmt: skip
    return struct.pack("<IIQIiQ96s", *values.values()).hex()


@pytest.mark.parametrize(
    ("packet", "descriptors", "reason"),
    [
        ("", 0, errno.EBADMSG),
        ("00" * 127, 0, errno.EBADMSG),
        ("00" * 128, 0, errno.EBADMSG),
        (_packet(kind=initlink.Kind.PUT, name=b"x") + "00", 1, errno.EBADMSG),
        (_packet(kind=99), 0, errno.EOPNOTSUPP),
        (_packet(kind=initlink.Kind.READY), 0, errno.EOPNOTSUPP),
        (_packet(kind=initlink.Kind.PUT, name=b"x"), 0, errno.EBADF),
        (_packet(kind=initlink.Kind.PUT, name=b"x"), 2, errno.EBADF),
        (_packet(kind=initlink.Kind.PUT, name=b"x"), 250, errno.EBADF),
        (_packet(kind=initlink.Kind.PUT, name=b""), 1, errno.EINVAL),
        (_packet(kind=initlink.Kind.PUT, name=b"n" * 96), 1, errno.EINVAL),
        (_packet(kind=initlink.Kind.DROP, name=b"x"), 1, errno.EINVAL),
        (_packet(kind=initlink.Kind.ACK, seq=1), 1, errno.EINVAL),
        (_packet(kind=initlink.Kind.SHUTDOWN, status=2), 0, errno.EINVAL),
        (_packet(kind=initlink.Kind.SHUTDOWN, status=-1), 0, errno.EINVAL),
    ],
)
def test_bad_packet_is_answered_and_changes_nothing(start: Start, packet: str, descriptors: int, reason: int) -> None:
    agent = start().agent()
    before = agent.call("init")["fds"]
    assert agent.call("raw_answer", packet, descriptors) == [initlink.Kind.ERROR, reason]
    assert agent.call("init")["fds"] == before


def _noise(dice: random.Random) -> str:
    kind = dice.choice([1, 2, 3, 5, 16, 20, 200])
    packet = bytearray.fromhex(_packet(kind=kind, seq=dice.getrandbits(64), name=b"fuzz"))
    for _ in range(dice.randrange(4)):
        packet[dice.randrange(8, len(packet))] = dice.randrange(256)
    return packet[: dice.choice([128, 128, 128, dice.randrange(128)])].hex()


def test_any_bytes_at_all(start: Start) -> None:
    """Good packets, packets with some bytes changed, pieces of packets: init goes on and leaks nothing."""
    dice = random.Random(20)
    machine = start()
    agent = machine.agent()
    before = agent.call("init")["fds"]
    for descriptors in (0, 1, 3):
        noise = [_noise(dice) for _ in range(300)]
        agent.tell("raw", noise, descriptors)
        agent.kill()
        agent = machine.agent()
    for name in agent.inherited:
        agent.call("drop", name)
    assert agent.call("init")["fds"] == before


def test_init_answers_for_itself_however_busy_its_agent_is(start: Start, tmp_path: Path) -> None:
    door = str(tmp_path / "health.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(door)
        listening.listen(1)
        machine = start(descriptors={"health": listening.fileno()})
        first = machine.agent()
    said = health.ask(door)
    assert not said.stopping
    assert said.agent_pid == int(Path(f"/proc/{first.pid}/status").read_text().split("NSpid:")[1].split()[1])
    os.kill(first.pid, signal.SIGSTOP)
    # More at once than any backlog holds, from somebody who does not even read.
    careless = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for each in careless:
        each.connect(door)
        each.close()
    assert [health.ask(door) for _ in range(20)] == [said] * 20
    first.kill()
    second = machine.agent()
    assert health.ask(door).agent_pid not in {0, said.agent_pid}
    second.tell("shutdown", False)
    machine.wait()
    with pytest.raises(errors.PeerError):
        health.ask(door)
