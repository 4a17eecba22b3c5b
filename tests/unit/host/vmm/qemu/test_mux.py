"""The host's end of the mux, as a process between real sockets; the guest's end is played by the test."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.host.vmm.qemu import mux
from pilot.wire import mux as wire
from pilot.wire import outward

_DEADLINE_S = 30.0


class Guest:
    """The other end of the virtio port: answers as the agent does, one event at a time."""

    def __init__(self, port: socket.socket) -> None:
        self.port = port
        self.mux = wire.Mux(wire.Role.GUEST)
        self._events: list[wire.Event] = []

    def flush(self) -> None:
        self.port.sendall(self.mux.take_output())

    def next(self) -> wire.Event:
        self.flush()
        while not self._events:
            data = self.port.recv(65536)
            assert data, "the host closed the port"
            self._events += self.mux.receive(data)
            self.flush()
        return self._events.pop(0)

    def accept(self) -> int:
        opened = self.next()
        assert isinstance(opened, wire.Opened)
        self.mux.accept(opened.stream)
        self.flush()
        return opened.stream


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / mux.PORT_SOCKET))
        listening.listen()
        listening.settimeout(_DEADLINE_S)
        yield listening


@pytest.fixture
def process(tmp_path: Path, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    with _start(tmp_path) as started:
        yield started
        started.kill()


@pytest.fixture
def guest(listener: socket.socket, process: subprocess.Popen[bytes]) -> Iterator[Guest]:
    with _accept(listener) as port:
        yield Guest(port)


def _start(directory: Path) -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-P", "-m", mux.__name__, str(directory)], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    return started


def _accept(listener: socket.socket) -> socket.socket:
    port, _ = listener.accept()
    port.settimeout(_DEADLINE_S)
    return port


def _dial(directory: Path, port: int = 10000) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(_DEADLINE_S)
    client.connect(str(directory / mux.DIAL_SOCKET))
    client.sendall(b"CONNECT %d\n" % port)
    return client


def _read_exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(size - len(data))):
        data += more
    return data


def test_a_dial_before_the_guest_is_there_waits_for_it(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path) as client:
        assert isinstance(guest.next(), wire.Restarted)
        stream = guest.accept()
        assert _read_exactly(client, 9) == b"OK 10000\n"
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert guest.next() == wire.Data(stream, b"question")
        assert guest.next() == wire.Ended(stream)
        guest.mux.send(stream, b"answer")
        guest.mux.end(stream)
        guest.flush()
        assert _read_exactly(client, 100) == b"answer"


def test_bytes_behind_the_connect_line_are_not_lost(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path) as client:
        client.sendall(b"at once")
        guest.next()
        stream = guest.accept()
        assert guest.next() == wire.Data(stream, b"at once")


def test_a_refused_port_is_said_in_words(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path, 77) as client:
        guest.next()
        opened = guest.next()
        assert isinstance(opened, wire.Opened)
        assert opened.port == 77
        guest.mux.reset(opened.stream, "no such port")
        guest.flush()
        assert _read_exactly(client, 100) == b"ERR no such port\n"


def test_anything_but_connect_is_refused(tmp_path: Path, guest: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_DEADLINE_S)
        client.connect(str(tmp_path / mux.DIAL_SOCKET))
        client.sendall(b"GET / HTTP/1.1\n")
        assert _read_exactly(client, 400).startswith(b"ERR ")


def test_more_than_the_window_passes_both_ways(tmp_path: Path, guest: Guest) -> None:
    size = 3 * wire.WINDOW
    sent = os.urandom(size)
    with _dial(tmp_path) as client:
        guest.next()
        stream = guest.accept()
        _read_exactly(client, 9)
        writer = os.fork()
        if writer == 0:
            client.settimeout(None)
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            os._exit(0 if _read_exactly(client, size + 1) == sent else 1)
        received = bytearray()
        while len(received) < size:
            event = guest.next()
            assert isinstance(event, wire.Data)
            received += event.data
            guest.mux.consumed(stream, len(event.data))
        assert bytes(received) == sent
        left = sent
        while left:
            left = left[guest.mux.send(stream, left) :]
            guest.flush()
            if left:
                while not isinstance(guest.next(), wire.Writable):
                    pass
        guest.mux.end(stream)
        guest.flush()
        assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == 0


def test_a_client_that_does_not_read_stops_the_guest_and_nobody_else(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path) as slow, _dial(tmp_path) as quick:
        guest.next()
        stuck, other = guest.accept(), guest.accept()
        total = 0
        # The guest may send a window, and again what the sockets' buffers have taken; then it ends.
        while (taken := guest.mux.send(stuck, bytes(wire.WINDOW))) or _credit_comes(guest):
            total += taken
            assert total < 64 << 20
            guest.flush()
        guest.mux.send(other, b"still here")
        guest.flush()
        assert _read_exactly(quick, 19) == b"OK 10000\nstill here"
        assert _read_exactly(slow, 9) == b"OK 10000\n"
        assert len(_read_exactly(slow, total)) == total


def _credit_comes(guest: Guest) -> bool:
    """Whether the host gives credit before it has nothing more to do: it answers a new stream after all before it."""
    guest.flush()
    probe = guest.mux.open(1)
    while True:
        event = guest.next()
        if isinstance(event, wire.Writable):
            guest.mux.reset(probe)
            return True
        if isinstance(event, wire.Reset) and event.stream == probe:
            return False


def test_a_client_that_goes_resets_its_stream(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path) as client:
        guest.next()
        stream = guest.accept()
        _read_exactly(client, 9)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    event = guest.next()
    assert isinstance(event, wire.Ended | wire.Reset)
    assert event.stream == stream


def test_a_broken_stream_ends_behind_what_had_come(tmp_path: Path, guest: Guest) -> None:
    with _dial(tmp_path) as client:
        guest.next()
        stream = guest.accept()
        guest.mux.send(stream, b"half")
        guest.mux.reset(stream, "the agent died")
        guest.flush()
        assert _read_exactly(client, 100) == b"OK 10000\nhalf"


def test_when_the_machine_goes_the_mux_goes(tmp_path: Path, guest: Guest, process: subprocess.Popen[bytes]) -> None:
    with _dial(tmp_path):
        guest.next()
        guest.port.close()
        assert process.wait(_DEADLINE_S) == 0
        assert not (tmp_path / mux.DIAL_SOCKET).exists()


def test_killed_and_started_anew_it_serves_again(
    tmp_path: Path, listener: socket.socket, guest: Guest, process: subprocess.Popen[bytes]
) -> None:
    with _dial(tmp_path):
        guest.next()
        guest.accept()
        process.send_signal(signal.SIGKILL)
        process.wait(_DEADLINE_S)
    with _start(tmp_path) as second, _accept(listener) as port:
        guest.port = port
        with _dial(tmp_path) as client:
            assert isinstance(guest.next(), wire.Reset)
            assert isinstance(guest.next(), wire.Restarted)
            guest.accept()
            assert _read_exactly(client, 9) == b"OK 10000\n"
        second.kill()


class Port(asyncio.Transport):
    """QEMU's, which takes nothing more as soon as it is `full`."""

    def __init__(self, link: mux.Link) -> None:
        super().__init__()
        self._link = link
        self.said = bytearray()
        self.full = False
        self.reading = True
        link.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data
        if self.full:
            self._link.pause_writing()

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def frames(self, kind: wire.Kind) -> int:
        """Of that kind, behind the padding and hello that everything begins with."""
        rest, found = bytes(self.said).lstrip(b"\0"), 0
        while rest:
            each, _, length, _ = wire.HEADER.unpack_from(rest)
            found += each == kind
            rest = rest[wire.HEADER.size + length :]
        return found


