"""Connectors of a machine, with the real process, gateway and resolver, and HTTPS servers on an Internet of the test's
own: what reaches them, and what does not."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import signal
import socket
import ssl
from collections.abc import Iterator

import h11
import pytest
from tests.support import internet as nets
from tests.support import tlssite
from tests.support.internet import OTHER, WEB, Internet, wait_until
from tests.support.netsprite import Sprite
from tests.support.tlssite import Said, Site

from pilot.host.fly.vault import Vault
from pilot.host.identity import sealed
from pilot.host.network.connectors import authority, grants
from pilot.host.network.connectors.connector import Attachment, Basic, Bearer, Connector, Header, Placeholder
from pilot.host.network.plan import Settings
from pilot.host.network.service import Networks

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")

SECRET = "sk-live-0123456789abcdef"
HERE = "198.18.0.1"
API, ELSEWHERE = "api.test", "elsewhere.test"


@pytest.fixture(scope="module")
def internet() -> Iterator[Internet]:
    with nets.internet() as made:
        for name, address in ((API, WEB), (ELSEWHERE, OTHER), ("liar.test", OTHER), ("inner.test", nets.PRIVATE)):
            made.records[name, "A"] = (60, [address])
        made.records[API, "HTTPS"] = (60, [f"1 . ipv4hint={WEB}"])
        yield made


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tlssite.Authority]:
    """What the host's system believes."""
    made = tlssite.Authority(tmp_path_factory.mktemp("authority"))
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(made.path)
    yield made
    del os.environ["SSL_CERT_FILE"]
    if before is not None:
        os.environ["SSL_CERT_FILE"] = before


@pytest.fixture(scope="module")
def served(internet: Internet, trusted: tlssite.Authority) -> Iterator[Site]:
    with tlssite.serving(internet.bound(socket.SOCK_STREAM, WEB, 443), trusted.context(API)) as made:
        yield made


@pytest.fixture
def site(served: Site) -> Site:
    served.asked.clear()
    served.answer = tlssite.told
    return served


@pytest.fixture(scope="module")
def another(internet: Internet, trusted: tlssite.Authority) -> Iterator[Site]:
    """Believed, and of another name."""
    with tlssite.serving(internet.bound(socket.SOCK_STREAM, OTHER, 443), trusted.context(ELSEWHERE)) as made:
        yield made


@pytest.fixture(scope="module")
def networks(
    internet: Internet, trusted: tlssite.Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Networks]:
    state = tmp_path_factory.mktemp("state")
    key = state / "secrets.key"
    sealed.ensure_key(str(key))
    made = Networks(Settings("0c0c0c0c"), str(state), [nets.DNS], str(key))
    made.start()
    yield made
    made.stop()


class Connected(Sprite):
    """A machine that connectors are given to."""

    def give(self, *connectors: tuple[str, Attachment, str, tuple[str, ...]]) -> None:
        """Each: name, how it is attached, secret, hosts."""
        state = pathlib.Path(self.networks._state_dir).parent
        vault = Vault((state / "secrets.key").read_bytes())
        machine = self.member.machine
        given = tuple(
            Connector(name=name, hosts=hosts, attach=attach, sealed=grants.seal(vault, machine, name, secret))
            for name, attach, secret, hosts in connectors
        )
        hosts = sorted(host for each in given for host in each.hosts)
        made = authority.make(vault, machine, hosts, self.member.authority) if hosts else None
        self.member = dataclasses.replace(self.member, connectors=given, authority=made, serial=self.member.serial + 1)
        self.networks.enforce(self.member)

    def dial(self, name: str, address: str = HERE, *, trust: str | None = None) -> ssl.SSLSocket:
        """TLS to that address, by that name; it believes the machine's own authority, or that file. Close it."""
        context = ssl.create_default_context(cafile=trust, cadata=None if trust else self._believed())
        context.set_alpn_protocols(["http/1.1"])
        made = self.machine.connect(address, 443)
        try:
            return context.wrap_socket(made, server_hostname=name)
        except BaseException:
            made.close()
            raise

    def _believed(self) -> str:
        assert self.member.authority is not None
        return self.member.authority.certificate

    def ask(self, text: str, name: str = API) -> tuple[int, bytes]:
        """Status and body of the answer to one request, written as it is."""
        with self.dial(name) as connection:
            connection.sendall(text.encode())
            return answer(connection)


