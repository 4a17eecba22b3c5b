"""The agent's end of the link, against an init that the test plays."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pilot import errors
from pilot.kernel import initlink
from pilot.kernel.initlink import Kind, Packet

READY = Packet(Kind.READY)


class FakeInit:
    def __init__(self) -> None:
        self.socket, self.agent_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)

    def send(self, *packets: Packet, fds: list[int] | None = None) -> None:
        for packet in packets:
            socket.send_fds(self.socket, [packet.encode()], fds or [])

    def receive(self) -> tuple[Packet, list[int]]:
        data, fds, _, _ = socket.recv_fds(self.socket, 200, 4)
        return initlink.parse_packet(data), fds

    def link(self, *packets: Packet) -> initlink.InitLink:
        self.send(*packets, READY)
        return initlink.InitLink(self.agent_end.detach(), timeout_s=20)


@pytest.fixture
def init() -> Iterator[FakeInit]:
    fake = FakeInit()
    with fake.socket, fake.agent_end:
        yield fake


def _exit(seq: int) -> Packet:
    return Packet(Kind.EXIT, seq=seq, pid=seq + 100, status=256, start_time=7)


def _readable(link: initlink.InitLink) -> bool:
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def test_handover_before_ready(init: FakeInit) -> None:
    fd = os.memfd_create("x")
    init.send(Packet(Kind.FD, name="ünïcode".encode()), fds=[fd])
    os.close(fd)
    with init.link(_exit(1)) as link:
        assert _readable(link)
        assert link.read_records() == [initlink.ExitRecord(seq=1, pid=101, start_time=7, status=256)]
        taken = link.take("ünïcode")
        assert not os.get_inheritable(taken)
        os.close(taken)
        with pytest.raises(errors.NotFound, match="take descriptor ünïcode: init did not hand it over"):
            link.take("ünïcode")
        assert link.inherited == {}
        assert not _readable(link)


def test_put_waits_for_its_answer_and_keeps_the_records_that_come_first(init: FakeInit) -> None:
    with init.link() as link, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(link.put, "name", 0)
        packet, fds = init.receive()
        assert (packet.kind, packet.name, os.path.samestat(os.fstat(fds[0]), os.fstat(0))) == (Kind.PUT, b"name", True)
        os.close(fds[0])
        init.send(_exit(1), Packet(Kind.STORED, seq=packet.seq + 1), _exit(2), Packet(Kind.STORED, seq=packet.seq))
        putting.result(timeout=20)
        assert _readable(link)
        assert [record.seq for record in link.read_records()] == [1, 2]
        assert not _readable(link)


def test_refused_put_says_why(init: FakeInit) -> None:
    with init.link() as link, ThreadPoolExecutor(1) as pool:
        putting = pool.submit(link.put, "name", 0)
        packet, fds = init.receive()
        os.close(fds[0])
        init.send(Packet(Kind.ERROR, seq=packet.seq, status=errno.EMFILE, name=packet.name))
        with pytest.raises(errors.HostError, match="store descriptor name: Too many open files") as caught:
            putting.result(timeout=20)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE


def test_put_that_nobody_answers_ends(init: FakeInit) -> None:
    with init.link() as link, pytest.raises(errors.PeerError, match="no answer in time"):
        link.put("name", 0, timeout_s=0)


def test_full_socket_takes_in_what_comes_meanwhile(init: FakeInit) -> None:
    """init reads nothing until it got rid of an answer; so a request must not wait without reading."""
    with init.link() as link:
        sent = threading.Event()

        def acknowledge_many() -> None:
            for seq in range(2000):
                link.acknowledge(seq)
            sent.set()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(acknowledge_many)
            for seq in range(1, 2001):  # more than fit: this blocks unless the link reads
                init.send(_exit(seq))
            for seq in range(2000):
                assert init.receive()[0].seq == seq
            assert sent.wait(20)
        assert [record.seq for record in link.read_records()] == list(range(1, 2001))


def test_requests_as_they_are_sent(init: FakeInit) -> None:
    with init.link() as link:
        link.drop("x")
        link.acknowledge(2**63)
        link.shutdown()
        link.shutdown(reboot=True)
        sent = [init.receive()[0] for _ in range(4)]
    assert [(p.kind, p.seq, p.status, p.name) for p in sent] == [
        (Kind.DROP, 0, 0, b"x"), (Kind.ACK, 2**63, 0, b""), (Kind.SHUTDOWN, 0, 0, b""), (Kind.SHUTDOWN, 0, 1, b""),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 96, "ü" * 48])
def test_bad_names_are_not_sent(name: str) -> None:
    with pytest.raises(errors.PilotError, match="name a descriptor"):
        initlink.encode_name(name)


def test_longest_name_survives() -> None:
    encoded = initlink.encode_name("x" * 95)
    assert initlink.parse_packet(Packet(Kind.FD, name=encoded).encode()).name == encoded


@pytest.mark.parametrize("data", [b"", b"x" * 127, b"x" * 128, b"x" * 129])
def test_packets_that_are_none(data: bytes) -> None:
    with pytest.raises(errors.PeerError, match="read from init"):
        initlink.parse_packet(data)


def test_unknown_packets_are_passed_over_and_their_descriptors_closed(init: FakeInit) -> None:
    with init.link() as link:
        before = os.listdir("/proc/self/fd")
        init.send(Packet(77), fds=[0])
        init.send(_exit(1))
        assert [record.seq for record in link.read_records()] == [1]
        assert os.listdir("/proc/self/fd") == before


def test_end_of_init_is_an_error_everywhere(init: FakeInit) -> None:
    with init.link() as link:
        init.socket.close()
        for call in (link.read_records, lambda: link.put("x", 0), lambda: link.drop("x")):
            with pytest.raises(errors.PeerError, match="it closed the link"):
                call()


def test_agent_without_init_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(initlink.VARIABLE, raising=False)
    with pytest.raises(errors.HostError, match="find init: PILOT_INIT_FD is ''") as caught:
        initlink.InitLink.from_environment()
    assert caught.value.hint == "the agent is started by pilot-init"
