"""`sprite` as scripts and impatient people use it: closed descriptors, odd paths, early keys, early handshakes."""

from __future__ import annotations

import os
import pathlib
import pty
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

import pytest

from pilot import errors
from pilot.client import execution
from pilot.client.account import Account
from tests.support import wire

SOURCE = pathlib.Path(__file__).parents[3] / "src"
PROGRAM = f"{sys.executable} -m pilot.client.main"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EMPTY = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"sprites": []}'


def _closed(code: int, reason: bytes) -> bytes:
    return bytes([0x88, 2 + len(reason)]) + struct.pack("!H", code) + reason


def _exits(code: int) -> bytes:
    return ACCEPTED + b"\x82\x05\1out\n" + bytes([0x82, 2, 3, code]) + _closed(1000, b"")


class Server:
    """Says the same to each who comes, and keeps the first line that it was asked."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(wire.WAIT_S)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += stream.recv(65536)
                self.asked.append(head.partition(b"\r\n")[0])
                stream.sendall(self.said)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(65536):
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(wire.WAIT_S)

    @property
    def environment(self) -> Mapping[str, str]:
        ours = {"PYTHONPATH": str(SOURCE), "SPRITES_API_URL": self.url, "SPRITE_TOKEN": "a/b/c/d"}
        return {"HOME": "/nonexistent", "PATH": os.environ["PATH"], **ours}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    under_test = Server(request.param)
    yield under_test
    under_test.close()


def _shell(server: Server, words: str) -> tuple[int, str]:
    """The status, and what was told on stderr."""
    done = subprocess.run(
        ["sh", "-c", words], env=server.environment, stderr=subprocess.PIPE, timeout=wire.WAIT_S, check=False
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("server", [EMPTY], indirect=True)
@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&-"])
def test_a_closed_stdout_costs_its_output_alone(server: Server, closed: str) -> None:
    assert _shell(server, f"{PROGRAM} list {closed}") == (0, "")


@pytest.mark.parametrize("server", [_exits(3)], indirect=True)
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_the_exit_status_is_the_commands_also_when_nobody_reads(server: Server, closed: str) -> None:
    assert _shell(server, f"{PROGRAM} exec -s web -- false {closed}") == (3, "")


@pytest.mark.parametrize("server", [EMPTY], indirect=True)
def test_any_path_is_asked_for_by_its_bytes(server: Server) -> None:
    for path in ("/v1/\U0001f600", b"/v1/\xff", "/v1/a b\r\nX: y", "/v1/a?b=%2F"):
        command = [sys.executable, "-m", "pilot.client.main", "api", path]
        done = subprocess.run(command, env=server.environment, capture_output=True, timeout=wire.WAIT_S, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    targets = [line.split(b" ")[1] for line in server.asked]
    assert targets == [b"/v1/%F0%9F%98%80", b"/v1/%FF", b"/v1/a%20b%0D%0AX:%20y", b"/v1/a?b=%2F"]


@pytest.mark.parametrize("server", [ACCEPTED + _closed(1011, b"exec: nonsense: no such file")], indirect=True)
def test_why_a_command_did_not_run_is_told_also_after_the_handshake(server: Server) -> None:
    with pytest.raises(errors.PeerError, match="exec: nonsense: no such file"):
        execution.run(Account(server.url, "a/b/c/d"), "web", execution.Command(["nonsense"]))


@pytest.mark.parametrize(
    "server", [ACCEPTED + _closed(1011, b"no \x1b]0;title\x07\x7f\xc2\x9b31m\xc3\xa9")], indirect=True
)
def test_what_a_machine_says_of_itself_steers_no_terminal(server: Server) -> None:
    assert _shell(server, f"{PROGRAM} exec -s web -- a") == (1, "sprite: no ?]0;title???31m\u00e9\n")


def test_what_is_typed_before_the_terminal_is_raw_is_not_lost() -> None:
    leader, follower = pty.openpty()
    before = os.dup(0)
    try:
        os.dup2(follower, 0)
        os.write(leader, b"early\n")
        with execution._raw_terminal(True):
            readable, _, _ = select.select([0], [], [], 5)
            assert readable
            assert os.read(0, 100) == b"early\n"
    finally:
        os.dup2(before, 0)
        for descriptor in (before, leader, follower):
            os.close(descriptor)
