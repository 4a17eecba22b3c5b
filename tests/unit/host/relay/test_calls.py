"""One request to a machine, one answer back: every status and framing, whatever the machine says around it."""

from __future__ import annotations

import json
import pathlib
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from pilot.host.relay import access, facade, machine_answer
from pilot.host.services.wanted import NewSprite
from tests.support import wire
from tests.support.host import HostUnderTest
from tests.support.hostile import Say, machine, saying

BODY = b"the body of it"
FRAMINGS = {
    "length": b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n4\r\nthe \r\n%x;e=1\r\n%s\r\n0\r\nX-Late: 1\r\nTrailer: x\r\n\r\n"
    % (len(BODY) - 4, BODY[4:]),
    "close": b"\r\n" + BODY,
}
STATUSES = (200, 201, 206, 301, 400, 401, 403, 404, 409, 410, 416, 429, 500, 502, 503, 507, 599)
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    outcome = under_test.sprites.create(under_test.organisation.id, NewSprite("web")).result(wire.WAIT_S)
    assert outcome.done, outcome.error
    yield under_test
    under_test.close()


@pytest.fixture
def dial(host: HostUnderTest) -> pathlib.Path:
    return pathlib.Path(host.sprites.dial_path(host.sprites.find(host.organisation.id, "web")))


def ask(
    host: HostUnderTest, rest: str = "fs/read?path=/a", *headers: str, method: str = "GET", last: bool = True
) -> bytes:
    lines = [f"{method} /v1/sprites/web/{rest} HTTP/1.1", "Host: h", f"Authorization: Bearer {host.token}", *headers]
    return "\r\n".join([*lines, *(["Connection: close"] if last else [])]).encode() + b"\r\n\r\n"


def healthz() -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("status", STATUSES)
def test_one_answer_and_nothing_behind_it(host: HostUnderTest, dial: pathlib.Path, status: int, framing: str) -> None:
    before = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    after = SECOND if framing != "close" else b""
    said = before + b"HTTP/1.1 %d it\r\nX-Own: 1\r\n" % status + FRAMINGS[framing] + after
    with machine(dial, saying(said)):
        answers = wire.parse_answers(wire.exchange(host.url, ask(host, last=False) + healthz()), "GET", "GET")
    answer, next_one = answers
    assert (answer.status, answer.body, answer.headers["x-own"]) == (status, BODY, "1")
    assert answer.headers["sprite-version"]
    assert answer.trailers == ({"x-late": "1"} if framing == "chunked" else {})
    assert next_one.body == b"ok\n", "the client's connection goes on"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(host: HostUnderTest, dial: pathlib.Path, status: int) -> None:
    with machine(dial, saying(b"HTTP/1.1 %d none\r\nETag: x\r\n\r\n" % status + SECOND)):
        answer, _ = wire.parse_answers(wire.exchange(host.url, ask(host, last=False) + healthz()), "GET", "GET")
    assert (answer.status, answer.headers["etag"], answer.body) == (status, "x", b"")


