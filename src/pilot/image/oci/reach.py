"""The way from pilotd to registries, and to where they send it on: to addresses that it may be made to go to.

Whoever may name an image makes pilotd connect, which stands inside of walls that tenants are kept out by. So an address
is decided on, not a name, and it is the one that is connected to: a name may mean another the next moment. Where the
environment has a proxy, the proxy connects, and decides.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Callable, Collection, Iterator

import httpx

from ... import errors
from . import registry

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Of a name's addresses that are tried: each may let a thread wait for as long as a connection may take.
MOST_TRIED = 8
_NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout)


class Guarded(httpx.BaseTransport):
    """`permits`: addresses. `named`: registries (HOST or HOST:PORT) that the operator names, wherever they are.

    Raises `SpecError` where nothing permitted is meant. `hint`: what the operator may do about it. `trust`: whose
    certificates are believed, if not those of the environment.
    """

    def __init__(
        self,
        permits: Callable[[Address], bool],
        named: Collection[str] = (),
        hint: str | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._permits = permits
        self._named = named
        self._hint = hint
        self._trust = trust or _usual_trust()
        self._transports: dict[tuple[str, str], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if proxy := _proxy_of(request.url):
            return self._transport("proxy", proxy).handle_request(request)
        if request.url.netloc.decode() in self._named:
            return self._transport("named", "").handle_request(request)
        return self._direct(request)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    def _direct(self, request: httpx.Request) -> httpx.Response:
        """By the first of its host's addresses that answers, as any client does."""
        # A connection is its host's alone: another one at the same address has not shown a certificate on it.
        transport = self._transport("direct", request.url.host)
        *others, last = self._permitted(request.url)
        for address in others:
            try:
                return transport.handle_request(_at(request, address))
            except _NOT_REACHED:
                continue
        return transport.handle_request(_at(request, last))

    def _permitted(self, url: httpx.URL) -> list[Address]:
        meant = list(_addresses(url))
        permitted = [address for address in meant if self._permits(address)]
        if not permitted:
            problem = f"{url.host} is at {meant[0]}, where no image is fetched from"
            raise errors.SpecError("image", problem, hint=self._hint)
        return permitted[:MOST_TRIED]

    def _transport(self, way: str, to: str) -> httpx.HTTPTransport:
        key = way, to
        if key not in self._transports:
            self._transports[key] = httpx.HTTPTransport(verify=self._trust, proxy=to if way == "proxy" else None)
        return self._transports[key]


def _at(request: httpx.Request, address: Address) -> httpx.Request:
    """The same, sent there; its Host, and the name that a certificate is to have, are what they were."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode()},
    )


def _addresses(url: httpx.URL) -> Iterator[Address]:
    """All that its host means, at least one; `httpx.ConnectError`, as where nothing can be connected to."""
    try:
        rows = socket.getaddrinfo(url.raw_host.decode(), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{url.host}: {error}") from error
    for *_, place in rows:
        yield ipaddress.ip_address(str(place[0]).partition("%")[0])


def _proxy_of(url: httpx.URL) -> str | None:
    if registry.is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return found if found is None or "://" in found else f"http://{found}"


@functools.cache
def _usual_trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
