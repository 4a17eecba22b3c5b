"""What reaches a machine through the edge: the rows of the table, and not a byte before the machine has said 101."""

from __future__ import annotations

import array
import contextlib
import fcntl
import itertools
import pathlib
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest
import yaml

from pilot.host.api.sprites import calls
from pilot.host.services.wanted import NewSprite
from tests.support.host import HostUnderTest

WAIT_S = 20.0
PILOT_API = yaml.safe_load(pathlib.Path("api/pilot.openapi.yaml").read_text())
RUNNING = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"world": "running"}'
LAST = b"the last bytes of a client"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class RecordingMachine:
    """Takes a machine's place at `path`: answers each connection with `answer`, and keeps all that was sent to it."""

    def __init__(self, path: pathlib.Path, answer: bytes, hold: bool = False) -> None:
        self._path, self._answer, self._hold = path, answer, hold
        self.heads: list[bytes] = []
        self.rest = b""
        self._threads: list[threading.Thread] = []
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __enter__(self) -> RecordingMachine:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, name="recording-machine")
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads), "a connection to the machine was left open"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(stream,), name="recorded-connection")
                self._threads.append(thread)
                thread.start()

    def _serve(self, stream: socket.socket) -> None:
        with stream, contextlib.suppress(ConnectionError):
            stream.settimeout(WAIT_S)
            stream.recv(100)
            stream.sendall(b"OK 10000\n")
            data = b""
            while b"\r\n\r\n" not in data:
                piece = stream.recv(65536)
                if not piece:
                    return
                data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            if head.startswith(b"GET /v1/status "):  # pilotd's own question, whether the world still runs
                stream.sendall(RUNNING)
                return
            self.heads.append(head)
            self.rest += rest
            self.asked.set()
            assert self.may_answer.wait(WAIT_S)
            stream.sendall(self._answer)
            if not self._hold:
                stream.shutdown(socket.SHUT_WR)
            while piece := stream.recv(65536):
                self.rest += piece
                if piece.endswith(LAST):
                    stream.sendall(b"and this later")
                    stream.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    outcome = under_test.sprites.create(under_test.organisation.id, NewSprite("web")).result(WAIT_S)
    assert outcome.done, outcome.error
    yield under_test
    under_test.close()


@pytest.fixture
def dial_path(host: HostUnderTest) -> pathlib.Path:
    return pathlib.Path(host.sprites.dial_path(host.sprites.find(host.organisation.id, "web")))


def say(host: HostUnderTest, request: bytes, then: tuple[RecordingMachine, bytes] | None = None) -> bytes:
    """All that comes back for `request` on one connection, until pilotd ends it.

    `then`: bytes that are sent, and have arrived, while the machine has the request and has not yet answered it.
    """
    place = urlsplit(host.url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), WAIT_S) as stream:
        if then is None:
            stream.sendall(request)
        else:
            _say_in_two(stream, request, *then)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # closed with bytes of ours unread: what it said was said
            while piece := stream.recv(65536):
                answer += piece
        return answer


def _say_in_two(stream: socket.socket, first: bytes, machine: RecordingMachine, second: bytes) -> None:
    machine.may_answer.clear()
    stream.sendall(first)
    assert machine.asked.wait(WAIT_S)
    stream.sendall(second)
    left = array.array("i", [1])
    while left[0]:  # until the other side's kernel has it all
        fcntl.ioctl(stream, termios.TIOCOUTQ, left)
    machine.may_answer.set()


