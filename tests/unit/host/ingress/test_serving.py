"""A sprite's own address: who is let in, what the sprite is asked, what of its answer comes back."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from pilot.host.ingress import awake, pool
from pilot.host.services.wanted import NewSprite, SpriteChanges
from pilot.host.store.sprites import UrlSettings
from tests.support import wire
from tests.support.backend import Backend, backend, read_head, says
from tests.support.host import HostUnderTest
from tests.support.site import Front, Served

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


FRONT = Front()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"), front=FRONT)
    yield under_test
    under_test.close()


@pytest.fixture(scope="module")
def made(host: HostUnderTest) -> Served:
    return Served(host, "web")


@pytest.fixture
def site(made: Served) -> Iterator[Served]:
    FRONT.starting, FRONT.asked = None, 0
    yield made
    made.set_auth("public")


@pytest.fixture
def server() -> Iterator[Backend]:
    with backend() as made:
        FRONT.web_port = made.port
        yield made


def test_a_request_reaches_the_sprite_as_it_was_but_for_what_is_ours(site: Served, server: Backend) -> None:
    answer = site.get("/a%2fb/?q=1&q=2", Accept="x/y", Cookie="own=1; pilot-visit=stolen; other=2")
    assert (answer.status_code, answer.headers["x-from"]) == (200, "backend")
    line, *headers = answer.text.split("\n\n")[0].splitlines()
    assert line == "GET /a%2fb/?q=1&q=2"
    named = dict(header.split(": ", 1) for header in headers)
    assert named["host"] == site.host
    assert named["accept"] == "x/y"
    assert named["cookie"] == "own=1; other=2"
    assert (named["x-forwarded-for"], named["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert named["x-forwarded-host"] == site.host


def test_what_a_client_says_to_be_taken_for_another_is_not_passed_on(site: Served, server: Backend) -> None:
    headers = {
        "X-Forwarded-For": "10.0.0.1", "X_Forwarded_For": "10.0.0.2", "Forwarded": "for=10.0.0.3",
        "X-Real-IP": "10.0.0.4",
        "X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere", "Connection": "close, X-Mine", "X-Mine": "1",
        "Proxy-Authorization": "Basic x", "TE": "trailers", "Content_Length": "7", "Transfer_Encoding": "chunked",
        "X_Own": "kept", "Upgrade": "h2c",
    }  # fmt: skip
    told = site.get(**headers).text
    assert not re.search("10.0.0|elsewhere|x-mine|basic x|trailers|content_length|transfer_encoding|h2c", told.lower())
    assert "x_own: kept" in told


def test_requests_of_a_kept_connection_share_one_of_the_sprite_s(site: Served, server: Backend) -> None:
    with httpx.Client(headers={"Host": site.host}) as client:
        for number in range(10):
            assert client.get(f"{site.url}/{number}").text.startswith(f"GET /{number}\n")
    assert server.connections == 1


def test_every_request_of_a_connection_is_routed_by_its_own_host(site: Served, server: Backend) -> None:
    said = wire.exchange(
        site.url,
        site.raw()
        + site.raw("GET /healthz HTTP/1.1", host="127.0.0.1")
        + site.raw(host="nobody-0000.localhost")
        + site.raw(host=f"{server.port}-{site.host}")
        + site.raw("GET / HTTP/1.1", "Connection: close", host=site.host.upper() + ".:80"),
    )
    answers = wire.parse_answers(said, *["GET"] * 5)
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
    assert [answer.headers.get("x-from") for answer in answers] == ["backend", None, None, "backend", "backend"]
    assert answers[1].body == b"ok\n"
    assert b"nobody-0000.localhost" in answers[2].body


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_bodies_and_trailers_go_both_ways(site: Served, server: Backend, framing: str) -> None:
    body = bytes(range(256)) * 20_000
    if framing == "length":
        request = site.raw("POST /up HTTP/1.1", f"Content-Length: {len(body)}", "Connection: close", body=body)
    else:
        chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
        trailers = b"0\r\nX-Sum: 1\r\nCookie: a=b\r\nHost: x\r\n\r\n"
        request = site.raw(
            "POST /up HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close", body=chunks + trailers
        )
    [answer] = wire.parse_answers(wire.exchange(site.url, request), "POST")
    head, _, told = answer.body.partition(b"\n\n")
    assert told == body
    assert (b"trailer x-sum: 1" in head) == (framing == "chunks")
    assert b"ext=1" not in server.said
    assert b"trailer cookie" not in head
    assert b"trailer host" not in head


def test_a_body_is_asked_for_when_the_client_waits_with_it(site: Served, server: Backend) -> None:
    with wire.connected(site.url) as stream:
        stream.sendall(site.raw("PUT / HTTP/1.1", "Content-Length: 4", "Expect: 100-continue", "Connection: close"))
        assert stream.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stream.sendall(b"body")
        [answer] = wire.parse_answers(wire.read_all(stream), "PUT")
    assert answer.body.endswith(b"\n\nbody")
    assert b"expect" not in answer.body


ANSWERS = {
    "length": (OK, 200, b"ok"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok"),
    "its end": (b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok"),
    "of 1.0": (b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok"),
    "hints before it": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
    "nothing": (b"HTTP/1.1 204 No\r\n\r\n", 204, b""),
    "unchanged": (b"HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n", 304, b""),
    "an error of its own": (b"HTTP/1.1 503 Mine\r\nContent-Length: 4\r\n\r\nmine", 503, b"mine"),
    "a status nobody knows": (b"HTTP/1.1 299 Fine\r\nContent-Length: 2\r\n\r\nok", 299, b"ok"),
    "more than it says": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", 200, b"ok"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_come_back_however_they_end(site: Served, kind: str) -> None:
    said, status, body = ANSWERS[kind]
    with backend(says(said)) as server:
        FRONT.web_port = server.port
        got = wire.exchange(site.url, site.raw() + site.raw("GET / HTTP/1.1", "Connection: close"))
    answers = wire.parse_answers(got, "GET", "GET")
    assert [(answer.status, answer.body) for answer in answers] == [(status, body)] * 2


BROKEN = {
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "a switch": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 100_000,
    "hints without end": b"HTTP/1.1 103 Early\r\n\r\n" * 40 + OK,
    "nothing": b"",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_answer_is_502_and_says_who(site: Served, kind: str) -> None:
    with backend(says(BROKEN[kind])) as server:
        FRONT.web_port = server.port
        answer = site.get()
    assert answer.status_code == 502
    assert answer.text.startswith(f"sprite web, port {server.port}: ")


def test_an_answer_that_breaks_off_is_told_as_broken(site: Served) -> None:
    with backend(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) as server:
        FRONT.web_port = server.port
        with pytest.raises(httpx.RemoteProtocolError):
            site.get()


def test_a_head_request_has_no_body_and_the_next_one_its_own(site: Served, server: Backend) -> None:
    said = wire.exchange(site.url, site.raw("HEAD / HTTP/1.1") + site.raw("GET /2 HTTP/1.1", "Connection: close"))
    first, second = wire.parse_answers(said, "HEAD", "GET")
    assert (first.status, first.body) == (200, b"")
    assert second.body.startswith(b"GET /2\n")


def test_events_come_as_they_are_said(site: Served) -> None:
    go_on = threading.Event()

    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            go_on.wait(wire.WAIT_S)
            go_on.clear()
            stream.sendall(b"data: %d\n\n" % number)

    with (
        backend(talk) as server,
        httpx.Client(headers={"Host": site.host}, timeout=wire.WAIT_S) as client,
    ):
        FRONT.web_port = server.port
        with client.stream("GET", site.url) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            pieces = answer.iter_text()
            for number in range(3):
                go_on.set()
                assert next(pieces) == f"data: {number}\n\n"


def test_an_answer_may_come_before_the_request_is_through(site: Served) -> None:
    with backend(says(b"HTTP/1.1 413 Large\r\nContent-Length: 5\r\n\r\nlarge")) as server:
        FRONT.web_port = server.port
        with wire.connected(site.url) as stream:
            stream.sendall(site.raw("POST / HTTP/1.1", "Content-Length: 1000000"))
            [answer] = wire.parse_answers(wire.read_all(stream), "POST")
    assert (answer.status, answer.body, answer.headers["connection"]) == (413, b"large", "close")


@pytest.mark.parametrize("breaks", ["half-close", "bad chunk"])
def test_what_a_client_broke_off_in_the_middle_of_is_no_connection_for_the_next_one(site: Served, breaks: str) -> None:
    """The sprite waits for the rest of that request: what came next on the connection would be read as its body."""
    has_broken = threading.Event()

    def talk(stream: socket.socket, server: Backend) -> None:
        read_head(stream)
        if server.connections > 1:
            stream.sendall(OK)
            return
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
        has_broken.wait(wire.WAIT_S)
        stream.sendall(b"rest ")
        if stream.recv(1 << 16):
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nfor another one")

    with backend(talk) as server:
        FRONT.web_port = server.port
        with wire.connected(site.url) as stream:
            framing = "Content-Length: 500" if breaks == "half-close" else "Transfer-Encoding: chunked"
            stream.sendall(site.raw("POST / HTTP/1.1", framing))
            told = b""
            while not told.endswith(b"half "):
                told += stream.recv(1 << 16)
            if breaks == "half-close":
                stream.shutdown(socket.SHUT_WR)
            else:
                stream.sendall(b"no size\r\n")
            time.sleep(0.2)  # longer is no failure: it is read before the rest is
            has_broken.set()
            told += wire.read_all(stream)
        assert b"half rest " in told
        assert site.get().text == "ok"
        assert server.connections == 2


def test_a_client_that_closes_its_side_still_gets_its_answer(site: Served, server: Backend) -> None:
    with wire.connected(site.url) as stream:
        stream.sendall(site.raw("GET /x HTTP/1.1"))
        stream.shutdown(socket.SHUT_WR)
        [answer] = wire.parse_answers(wire.read_all(stream), "GET")
    assert answer.body.startswith(b"GET /x\n")


def test_a_client_that_leaves_ends_what_the_sprite_is_asked(site: Served) -> None:
    ended = threading.Event()

    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        if stream.recv(1) == b"":
            ended.set()

    with backend(talk) as server:
        FRONT.web_port = server.port
        with wire.connected(site.url) as stream:
            stream.sendall(site.raw())
            while not server.said:
                time.sleep(0.01)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert ended.wait(wire.WAIT_S)


def test_a_connection_that_was_closed_meanwhile_is_replaced_unseen(site: Served) -> None:
    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        stream.sendall(OK)
        if read_head(stream):
            stream.close()  # a server that gives up its connection while the next request is on its way

    with backend(talk) as server:
        FRONT.web_port = server.port
        assert [site.get().text for _ in range(4)] == ["ok"] * 4
        assert server.connections == 4


def test_a_request_that_may_not_be_asked_twice_is_asked_once(site: Served) -> None:
    """On a connection of its own, and answered 502 when that is closed."""

    def talk(stream: socket.socket, _: Backend) -> None:
        if read_head(stream).startswith(b"GET"):
            stream.sendall(OK)
            read_head(stream)

    with backend(talk) as server:
        FRONT.web_port = server.port
        assert site.get().text == "ok"
        answer = httpx.post(site.url, headers={"Host": site.host}, content=b"once")
        assert (answer.status_code, server.connections) == (502, 2)
        assert server.said.count(b"POST /") == 1


def test_slow_readers_hold_back_their_sprite_and_nothing_is_kept_here(site: Served) -> None:
    size = 64 << 20
    sent = 0

    def talk(stream: socket.socket, _: Backend) -> None:
        nonlocal sent
        read_head(stream)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            sent += stream.send(bytes(1 << 16))

    with backend(talk) as server:
        FRONT.web_port = server.port
        with wire.connected(site.url) as stream:
            stream.sendall(site.raw("GET / HTTP/1.1", "Connection: close"))
            before = -1
            while sent != before:  # until it stands still
                before = sent
                time.sleep(0.3)
            assert sent < 24 << 20
            got = 0
            while piece := stream.recv(1 << 20):
                got += len(piece)
            assert got > size


def test_a_web_socket_is_bytes_both_ways_after_its_101(site: Served) -> None:
    def talk(stream: socket.socket, _: Backend) -> None:
        head = read_head(stream).lower()
        assert b"upgrade: websocket" in head
        assert b"sec-websocket-key: k" in head
        stream.sendall(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\nfirst")
        while data := stream.recv(65536):
            stream.sendall(data.upper())
        stream.sendall(b"last")

    with backend(talk) as server:
        FRONT.web_port = server.port
        with wire.connected(site.url) as stream:
            upgrade = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
            stream.sendall(site.raw("GET /ws HTTP/1.1", *upgrade, body=b"early"))
            said = b""
            while not said.endswith(b"EARLY"):
                said += stream.recv(65536)
            stream.sendall(b"more")
            stream.shutdown(socket.SHUT_WR)
            said += wire.read_all(stream)
    head, _, rest = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"x-own: 1" in head
    assert rest == b"firstEARLYMORElast"


def test_a_web_socket_that_is_refused_is_an_answer_like_any_other(site: Served) -> None:
    with backend(says(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")) as server:
        FRONT.web_port = server.port
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
        [answer] = wire.parse_answers(wire.exchange(site.url, site.raw("GET / HTTP/1.1", *upgrade)), "GET")
    assert (answer.status, answer.body) == (403, b"no")


# Asleep, not there, too many


def test_a_sprite_that_sleeps_is_woken_and_the_request_held(site: Served, server: Backend) -> None:
    assert site.under_test.sprites.stop(site.row).result(30).done
    assert site.under_test.sprites.status(site.row) == "cold"
    assert site.get("/x").text.startswith("GET /x\n")
    assert site.under_test.sprites.status(site.row) == "running"


def test_a_sprite_whose_machine_died_unseen_is_woken(site: Served, server: Backend) -> None:
    row = site.row
    assert row.machine is not None
    site.under_test.vmm.stop(row.machine)
    assert site.under_test.sprites.is_ready(row)
    with httpx.Client() as client:
        answer = client.get(site.url, headers={"Host": site.host, "Connection": "close"})
    assert answer.status_code == 200


def test_a_port_that_nothing_listens_at_is_502_and_says_which(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "SETTLE_S", 0.0)  # it may have been woken just now, by the test before
    FRONT.web_port = 1
    for accept, told in (
        ("*/*", "nothing listens on port 1 of sprite web"),
        ("application/json", '"sprite": "web"'),
        ("text/html", "<title>502 Bad Gateway</title>"),
    ):
        answer = site.get(Accept=accept)
        assert answer.status_code == 502
        assert told in answer.text
    assert "text/html" in answer.headers["content-type"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_service_that_stands_still_is_started_and_waited_for(site: Served) -> None:
    late = Backend()
    FRONT.web_port, FRONT.starting = late.port, late
    try:
        assert site.get().status_code == 200
        assert FRONT.asked == 1
    finally:
        late.close()


def test_no_more_than_so_many_wait_for_a_waking_sprite(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "MAX_HELD", 0)
    assert site.under_test.sprites.stop(site.row).result(30).done
    answer = site.get()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "sprite web is waking" in answer.text


def test_a_sprite_that_does_not_wake_is_503_and_says_why(site: Served) -> None:
    assert site.under_test.sprites.stop(site.row).result(30).done
    site.under_test.vmm.fail_start = 100
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(awake, "HOLD_S", 0.3)
            answer = site.get()
    finally:
        site.under_test.vmm.fail_start = 0
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert site.under_test.sprites.wake(site.row).result(60).done


def test_an_answer_that_does_not_begin_is_504(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from pilot.host.ingress import forwarding

    monkeypatch.setattr(forwarding, "PATIENCE_S", 0.2)

    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        stream.recv(1)

    with backend(talk) as server:
        FRONT.web_port = server.port
        answer = site.get()
    assert answer.status_code == 504
    assert "sprite web" in answer.text


def test_one_sprite_has_so_many_requests_at_once(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from pilot.host.ingress import facade

    monkeypatch.setattr(facade, "MAX_AT_ONCE", 1)
    release = threading.Event()

    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        release.wait(wire.WAIT_S)
        stream.sendall(OK)

    with backend(talk) as server, wire.connected(site.url) as stream:
        FRONT.web_port = server.port
        stream.sendall(site.raw("GET / HTTP/1.1", "Connection: close"))
        while not server.said:
            time.sleep(0.01)
        refused = site.get()
        release.set()
        assert wire.parse_answers(wire.read_all(stream), "GET")[0].status == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "sprite web has 1 requests open already" in refused.text


def test_idle_connections_are_let_go_in_time(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_S", 0.1)
    ended = threading.Event()

    def talk(stream: socket.socket, _: Backend) -> None:
        read_head(stream)
        stream.sendall(OK)
        if stream.recv(1) == b"":
            ended.set()

    with backend(talk) as server:
        FRONT.web_port = server.port
        assert site.get().text == "ok"
        assert ended.wait(wire.WAIT_S)


@pytest.mark.parametrize("named", ["nobody-0000.localhost", "x.localhost", "a.b.localhost", "web-zzzz.localhost"])
def test_a_host_below_the_domain_that_is_nobody_s_is_never_the_api(site: Served, named: str) -> None:
    answer = httpx.get(f"{site.url}/healthz", headers={"Host": named})
    assert answer.status_code == 404
    assert named in answer.text


@pytest.mark.parametrize("named", ["localhost", "api.localhost", "127.0.0.1", "[::1]", "anything.example"])
def test_the_api_answers_everywhere_else(site: Served, named: str) -> None:
    assert httpx.get(f"{site.url}/healthz", headers={"Host": named}).text == "ok\n"


def test_methods_that_are_for_proxies_are_not_passed_on(site: Served, server: Backend) -> None:
    said = wire.exchange(site.url, site.raw("TRACE / HTTP/1.1", "Connection: close"))
    assert wire.parse_answers(said, "TRACE")[0].status == 405
    said = wire.exchange(site.url, f"CONNECT {site.host}:80 HTTP/1.1\r\nHost: {site.host}:80\r\n\r\nGET / ".encode())
    assert said.startswith(b"HTTP/1.1 405 ")
    assert server.said == b""


def test_an_address_is_gone_with_its_sprite(host: HostUnderTest, server: Backend) -> None:
    assert host.sprites.create(host.organisation.id, NewSprite("short")).result(30).done
    row = host.sprites.find(host.organisation.id, "short")
    host.sprites.update(row, SpriteChanges(UrlSettings("public")))
    headers = {"Host": f"short-{row.suffix}.localhost"}
    assert httpx.get(host.url, headers=headers).status_code == 200
    assert host.sprites.destroy(row).result(30).done
    assert httpx.get(host.url, headers=headers).status_code == 404