def test_what_is_of_one_connection_is_not_passed_on(host: HostUnderTest, dial: pathlib.Path) -> None:
    asked: list[bytes] = []
    head = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nServer: agent\r\nX-Two: a\r\n"
        b"X-Two: b\r\nPilot-Fault: internal\r\nContent-Length: 0\r\n\r\n"
    )

    def say(stream: socket.socket) -> None:
        stream.sendall(head)

    with _recording(dial, say, asked):
        request = ask(
            host, "fs/read?path=%2Fa%20b&x", "X-Mine: 1", "X-Hop: 1", "Connection: X-Hop", "Cookie: c", "TE: x"
        )
        said = wire.exchange(host.url, request)
    (answer,) = wire.parse_answers(said, "GET")
    assert not {"x-hop", "keep-alive", "server", "pilot-fault"} & set(answer.headers)
    assert said.count(b"x-two: ") == 2
    line, *headers = asked[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert line == "GET /v1/fs/read?path=%2Fa%20b&x HTTP/1.1"
    names = {header.partition(":")[0]: header.partition(": ")[2] for header in headers}
    assert names == {"host": "machine", "x-forwarded-for": "127.0.0.1", "connection": "close", "x-mine": "1"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_body_arrives_whole(host: HostUnderTest, dial: pathlib.Path, chunked: bool) -> None:
    body, asked = bytes(range(256)) * 8000, list[bytes]()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = b"%x\r\n%s\r\n0\r\nX-Late: 1\r\n\r\n" % (len(body), body) if chunked else body
    with _recording(dial, saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), asked, len(body)):
        request = ask(host, "fs/write?path=/a", framing, "Expect: 100-continue", method="PUT") + sent
        (answer,) = wire.parse_answers(wire.exchange(host.url, request), "PUT")
    assert answer.status == 200
    head, _, came = asked[0].partition(b"\r\n\r\n")
    assert b"expect" not in head.lower()
    if not chunked:
        assert came == body
        return
    joined = b""
    while (size := int(came.partition(b"\r\n")[0], 16)) > 0:
        rest = came.partition(b"\r\n")[2]
        joined, came = joined + rest[:size], rest[size + 2 :]
    assert joined == body
    assert came == b"0\r\nx-late: 1\r\n\r\n"


def test_an_answer_that_nobody_reads_is_not_kept_here(host: HostUnderTest, dial: pathlib.Path) -> None:
    total, sent = 256 << 20, [0]
    piece, stopped = b"x" * (1 << 20), threading.Event()

    def say(stream: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        stream.settimeout(1.0)
        try:
            while sent[0] < total:
                stream.sendall(piece)
                sent[0] += len(piece)
        except TimeoutError:
            stopped.set()

    with machine(dial, say), wire.connected(host.url) as client:
        client.sendall(ask(host))
        assert stopped.wait(wire.WAIT_S)
        assert sent[0] < 64 << 20


def test_the_pieces_of_an_answer_come_when_they_are_said(host: HostUnderTest, dial: pathlib.Path) -> None:
    heard = threading.Event()

    def say(stream: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"3\r\none\r\n", b"3\r\nt", b"wo\r\n", b"0\r\n\r\n"):
            stream.sendall(piece)
            if piece.endswith(b"\r\n"):
                assert heard.wait(wire.WAIT_S)
                heard.clear()

    with machine(dial, say), wire.connected(host.url) as client:
        client.sendall(ask(host, "exec?cmd=x", "Content-Length: 0", method="POST"))
        said = b""
        for chunk in (b"\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            while not said.endswith(chunk):
                piece = client.recv(65536)
                assert piece, said
                said += piece
            heard.set()


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_not_ended(host: HostUnderTest, dial: pathlib.Path, said: bytes) -> None:
    with machine(dial, saying(said)):
        heard = wire.exchange(host.url, ask(host, last=False) + healthz())
    assert heard.count(b"HTTP/1.1 ") == 1
    assert b"half" in heard
    assert not heard.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (machine_answer.MAX_INFORMATIONAL + 1),
        b"HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_answer_is_told_as_that(host: HostUnderTest, dial: pathlib.Path, said: bytes) -> None:
    with machine(dial, saying(said)):
        (answer,) = wire.parse_answers(wire.exchange(host.url, ask(host)), "GET")
    assert answer.status == 502
    assert len(json.loads(answer.body)["error"]) < 1000


def test_an_upload_is_waited_for_longer_than_a_call_with_a_deadline(
    host: HostUnderTest, dial: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facade, "GRACE_S", -30.0 + 0.01)
    may_answer = threading.Event()

    def say(stream: socket.socket) -> None:
        assert may_answer.wait(wire.WAIT_S)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with machine(dial, say):
        late = wire.parse_answers(wire.exchange(host.url, ask(host)), "GET")
        with wire.connected(host.url) as client:
            client.sendall(ask(host, "fs/write?path=/a", "Content-Length: 3", method="PUT") + b"abc")
            readable, _, _ = select.select([client], [], [], 0.3)
            may_answer.set()
            (answer,) = wire.parse_answers(wire.read_all(client), "PUT")
    assert late[0].status == 502, "the agent's own deadline, and a little, has passed"
    assert (readable, answer.status) == ([], 200)


NO_WORLD = b"HTTP/1.1 503 no\r\nPilot-Fault: world_not_running\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(("method", "rest", "times"), [("GET", "fs/read?path=/a", 2), ("PUT", "fs/write?path=/a", 1)])
def test_no_world_is_asked_for_again_only_when_nothing_was_taken(
    host: HostUnderTest, dial: pathlib.Path, monkeypatch: pytest.MonkeyPatch, method: str, rest: str, times: int
) -> None:
    row = host.sprites.find(host.organisation.id, "web")
    woken: list[str] = []
    dialled = access.Access._dial

    async def counted(self: access.Access, sprite: object) -> object:
        woken.append("ready" if self.sprites.is_ready(row) else "lost")
        self.sprites._host.worlds.mark(row.id)
        return await dialled(self, sprite)  # type: ignore[arg-type]

    monkeypatch.setattr(access.Access, "_dial", counted)
    monkeypatch.setattr(host.sprites, "wake", _woken_at_once)
    length = ["Content-Length: 3"] if method == "PUT" else []
    with machine(dial, saying(NO_WORLD)):
        request = ask(host, rest, *length, method=method) + (b"abc" if length else b"")
        (answer,) = wire.parse_answers(wire.exchange(host.url, request), method)
    assert answer.status == 503
    assert len(woken) == times
    assert not host.sprites.is_ready(row), "the next one wakes it"


def _woken_at_once(_sprite: object) -> object:
    import concurrent.futures

    from pilot.host.fsm.outcome import Ending, Outcome

    ended: concurrent.futures.Future[Outcome] = concurrent.futures.Future()
    ended.set_result(Outcome(Ending.DONE))
    return ended


@pytest.mark.parametrize("code", [b"unavailable", b"failed_precondition"])
def test_no_cause_is_guessed_from_a_status(host: HostUnderTest, dial: pathlib.Path, code: bytes) -> None:
    asked: list[bytes] = []
    row = host.sprites.find(host.organisation.id, "web")
    host.sprites._host.worlds.mark(row.id)
    for status in (b"409", b"412", b"503"):
        said = b"HTTP/1.1 %s no\r\nPilot-Fault: %s\r\nContent-Length: 2\r\n\r\n{}" % (status, code)
        with _recording(dial, saying(said), asked):
            (answer,) = wire.parse_answers(wire.exchange(host.url, ask(host)), "GET")
        assert answer.status == int(status)
    assert len(asked) == 3
    assert host.sprites.is_ready(row)


def test_a_sprites_connections_have_a_measure(
    host: HostUnderTest, dial: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_OPEN", 0)
    (answer,) = wire.parse_answers(wire.exchange(host.url, ask(host)), "GET")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


class _recording:
    """As `machine`, and keeps what each connection was asked: its head, and of its body at least so many bytes."""

    def __init__(self, path: pathlib.Path, say: Say, asked: list[bytes], body_bytes: int = 0) -> None:
        self._path, self._say, self._asked, self._body_bytes = path, say, asked, body_bytes

    def __enter__(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="recording-machine", daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(wire.WAIT_S)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(wire.WAIT_S)
                stream.recv(100)
                stream.sendall(b"OK 10000\n")
                self._asked.append(self._read(stream))
                self._say(stream)

    def _read(self, stream: socket.socket) -> bytes:
        data = b""
        while not self._is_whole(data):
            data += stream.recv(65536)
        return data

    def _is_whole(self, data: bytes) -> bool:
        head, end, body = data.partition(b"\r\n\r\n")
        if b"transfer-encoding" in head and self._body_bytes:
            return body.endswith(b"\r\n\r\n")
        return bool(end) and len(body) >= self._body_bytes