def answer(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """The next one; `OSError` or `h11.RemoteProtocolError` for one that is cut."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    http.send(h11.EndOfMessage())
    status, body = 0, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(connection.recv(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
    return status, body


@pytest.fixture
def sprite(networks: Networks) -> Iterator[Connected]:
    made = Connected(networks)
    yield made
    made.close()


def uses(sprite: Connected, connector: str = "api") -> list[tuple[str, int]]:
    return [(use.outcome, use.status) for use in sprite.networks.uses(sprite.member.machine, connector)]


GET = f"GET /v1?q=private HTTP/1.1\r\nHost: {API}\r\nAuthorization: Bearer mine\r\n\r\n"
BEARER = ("api", Bearer(), SECRET, (API,))


def test_a_request_gets_its_secret_and_is_written_down(sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    assert sprite.machine.addresses(API) == [HERE]
    assert sprite.machine.addresses(API, "AAAA") == ["fd70:696c:6f74::1"]
    assert not sprite.machine.ask(API, "HTTPS").answer, "no hint leads around"
    status, body = sprite.ask(GET)
    assert status == 200
    assert json.loads(body)["path"] == "/v1?q=private"
    assert site.asked[0].headers["authorization"] == f"Bearer {SECRET}", "not the one that it has sent"
    [use] = sprite.networks.uses(sprite.member.machine, "api")
    assert (use.host, use.method, use.path, use.outcome, use.status) == (API, "GET", "/v1", "answered", 200)


def test_each_kind_is_attached_as_it_says(sprite: Connected, site: Site) -> None:
    """Git and pip say a placeholder as the password of Basic; npm and curl in headers of their own."""
    sprite.give(("api", Basic("git"), SECRET, (API,)))
    assert sprite.ask(GET)[0] == 200
    assert site.asked[-1].headers["authorization"] == f"Basic {encoded('git', SECRET)}"
    sprite.give(("api", Header("X-Api-Key"), SECRET, (API,)))
    assert sprite.ask(GET)[0] == 200
    assert (site.asked[-1].headers["x-api-key"], site.asked[-1].headers["authorization"]) == (SECRET, "Bearer mine")
    sprite.give(("api", Placeholder("PLACE-HOLDER"), SECRET, (API,)))
    sent = f"GET /PLACE-HOLDER HTTP/1.1\r\nHost: {API}\r\nAuthorization: Basic {encoded('git', 'PLACE-HOLDER')}\r\n"
    assert sprite.ask(f"{sent}X-Token: t=PLACE-HOLDER\r\n\r\n")[0] == 200
    headers = site.asked[-1].headers
    assert (headers["authorization"], headers["x-token"]) == (f"Basic {encoded('git', SECRET)}", f"t={SECRET}")
    assert site.asked[-1].path == "/PLACE-HOLDER", "in headers alone"
    assert sprite.ask(f"GET / HTTP/1.1\r\nHost: {API}\r\n\r\n")[0] == 200
    assert SECRET not in "".join(site.asked[-1].headers.values()), "who does not say it sends nothing"


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET / HTTP/1.1\r\nHost: {ELSEWHERE}\r\n", 421),
        (f"GET / HTTP/1.1\r\nHost: {API}\r\nHost: {ELSEWHERE}\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: {API}:444\r\n", 421),
        ("GET / HTTP/1.1\r\n", 400),
        (f"GET https://{ELSEWHERE}/ HTTP/1.1\r\nHost: {API}\r\n", 400),
        (f"TRACE / HTTP/1.1\r\nHost: {API}\r\n", 405),
        (f"CONNECT {ELSEWHERE}:443 HTTP/1.1\r\nHost: {API}\r\n", 405),
        (f"POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        (f"POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 4\r\nContent-Length: 5\r\n", 400),
        (f"POST / HTTP/1.1\r\nHost: {API}\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        (f"POST / HTTP/1.0\r\nHost: {API}\r\nTransfer-Encoding: chunked\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: {API}\r\nX: {'x' * 70000}\r\n", 431),
        ("\x16\x03\x01 no\r\n", 400),
    ],
)
def test_what_is_not_one_sound_request_for_the_host_reaches_nobody(
    sprite: Connected, site: Site, head: str, status: int
) -> None:
    sprite.give(BEARER)
    assert sprite.ask(f"{head}\r\n")[0] == status
    assert site.asked == []


def test_a_handshake_is_for_a_name_of_a_connector(sprite: Connected, site: Site) -> None:
    """Its authority speaks for these alone; another machine's does not speak to this one at all."""
    sprite.give(BEARER)
    for name in (ELSEWHERE, "x.api.test"):
        with pytest.raises(OSError, match=r"EOF|reset"):
            sprite.dial(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with sprite.machine.connect(HERE, 443) as bare, pytest.raises(OSError, match=r"EOF|reset"):
        context.wrap_socket(bare)
    assert sprite.member.authority is not None
    assert authority.names_of(sprite.member.authority) == {API}
    with pytest.raises(OSError, match="refused"):
        sprite.machine.connect(HERE, 80)


def test_a_machine_without_the_connector_gets_nothing(networks: Networks, sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    stranger = Connected(networks)
    try:
        assert stranger.machine.addresses(API) == [WEB], "the real host, as ever"
        with pytest.raises(OSError, match="refused"):
            stranger.machine.connect(HERE, 443)
    finally:
        stranger.close()


def test_who_answers_has_to_be_the_host(sprite: Connected, site: Site, another: Site) -> None:
    """Of another name, not reachable by anybody, or nowhere: nothing is sent, and the machine is told."""
    hosts = ("liar.test", "inner.test", "nowhere.test")
    sprite.give(("api", Bearer(), SECRET, hosts))
    for host, why in zip(hosts, ("mismatch", "leads nowhere", "leads nowhere"), strict=True):
        status, body = sprite.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n", host)
        assert status == 502
        assert why in body.decode()
    assert another.asked == []
    assert uses(sprite) == [("unreached", 0)] * 3


def test_a_redirect_is_the_machines_to_follow_without_the_secret(
    sprite: Connected, site: Site, another: Site, trusted: tlssite.Authority
) -> None:
    sprite.give(BEARER)
    site.answer = lambda _: Said(status=302, headers=[("Location", f"https://{ELSEWHERE}/there")])
    assert sprite.ask(GET)[0] == 302
    assert len(site.asked) == 1
    [address] = sprite.machine.addresses(ELSEWHERE)
    with sprite.dial(ELSEWHERE, address, trust=str(trusted.path)) as connection:
        connection.sendall(f"GET /there HTTP/1.1\r\nHost: {ELSEWHERE}\r\n\r\n".encode())
        assert answer(connection)[0] == 200
    assert "authorization" not in another.asked[-1].headers


def test_one_connection_has_many_requests(sprite: Connected, site: Site) -> None:
    """Pipelined, with bodies of a length and in chunks, with Expect, and larger than anything is held of."""
    sprite.give(BEARER)
    large = os.urandom(5 << 20)
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (large[:100000], large[100000:])) + b"0\r\n\r\n"
    before = site.connections
    with sprite.dial(API) as connection:
        head = f"POST /up HTTP/1.1\r\nHost: {API}\r\n"
        connection.sendall(f"{head}Content-Length: 3\r\n\r\nabc{head}Content-Length: 2\r\n\r\nde{GET}".encode())
        assert [status for status, _ in answers(connection, 3)] == [200, 200, 200]
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(chunked)
        assert answer(connection)[0] == 200
        connection.sendall(f"{head}Content-Length: {len(large)}\r\nConnection: close\r\n\r\n".encode() + large)
        assert answer(connection)[0] == 200
        assert connection.recv(1) == b"", "as it has asked for"
    assert [len(asked.body) for asked in site.asked] == [3, 2, 0, len(large), len(large)]
    assert site.asked[-2].body == large
    assert site.connections == before + 1
    assert {asked.headers["authorization"] for asked in site.asked} == {f"Bearer {SECRET}"}


def answers(connection: ssl.SSLSocket, count: int) -> list[tuple[int, bytes]]:
    """As many, which follow each other."""
    data = b""
    found: list[tuple[int, bytes]] = []
    while len(found) < count:
        head, separator, rest = data.partition(b"\r\n\r\n")
        length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
        if not separator or len(rest) < length:
            data += connection.recv(65536)
            continue
        found.append((int(head[9:12]), rest[:length]))
        data = rest[length:]
    return found


def test_large_answers_pass_as_they_are(sprite: Connected, site: Site) -> None:
    large = os.urandom(8 << 20)
    sprite.give(BEARER)
    site.answer = lambda _: Said(
        large, headers=[("X-Kept", "a, b"), ("Connection", "keep-alive, X-Hop"), ("X-Hop", "1")]
    )
    assert sprite.ask(GET) == (200, large)
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (large[:70000], large[70000:])) + b"0\r\n\r\n"
    site.answer = lambda _: Said(parts, headers=[("Transfer-Encoding", "chunked")])
    assert sprite.ask(GET) == (200, large)


def test_an_answer_that_says_the_secret_is_cut_off(sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    site.answer = lambda asked: Said(b"you said " + asked.headers["authorization"].encode())
    with sprite.dial(API) as connection:
        connection.sendall(GET.encode())
        got = read_all(connection)
    assert b"HTTP/1.1 200" in got
    assert SECRET.encode() not in got
    site.answer = lambda asked: Said(headers=[("X-Echo", asked.headers["authorization"])])
    status, body = sprite.ask(GET)
    assert (status, SECRET.encode() in body) == (502, False)
    half = SECRET.encode()[:10]
    site.answer = lambda _: Said(b"ends as it begins: " + half)
    assert sprite.ask(GET) == (200, b"ends as it begins: " + half)
    assert uses(sprite) == [("answered", 200), ("echoed", 200), ("echoed", 0), ("answered", 200)]


def read_all(connection: ssl.SSLSocket) -> bytes:
    """What comes until it ends, in whatever way."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except OSError:
        pass  # cut
    return data


def test_a_changed_secret_is_used_at_once_and_one_taken_away_cuts(sprite: Connected, site: Site) -> None:
    """On connections that there are."""
    sprite.give(BEARER)
    with sprite.dial(API) as connection:
        connection.sendall(GET.encode())
        assert answer(connection)[0] == 200
        sprite.give(("api", Bearer(), "another-secret", (API,)))
        connection.sendall(GET.encode())
        assert answer(connection)[0] == 200
        assert site.asked[-1].headers["authorization"] == "Bearer another-secret"
        sprite.give()
        assert read_all(connection) == b""
    assert sprite.machine.addresses(API) == [WEB]
    assert len(site.asked) == 2


def test_a_policy_has_the_last_word(sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    with sprite.dial(API) as connection:
        sprite.obey(ELSEWHERE)
        assert read_all(connection) == b"", "it is cut"
    assert sprite.machine.addresses(API) == []
    with pytest.raises(OSError, match=r"EOF|reset"):
        sprite.dial(API)
    sprite.obey(API)
    assert sprite.ask(GET)[0] == 200
    assert not sprite.machine.reaches(WEB, 443), "the host itself is not reached around it"


def test_a_host_that_ends_idle_connections_is_asked_anew(sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    with sprite.dial(API) as connection:
        for _ in range(3):
            site.answer = lambda _: Said(b"ok", headers=[("Connection", "close")])
            connection.sendall(GET.encode())
            assert answer(connection) == (200, b"ok")
    turns = iter([Said(b"one"), Said(status=None), Said(b"two")])
    site.answer = lambda _: next(turns)
    with sprite.dial(API) as connection:
        for said in (b"one", b"two"):
            connection.sendall(GET.encode())
            assert answer(connection) == (200, said)


def test_the_process_is_killed_and_comes_back_with_what_there_was(sprite: Connected, site: Site) -> None:
    sprite.give(BEARER)
    assert sprite.ask(GET)[0] == 200
    supervisor = sprite.networks._connectors
    assert supervisor is not None
    pid = supervisor.find()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.find() not in (None, pid), "there is another one", 60)
    assert sprite.ask(GET)[0] == 200


def test_the_file_that_it_is_told_by_has_no_secret(sprite: Connected) -> None:
    sprite.give(BEARER)
    found = [
        path
        for place in (sprite.networks._directory, sprite.networks._state_dir)
        for path in pathlib.Path(place).rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert found == []
