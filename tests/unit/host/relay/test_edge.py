"""A client's connection: every request on it is parsed, what could be read in two ways ends it, order is kept."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from pilot.host.relay import crowd, edge, heads, reader, server
from pilot.host.relay.edge import Exchange, Facade, Route
from tests.support import wire


async def _echo(exchange: Exchange) -> None:
    """Tells what it was asked, and the body with its trailers."""
    exchange.go_on()
    body = b""
    while (piece := await exchange.body.piece()) is not None:
        body += piece
    trailers = b"".join(b"|%s=%s" % pair for pair in exchange.body.trailers)
    told = f"{exchange.head.method} {exchange.head.target.decode()} {exchange.head.host} ".encode() + body + trailers
    exchange.answer.whole(200, [(b"x-from", b"echo")], told)


async def _other(exchange: Exchange) -> None:
    exchange.answer.whole(200, [(b"x-from", b"other")], b"another facade")


async def _streaming(exchange: Exchange) -> None:
    exchange.answer.begin(200, [])
    exchange.answer.flush()
    for piece in (b"one", b"two"):
        exchange.answer.write(piece)
    exchange.answer.end([(b"x-end", b"yes")])


async def _broken(exchange: Exchange) -> None:
    exchange.answer.begin(200, [(b"content-length", b"100")])
    exchange.answer.write(b"half of it")
    raise RuntimeError("it broke")


async def _failing(exchange: Exchange) -> None:
    raise RuntimeError("before anything was said")


async def _unread(exchange: Exchange) -> None:
    exchange.answer.whole(413, [], b"too large")


async def _empty(exchange: Exchange) -> None:
    exchange.answer.begin(204, [(b"content-length", b"7")])
    exchange.answer.write(b"nothing of this")
    exchange.answer.end()


async def _large(exchange: Exchange) -> None:
    exchange.answer.whole(200, [], bytes(LARGE_BYTES))


LARGE_BYTES = 16 << 20
_BY_PATH: dict[bytes, Facade] = {
    b"/stream": _streaming, b"/broken": _broken, b"/failing": _failing, b"/unread": _unread, b"/empty": _empty,
    b"/large": _large,
}  # fmt: skip


def _route(host: str, path: bytes) -> Facade:
    return _other if host == "other" else _BY_PATH.get(path, _echo)


@contextlib.contextmanager
def serving(route: Route, most: Mapping[crowd.Kind, int] | None = None) -> Iterator[str]:
    """A server with this route, for as long as the block."""
    under_test, listener = server.Server(route, most), server.listen("127.0.0.1", 0)
    thread = threading.Thread(target=under_test.serve_on, args=(server.Door(listener),), name="edge-under-test")
    thread.start()
    try:
        yield server.address(listener)
    finally:
        under_test.stop()
        thread.join(wire.WAIT_S)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(_route) as made:
        yield made


def get(path: str = "/x", *headers: str, host: str = "h", method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LAST = "Connection: close"


def test_requests_are_answered_in_their_order_whatever_the_pieces_they_come_in(url: str) -> None:
    requests = [get(f"/{number}", "Content-Length: 3", method="POST", body=b"abc") for number in range(20)]
    said = b"".join(requests) + get("/end", LAST)
    with wire.connected(url) as stream:
        for start in range(0, len(said), 37):
            stream.sendall(said[start : start + 37])
        answers = wire.parse_answers(wire.read_all(stream), *["POST"] * 20, "GET")
    assert [answer.body for answer in answers] == [f"POST /{n} h abc".encode() for n in range(20)] + [b"GET /end h "]


def test_each_request_of_a_connection_is_routed_by_its_own_host(url: str) -> None:
    said = wire.exchange(
        url, get() + get(host="other:80") + get(host="OTHER") + get("http://other/", LAST, host="other")
    )
    answers = wire.parse_answers(said, *["GET"] * 4)
    assert [answer.headers["x-from"] for answer in answers] == ["echo", "other", "other", "other"]


CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    "both lengths": get("/", "Content-Length: 3", CHUNKED, method="POST", body=b"0\r\n\r\n"),
    "both lengths, the other way": get("/", CHUNKED, "Content-Length: 3", method="POST", body=b"0\r\n\r\n"),
    "two lengths": get("/", "Content-Length: 3", "Content-Length: 3", method="POST", body=b"abc"),
    "a list of lengths": get("/", "Content-Length: 3, 3", method="POST", body=b"abc"),
    "a signed length": get("/", "Content-Length: +3", method="POST", body=b"abc"),
    "a coding nobody knows": get("/", "Transfer-Encoding: gzip", method="POST", body=b"abc"),
    "two codings": get("/", "Transfer-Encoding: gzip, chunked", method="POST", body=b"0\r\n\r\n"),
    "chunked twice": get("/", CHUNKED, CHUNKED, method="POST", body=b"0\r\n\r\n"),
    "chunked by 1.0": b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk that is none": get("/", CHUNKED, method="POST", body=b"zz\r\n"),
    "a chunk longer than it says": get("/", CHUNKED, method="POST", body=b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk with a blank": get("/", CHUNKED, method="POST", body=b"3 \r\nabc\r\n0\r\n\r\n"),
    "obs-fold": get("/", "A: b\r\n c"),
    "NUL in a header": get("/", "A: b\0c"),
    "NUL in the target": get("/a\0b"),
    "a blank in a name": get("/", "A : b"),
    "a bare CR": get("/", "A: b\rc"),
    "bare LF": b"GET / HTTP/1.1\nHost: h\n\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": get("/", "Host: other"),
    "no method": b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n",
    "another version": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "not UTF-8": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "an upgrade with a body": get("/", "Connection: upgrade", "Upgrade: websocket", "Content-Length: 1", body=b"x"),
    "what cannot be expected": get("/", "Expect: money"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_in_one_way_ends_the_connection(url: str, name: str) -> None:
    said = wire.exchange(url, get("/before") + REFUSED[name] + get("/smuggled"))
    served, *refused = wire.parse_answers(said, "GET", *(["GET"] if said.count(b"HTTP/1.1 ") > 1 else []))
    if served.status == 200:
        assert served.body == b"GET /before h "
        (served,) = refused or pytest.fail("it was not refused")
    assert served.status == 400
    assert served.headers["connection"] == "close"
    assert b"smuggled" not in said


@pytest.mark.parametrize(
    "head",
    [
        get("/" + "x" * heads.MAX_TARGET_BYTES),
        get("/", "A: " + "x" * heads.MAX_HEADERS_BYTES),
        get("/", *[f"A{number}: x" for number in range(heads.MAX_HEADERS)]),
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * (2 * reader.MAX_QUIET_BYTES),
        get("/", CHUNKED, method="POST", body=b"1;" + b"x" * (2 * reader.MAX_QUIET_BYTES)),
    ],
    ids=["target", "header", "number", "no end", "chunk extension"],
)
def test_a_head_without_measure_is_refused(url: str, head: bytes) -> None:
    answer, *_ = wire.parse_answers(wire.exchange(url, head), "GET")
    assert answer.status == 431


def test_a_body_of_any_length_passes_and_trailers_are_no_headers(url: str) -> None:
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (size, b"x" * size) for size in (1, 70000, 3))
    request = get("/", CHUNKED, LAST, method="POST", body=chunks + b"0\r\nX-Last: 1\r\nHost: other\r\n\r\n")
    (answer,) = wire.parse_answers(wire.exchange(url, request), "POST")
    assert answer.body == b"POST / h " + b"x" * 70004 + b"|x-last=1|host=other"


def test_an_answer_of_unknown_length_is_chunked_piece_by_piece(url: str) -> None:
    said = wire.exchange(url, get("/stream", LAST))
    assert b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx-end: yes\r\n\r\n" in said
    old = wire.exchange(url, b"GET /stream HTTP/1.0\r\n\r\n")
    assert old.endswith(b"\r\n\r\nonetwo"), "for HTTP/1.0 it ends with the connection"


def test_what_has_no_body_gets_none(url: str) -> None:
    said = wire.exchange(url, get("/x", method="HEAD") + get("/empty") + get("/stream", LAST, method="HEAD"))
    head, empty, stream = wire.parse_answers(said, "HEAD", "GET", "HEAD")
    assert (head.headers["content-length"], head.body) == (str(len("HEAD /x h ")), b"")
    assert ("content-length" in empty.headers, empty.status, empty.body) == (False, 204, b"")
    assert (stream.status, stream.body) == (200, b"")


def test_half_an_answer_is_not_taken_for_a_whole_one(url: str) -> None:
    said = wire.exchange(url, get("/broken") + get("/next"))
    assert said.endswith(b"half of it")
    assert said.count(b"HTTP/1.1 ") == 1
    (answer,) = wire.parse_answers(wire.exchange(url, get("/failing", LAST)), "GET")
    assert answer.status == 500


def test_a_body_that_nobody_read_is_not_taken_for_a_request(url: str) -> None:
    body = get("/smuggled") * 100
    said = wire.exchange(url, get("/unread", f"Content-Length: {10 << 20}", method="POST", body=body))
    (answer,) = wire.parse_answers(said, "POST")
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_client_that_waits_is_told_to_go_on_and_no_other_is(url: str) -> None:
    with wire.connected(url) as stream:
        stream.sendall(get("/", "Content-Length: 3", "Expect: 100-continue", LAST, method="POST"))
        assert stream.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(b"abc")
        (answer,) = wire.parse_answers(wire.read_all(stream), "POST")
    assert answer.body == b"POST / h abc"
    at_once = get("/", "Content-Length: 3", "Expect: 100-continue", LAST, method="POST", body=b"abc")
    assert wire.exchange(url, at_once).startswith(b"HTTP/1.1 200 ")
    refused = get("/unread", "Content-Length: 3", "Expect: 100-continue", method="POST")
    assert wire.exchange(url, refused).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_says_no_more_still_hears_the_answer(url: str) -> None:
    with wire.connected(url) as stream:
        stream.sendall(get("/one") + get("/two"))
        stream.shutdown(socket.SHUT_WR)
        answers = wire.parse_answers(wire.read_all(stream), "GET", "GET")
    assert [answer.body for answer in answers] == [b"GET /one h ", b"GET /two h "]


def test_a_client_that_leaves_in_the_middle_of_its_request_leaves_nothing(url: str) -> None:
    with wire.connected(url) as stream:
        stream.sendall(get("/", "Content-Length: 100", method="POST", body=b"half"))
        stream.shutdown(socket.SHUT_WR)
        assert wire.read_all(stream).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("start", [b"", b"GET / HT", get("/one") + b"GET /"], ids=["nothing", "half", "the second"])
def test_a_head_that_does_not_come(url: str, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(edge, "HEAD_S", 0.2)
    with wire.connected(url) as stream:
        stream.sendall(start)
        wire.read_all(stream)  # it ends


def test_a_connection_that_is_not_used_is_closed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "IDLE_S", 0.2)
    assert wire.parse_answers(wire.exchange(url, get()), "GET")[0].status == 200


def test_an_old_client_is_kept_alive_only_when_it_asks(url: str) -> None:
    old = b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n"
    assert wire.exchange(url, old).endswith(b"GET /x h ")
    kept = old.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    answers = wire.parse_answers(wire.exchange(url, kept + old), "GET", "GET")
    assert answers[0].headers["connection"] == "keep-alive"


def test_thousands_of_requests_at_once_wait_for_their_turn(url: str) -> None:
    with wire.connected(url) as stream:
        number = 3000
        sending = threading.Thread(target=stream.sendall, args=(get() * number + get("/end", LAST),))
        sending.start()
        answers = wire.parse_answers(wire.read_all(stream), *["GET"] * (number + 1))
        sending.join()
    assert answers[-1].body == b"GET /end h "


@pytest.mark.parametrize("tail", [get("/end"), get("/end", "Content-Length: 3", method="POST", body=b"abc")])
def test_what_was_asked_at_once_is_answered_also_when_no_more_comes(url: str, tail: bytes) -> None:
    """What was not parsed yet, when the client ended its side, was sent all the same."""
    with wire.connected(url) as stream:
        number = 5000
        sending = threading.Thread(target=_send_and_end, args=(stream, get() * number + tail))
        sending.start()
        answers = wire.parse_answers(wire.read_all(stream), *["GET"] * (number + 1))
        sending.join()
    assert len(answers) == number + 1
    assert b"/end h " in answers[-1].body


def _send_and_end(stream: socket.socket, said: bytes) -> None:
    stream.sendall(said)
    stream.shutdown(socket.SHUT_WR)


def test_tiny_requests_are_parsed_as_there_is_room_for_them() -> None:
    """Each takes a hundred times of its bytes once it is parsed; a client may send as many at once as are read."""
    begun: collections.deque[reader.Request] = collections.deque()
    said = b"".join(get(f"/{number}") for number in range(8000))
    under_test = reader.Reader(begun.append, lambda: None, lambda: len(begun) < 2)
    under_test.feed(said)
    seen = 0
    while begun:
        assert len(begun) <= reader.PORTION_BYTES // len(get("/0")) + 2
        assert begun.popleft().head.target == b"/%d" % seen
        seen += 1
        under_test.go_on()
    assert (seen, under_test.is_behind) == (8000, False)


def test_a_body_of_a_known_length_is_not_cut_into_portions() -> None:
    begun: list[reader.Request] = []
    under_test = reader.Reader(begun.append, lambda: None, lambda: len(begun) < 2)
    body = bytes(50 * reader.PORTION_BYTES)
    under_test.feed(get("/x", f"Content-Length: {len(body)}", method="POST"))
    under_test.feed(body + get("/y") * 8000)
    assert begun[0].body.buffered_bytes == len(body)
    assert begun[0].body.is_complete
    assert len(begun) <= reader.PORTION_BYTES // len(get("/y")) + 2


def test_a_body_behind_an_answer_that_nobody_reads_is_not_taken_in(url: str) -> None:
    """What is taken of it is what the kernel and our high water hold, however much is sent."""
    with wire.connected(url) as stream:
        stream.sendall(get("/large"))
        stream.sendall(get("/x", f"Content-Length: {16 * LARGE_BYTES}", method="POST"))
        stream.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 16 * LARGE_BYTES:
                sent += stream.send(bytes(1 << 16))
        assert sent < 4 * LARGE_BYTES
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_who_has_asked_and_is_ended_for_others_is_told_to_come_again() -> None:
    may_end, served = threading.Event(), threading.Semaphore(0)

    async def slow(exchange: Exchange) -> None:
        served.release()
        await asyncio.to_thread(may_end.wait, wire.WAIT_S)
        exchange.answer.whole(200, [], b"done")

    with serving(lambda _host, _path: slow, dict.fromkeys(crowd.Kind, 2)) as url, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(wire.connected(url)) for _ in range(2))
        for each in (first, second):
            each.sendall(get("/", LAST))
            assert served.acquire(timeout=wire.WAIT_S)
        third = stack.enter_context(wire.connected(url))
        (told,) = wire.parse_answers(wire.read_all(first), "GET")
        may_end.set()
        third.sendall(get("/", LAST))
        assert wire.read_all(third).endswith(b"done")
        assert wire.read_all(second).endswith(b"done")
    assert (told.status, told.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("said", [get("/", LAST) + get("/"), b"GET / HTTP/1.1\r\nHost: h\r\n b: obsolete fold\r\n"])
def test_who_stays_after_its_last_answer_gives_way_without_a_word_and_the_next_one_is_served(said: bytes) -> None:
    """It has asked for more than it is answered."""
    with serving(_route, dict.fromkeys(crowd.Kind, 1)) as url, contextlib.ExitStack() as stack:
        for _ in range(3):
            staying = stack.enter_context(wire.connected(url))
            staying.sendall(said)
            assert wire.read_all(staying).startswith(b"HTTP/1.1 ")


def test_who_has_read_its_last_answer_and_leaves_is_gone_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "LINGER_S", 10 * wire.WAIT_S)
    before = _sockets()
    for _ in range(3):
        with wire.connected(url) as stream:
            stream.sendall(get("/", LAST))
            assert wire.read_all(stream).startswith(b"HTTP/1.1 200 ")
    end_s = time.monotonic() + wire.WAIT_S
    while _sockets() > before:
        assert time.monotonic() < end_s, "they are still held"
        time.sleep(0.01)


def _sockets() -> int:
    """That this process has: its own server's too."""
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and "socket:" in os.readlink(link) for link in links)


def test_a_server_that_stops_finishes_what_it_is_answering() -> None:
    may_end, begun = threading.Event(), threading.Event()

    async def slow(exchange: Exchange) -> None:
        begun.set()
        await asyncio.to_thread(may_end.wait, wire.WAIT_S)
        exchange.answer.whole(200, [], b"done")

    serving, listener = server.Server(lambda _host, _path: slow), server.listen("127.0.0.1", 0)
    thread = threading.Thread(target=serving.serve_on, args=(server.Door(listener),), name="edge-that-stops")
    thread.start()
    with wire.connected(server.address(listener)) as idle, wire.connected(server.address(listener)) as busy:
        busy.sendall(get())
        assert begun.wait(wire.WAIT_S)
        serving.stop()
        assert wire.read_all(idle) == b""
        may_end.set()
        assert wire.read_all(busy).endswith(b"done")
    thread.join(wire.WAIT_S)
    assert not thread.is_alive()
    listener.close()
