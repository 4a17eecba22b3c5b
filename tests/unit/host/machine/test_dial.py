"""host.dial over real sockets: refusals, long paths, and the two directions failing apart."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import threading
from collections.abc import Callable

import pytest

from pilot import errors
from pilot.kernel import fds
from pilot.machine import dial

OUTPUT = bytes(range(256)) * 500  # fits a socket's buffer, so that the machine can say it all and close


def _machine(path: pathlib.Path, serve: Callable[[socket.socket], None]) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with fds.short_path(str(path)) as address:
        listener.bind(address)
    listener.listen(1)

    def run() -> None:
        with listener, listener.accept()[0] as stream:
            assert stream.makefile("rb", buffering=0).readline() == b"CONNECT 10000\n"
            serve(stream)

    thread = threading.Thread(target=run, name="machine")
    thread.start()
    return thread


def test_what_the_machine_said_is_read_though_it_took_no_more_from_us(tmp_path: pathlib.Path) -> None:
    asked = threading.Event()

    def say_all_and_close(stream: socket.socket) -> None:
        stream.sendall(b"OK 10000\n")
        assert asked.wait(30)
        stream.sendall(OUTPUT)  # and close, with what the client sent unread

    machine = _machine(tmp_path / "dial.sock", say_all_and_close)

    async def talk() -> bytes:
        stream = await dial.open_stream(str(tmp_path / "dial.sock"), 10000)
        await stream.send(b"never read")
        asked.set()
        await asyncio.to_thread(machine.join, 30)
        with pytest.raises(OSError, match=r"[Bb]roken pipe|reset"):
            await stream.send(b"too late")
        said = b""
        while data := await stream.receive():
            said += data
        stream.close()
        return said

    assert asyncio.run(talk()) == OUTPUT


@pytest.mark.parametrize(
    ("answer", "text"), [(b"ERR no such port\n", "no such port"), (b"", "closed"), (b"?\n", "unexp")]
)
def test_refusals(tmp_path: pathlib.Path, answer: bytes, text: str) -> None:
    for number, connect in enumerate((_connect_blocking, _connect_async)):
        path = tmp_path / f"{number}.sock"
        machine = _machine(path, lambda stream: stream.sendall(answer))
        with pytest.raises(errors.PeerError, match=text):
            connect(str(path))
        machine.join(30)


def _connect_blocking(path: str) -> None:
    dial.connect(path, 10000)


def _connect_async(path: str) -> None:
    asyncio.run(dial.open_stream(path, 10000))


def test_nobody_there(tmp_path: pathlib.Path) -> None:
    for connect in (_connect_blocking, _connect_async):
        with pytest.raises(errors.PeerError, match=r"(?i)no such file"):
            connect(str(tmp_path / "absent.sock"))


def test_paths_longer_than_an_address(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    directory.mkdir(parents=True)
    machine = _machine(directory / "dial.sock", lambda stream: stream.sendall(b"OK 10000\n"))
    dial.connect(str(directory / "dial.sock"), 10000).close()
    machine.join(30)