def _linked(out_path: str = "") -> tuple[mux.Link, Port]:
    """A host's end that has shaken hands."""
    link, guest = mux.Link(bytes(range(1, 17)), lambda: None, out_path), wire.Mux(wire.Role.GUEST)
    port = Port(link)
    guest.receive(bytes(port.said))
    link.data_received(guest.take_output())
    return link, port


def _ask(stream: int) -> bytes:
    return wire.HEADER.pack(wire.Kind.OPEN, 0, 4, stream) + b"\1\0\0\0"


def _give_up(stream: int) -> bytes:
    return wire.HEADER.pack(wire.Kind.RESET, 0, 0, stream)


def test_a_guest_that_asks_and_does_not_read_is_not_read_for_ever(tmp_path: Path) -> None:
    async def test() -> None:
        link, port = _linked(str(tmp_path / "nobody"))
        port.full = True
        asked = 0
        while port.reading:
            link.data_received(b"".join(_ask(2 * (asked + number)) for number in range(1, 5000)))
            asked += 5000
            assert asked < 1_000_000
        assert link.mux.pending_bytes < 2 << 20
        port.full = False
        link.resume_writing()
        assert (port.reading, link.mux.pending_bytes) == (True, 0)

    asyncio.run(test())


def test_what_a_guest_gives_up_counts_for_as_long_as_anything_of_it_is_left(tmp_path: Path) -> None:
    """Else one that asks and resets, again and again, has a connection and a task begun for each."""

    async def test() -> None:
        answered = asyncio.Event()
        path = str(tmp_path / "out.sock")

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.read(100)
            writer.close()
            if line:
                answered.set()

        async with await asyncio.start_unix_server(accept, path, backlog=2 * outward.MOST_STREAMS):
            link, port = _linked(path)
            number = 3 * outward.MOST_STREAMS
            for each in range(1, number + 1):
                link.data_received(_ask(2 * each))
                link.data_received(_give_up(2 * each))
            assert port.frames(wire.Kind.RESET) == number - outward.MOST_STREAMS
            async with asyncio.timeout(_DEADLINE_S):
                while not answered.is_set():  # there is room again
                    link.data_received(_ask(2 * number + 2))
                    await asyncio.sleep(0.01)
                    link.data_received(_give_up(2 * number + 2))

    asyncio.run(test())


def test_a_second_one_ends_at_once(tmp_path: Path, guest: Guest) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", mux.__name__, str(tmp_path)], timeout=_DEADLINE_S, check=False)
    assert done.returncode == 0
