"""What two servers could read as different requests: nothing of it comes through, as the server behind has recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import smuggling, wire
from tests.support.backend import Backend, backend, says
from tests.support.host import HostUnderTest
from tests.support.site import Front, Served

FRONT = Front()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"), front=FRONT)
    yield Served(under_test, "web")
    under_test.close()


@pytest.fixture
def server() -> Iterator[Backend]:
    with backend() as made:
        FRONT.web_port = made.port
        yield made


@pytest.mark.parametrize("name", smuggling.REFUSED)
def test_it_is_refused_and_nothing_of_it_is_asked(site: Served, server: Backend, name: str) -> None:
    said = wire.exchange(site.url, smuggling.of(smuggling.REFUSED, name, site.host))
    assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), said
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"smuggled" not in server.said
    assert smuggling.requests_in(server.received) == []


@pytest.mark.parametrize("name", smuggling.HARMLESS)
def test_it_is_one_request_to_both(site: Served, server: Backend, name: str) -> None:
    said = wire.exchange(site.url, smuggling.of(smuggling.HARMLESS, name, site.host))
    assert said.count(b"HTTP/1.1 200 OK") == 1
    [(line, body)] = smuggling.requests_in(server.received)
    assert line == b"POST /"
    assert body == (b"" if name in smuggling.WITHOUT_BODY else smuggling.smuggled(site.host))


def test_a_request_smuggled_by_a_sprite_is_answered_to_nobody(site: Served) -> None:
    """Two answers to one request: the next client gets its own."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    with backend(says(poison)) as server:
        FRONT.web_port = server.port
        assert [site.get(f"/{number}").text for number in range(3)] == ["ok"] * 3


def test_the_reader_of_the_proof_sees_every_request() -> None:
    record = [
        bytearray(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok")
    ]
    assert smuggling.requests_in(record) == [(b"GET /a", b""), (b"POST /b", b"ok")]