def upgrade_of(host: HostUnderTest, target: str, method: str = "GET") -> bytes:
    return (
        f"{method} {target} HTTP/1.1\r\nHost: pilotd\r\nAuthorization: Bearer {host.token}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


SMUGGLED = b"DELETE /v1/world HTTP/1.1\r\nHost: machine\r\n\r\nPOST /v1/shutdown HTTP/1.1\r\nHost: machine\r\n\r\n"
BODY = b'{"error": "no"}'
FRAMINGS: dict[str, Callable[[int], bytes]] = {
    "length": lambda status: (
        b"HTTP/1.1 %d no\r\nContent-Length: %d\r\nRetry-After: 3\r\n\r\n%s" % (status, len(BODY), BODY)
    ),
    "chunked": lambda status: (
        b"HTTP/1.1 %d no\r\nTransfer-Encoding: chunked\r\nRetry-After: 3\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (status, len(BODY), BODY)
    ),
    "close": lambda status: b"HTTP/1.1 %d no\r\nRetry-After: 3\r\n\r\n%s" % (status, BODY),
}
STATUSES = (200, 201, 302, 400, 401, 403, 404, 405, 409, 412, 413, 426, 429, 500, 501, 502, 503, 599)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_refused_upgrade_is_one_answer_and_the_end(
    host: HostUnderTest, dial_path: pathlib.Path, status: int, framing: str
) -> None:
    holds = framing != "close"  # such a machine keeps the connection open, for a next request
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret" if holds else b""
    with RecordingMachine(dial_path, FRAMINGS[framing](status) + more, holds) as machine:
        answer = say(host, upgrade_of(host, "/v1/sprites/web/exec?stdin=bogus"), (machine, SMUGGLED))
    assert machine.rest == b"", "bytes of the client came through before the machine had agreed to an upgrade"
    assert {head.split(b"\r\n")[0] for head in machine.heads} == {
        b"GET /v1/exec?container=world&detach_after=900000ms&stdin=bogus HTTP/1.1"
    }
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == BODY
    assert b"\r\nretry-after: 3" in head
    assert b"\r\nconnection: close" in head


@pytest.mark.parametrize("status", [204, 304])
def test_a_refusal_without_a_body(host: HostUnderTest, dial_path: pathlib.Path, status: int) -> None:
    with RecordingMachine(dial_path, b"HTTP/1.1 %d no\r\n\r\n" % status, hold=True) as machine:
        answer = say(host, upgrade_of(host, "/v1/sprites/web/exec"), (machine, SMUGGLED))
    assert machine.rest == b""
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")


def test_a_refusal_that_comes_to_no_end_is_cut(host: HostUnderTest, dial_path: pathlib.Path) -> None:
    endless = b"HTTP/1.1 400 no\r\n\r\n" + b"x" * (3 << 20)
    with RecordingMachine(dial_path, endless, hold=True) as machine:
        answer = say(host, upgrade_of(host, "/v1/sprites/web/exec"), (machine, SMUGGLED))
    assert machine.rest == b""
    assert answer.startswith(b"HTTP/1.1 502 ")


def test_after_101_all_bytes_pass_both_ways(host: HostUnderTest, dial_path: pathlib.Path) -> None:
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly bytes"
    with RecordingMachine(dial_path, switched, hold=True) as machine:
        answer = say(host, upgrade_of(host, "/v1/sprites/web/exec"), (machine, b"sent before the answer, " + LAST))
    assert machine.rest == b"sent before the answer, " + LAST
    assert answer.endswith(b"\r\n\r\nearly bytesand this later")


@pytest.mark.parametrize("header", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_an_upgrade_with_a_body_is_refused(host: HostUnderTest, dial_path: pathlib.Path, header: str) -> None:
    request = upgrade_of(host, "/v1/sprites/web/exec").replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode())
    with RecordingMachine(dial_path, FRAMINGS["length"](200)) as machine:
        answer = say(host, request + b"0\r\n\r\n")
    assert (machine.heads, machine.rest) == ([], b"")
    assert answer.startswith(b"HTTP/1.1 400 ")


# Every spelling of a path that some server on the way might take for another.


def spellings(path: str) -> Iterator[str]:
    yield path
    yield path.replace("/", "%2F")
    yield path.replace("/", "%2f").replace("%", "%25")
    yield path.replace("/", "//")
    yield path.replace("/", "\\")
    yield path.replace("/", ";/")
    yield path + "/"
    yield path + "%00"
    yield path + "?"
    yield "".join(f"%{ord(letter):02x}" for letter in path)
    for below in ("exec", "exec/7", "fs", "proxy"):
        yield from (
            f"{below}/{up}{sep}{path}" for up, sep in itertools.product(("..", "%2e%2e", ".%2E"), ("/", "%2F", "%5C"))
        )


OPERATIONS = sorted({path.removeprefix("/v1/").replace("{", "").replace("}", "") for path in PILOT_API["paths"]})


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize("upgraded", [False, True])
def test_no_spelling_of_an_operation_reaches_what_is_in_no_row(
    host: HostUnderTest, dial_path: pathlib.Path, path: str, upgraded: bool
) -> None:
    with RecordingMachine(dial_path, FRAMINGS["length"](200)) as machine:
        for method, spelled in itertools.product(METHODS, spellings(path)):
            request = upgrade_of(host, f"/v1/sprites/web/{spelled}", method)
            if not upgraded:
                request = request.replace(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Connection: close\r\n")
            assert say(host, request).startswith(b"HTTP/1.1 ")
    below_sprite = "/v1/sprites/{name}/"
    allowed = {(row.method, row.websocket, row.path.removeprefix(below_sprite)) for row in calls.MACHINE}
    for head in machine.heads:
        line = head.split(b"\r\n")[0].decode()
        method, target, _ = line.split(" ")
        below = target.partition("?")[0].removeprefix("/v1/")
        asked = ("GET" if method == "HEAD" else method), upgraded
        assert {(*asked, below), (*asked, _named_row(below))} & allowed, f"reached: {line}"


def _named_row(below: str) -> str:
    """The row in which what follows `exec` or `services` is the name of one."""
    kind, *rest = below.split("/")
    names = {"exec": "{id}", "services": "{service}"}
    return "/".join([kind, names[kind], *rest[1:]]) if kind in names and rest else below


def test_a_session_name_is_passed_on_as_it_is(host: HostUnderTest, dial_path: pathlib.Path) -> None:
    with RecordingMachine(dial_path, FRAMINGS["length"](200)) as machine:
        say(host, upgrade_of(host, f"/v1/sprites/web/exec/{quote('a_b-7')}"))
    assert machine.heads[0].startswith(b"GET /v1/exec/a_b-7?container=world&detach_after=900000ms HTTP/1.1\r\n")
