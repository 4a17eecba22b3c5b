"""Whoever names an image makes pilotd connect: where nobody permits it, nothing does, however it is led there."""

from __future__ import annotations

import ipaddress
import pathlib
import socket
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.support import images, tlssite
from tests.support.layers import Item, tar

from pilot import errors
from pilot.host.fly.pulling import Images
from pilot.image.oci.reach import MOST_TRIED, Address, Guarded
from pilot.image.oci.store import Store
from pilot.images.origins import Insecure

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
PRIVATE = "10.11.12.13"


def _in_loopback(address: Address) -> bool:
    return address in LOOPBACK


def _nowhere(_: Address) -> bool:
    return False


@pytest.fixture
def served(tmp_path: pathlib.Path) -> Iterator[images.Served]:
    layout = images.make_layout(tmp_path / "layout", [tar(Item("file", data=b"x"))], {"Cmd": ["true"]})
    with images.serve(layout) as served:
        yield served


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`means(name, address, …)`: from now on a name means these; what is asked for is put into the list."""

    def mean(name: str, *addresses: str) -> list[str]:
        asked: list[str] = []
        real = socket.getaddrinfo

        def resolve(host: str, *rest: object, **more: object) -> object:
            if host != name:
                return real(host, *rest, **more)  # type: ignore[arg-type]
            asked.append(host)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return mean


def _port(served: images.Served) -> str:
    return served.domain.rpartition(":")[2]


def _images(tmp_path: pathlib.Path, permits: Callable[[Address], bool], *insecure: str) -> Images:
    return Images(Store(str(tmp_path / "store")), Insecure(frozenset(insecure)), permits)


def test_an_address_that_is_not_permitted_is_not_connected_to(tmp_path: pathlib.Path, served: images.Served) -> None:
    with pytest.raises(errors.SpecError, match=r"127\.0\.0\.1, where no image is fetched from") as refused:
        _images(tmp_path, _nowhere).find(f"{served.domain}/box")
    assert refused.value.hint == "pilotd serve --allow-registry"
    assert served.asked == []
    assert _images(tmp_path, _in_loopback).find(f"{served.domain}/box")


def test_a_registry_that_the_operator_names_is_where_it_is(tmp_path: pathlib.Path, served: images.Served) -> None:
    assert _images(tmp_path, _nowhere, served.domain).find(f"{served.domain}/box")


def test_of_a_names_addresses_those_that_are_permitted_are_asked_and_it_is_resolved_once(
    served: images.Served, means: Callable[..., list[str]]
) -> None:
    resolved = means("registry.test", PRIVATE, "127.0.0.1")
    with httpx.Client(transport=Guarded(_in_loopback)) as client:
        answer = client.get(f"http://registry.test:{_port(served)}/v2/box/manifests/latest")
    assert (answer.status_code, answer.url.host) == (200, "registry.test")
    assert resolved == ["registry.test"]


def test_where_one_address_does_not_answer_the_next_one_is_asked(
    served: images.Served, means: Callable[..., list[str]]
) -> None:
    means("registry.test", "127.0.0.2", "127.0.0.1")  # nobody listens at the first
    with httpx.Client(transport=Guarded(_in_loopback)) as client:
        assert client.get(f"http://registry.test:{_port(served)}/v2/box/manifests/latest").status_code == 200


def test_of_very_many_addresses_no_more_are_tried_than_a_few(
    means: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever has a name decides for how many hours a thread waits."""
    tried: list[str] = []

    def connect(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        tried.append(request.url.host)
        raise httpx.ConnectTimeout("nobody there")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", connect)
    means("registry.test", PRIVATE, *(f"127.0.1.{number}" for number in range(200)))
    with httpx.Client(transport=Guarded(_in_loopback)) as client, pytest.raises(httpx.ConnectTimeout):
        client.get("http://registry.test/v2/")
    assert tried == [f"127.0.1.{number}" for number in range(MOST_TRIED)]


def test_a_name_that_means_nothing_is_an_error_of_connecting(means: Callable[..., list[str]]) -> None:
    means("nothing.test")
    with httpx.Client(transport=Guarded(_in_loopback)) as client, pytest.raises(httpx.ConnectError):
        client.get("http://nothing.test/")


def test_where_a_registry_sends_it_on_is_looked_at_too(tls: Tls) -> None:
    tls.site.answer = lambda _: tlssite.Said(status=307, headers=[("Location", f"https://{PRIVATE}/secret")])
    where = f"https://registry.test:{tls.port}/"
    refused = pytest.raises(errors.SpecError, match=f"{PRIVATE}, where no image is fetched from")
    with httpx.Client(transport=Guarded(_in_loopback, trust=tls.trust)) as client, refused:
        client.get(where, follow_redirects=True)


def test_the_certificate_is_to_have_the_name_and_connections_are_of_one_name(
    tls: Tls, means: Callable[..., list[str]]
) -> None:
    with httpx.Client(transport=Guarded(_in_loopback, trust=tls.trust)) as client:
        assert client.get(f"https://registry.test:{tls.port}/v2/").status_code == 200
        means("other.test", "127.0.0.1")  # the same server, which has no such certificate
        with pytest.raises(httpx.ConnectError, match="certificate"):
            client.get(f"https://other.test:{tls.port}/v2/")
    assert [each.headers["host"] for each in tls.site.asked] == [f"registry.test:{tls.port}"]


def test_a_proxy_of_the_environment_connects_and_decides(
    served: images.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", served.domain)
    monkeypatch.setenv("no_proxy", "10.11.12.14")
    with httpx.Client(transport=Guarded(_nowhere)) as client:
        assert client.get(f"http://{PRIVATE}/v2/box/manifests/latest").status_code == 200
        for direct in ("10.11.12.14", "localhost"):
            with pytest.raises(errors.SpecError):
                client.get(f"http://{direct}/")
    assert served.asked == [f"http://{PRIVATE}/v2/box/manifests/latest"]


class Tls:
    """An HTTPS server that is called registry.test."""

    def __init__(self, site: tlssite.Site, port: int, trust: ssl.SSLContext) -> None:
        self.site, self.port, self.trust = site, port, trust


@pytest.fixture
def tls(tmp_path: pathlib.Path, means: Callable[..., list[str]]) -> Iterator[Tls]:
    authority = tlssite.Authority(tmp_path)
    means("registry.test", "127.0.0.1")
    trust, context = ssl.create_default_context(cafile=str(authority.path)), authority.context("registry.test")
    with socket.create_server(("127.0.0.1", 0)) as listening, tlssite.serving(listening, context) as site:
        yield Tls(site, listening.getsockname()[1], trust)
