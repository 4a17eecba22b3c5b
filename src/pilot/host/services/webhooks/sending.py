"""One POST to a stranger: to an address that was looked at, within a time, and no more of its answer read than the
status. Nothing is followed, and no proxy of the environment is used."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from .... import errors
from ....wire.faults import InvalidRequest
from ...network.addresses import Address
from ...network.destinations import Destinations
from . import names

ATTEMPT_S = 10.0
_SCHEMES = ("https", "http")
_GONE = 410
# What a host's name means.
Resolve = Callable[[str], Awaitable[Sequence[Address]]]


class NotDelivered(errors.PilotError):
    """This attempt, which says why; another one may."""


class Unwanted(NotDelivered):
    """The receiver wants no more of them (410)."""


def check_url(text: str, destinations: Destinations) -> None:
    """`InvalidRequest` for what no delivery could ever go to."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidRequest(f"url: {error}") from error
    if url.scheme not in _SCHEMES or not url.host:
        raise InvalidRequest("url: not one of http or https, with a host")
    if not _can_be_asked_for(url.raw_host):
        raise InvalidRequest("url: no host can be called so")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise InvalidRequest("url: no such port")
    if url.userinfo or url.fragment:
        raise InvalidRequest("url: a name, a password or a fragment cannot be in it")
    if (address := _address(url.host)) is not None and not destinations.permits(address):
        raise InvalidRequest(f"url: {_refusal(address)}", hint="pilotd serve --allow-webhook")


async def post(url: str, body: bytes, headers: Mapping[str, str], destinations: Destinations, resolve: Resolve) -> None:
    """`NotDelivered` for every answer but a good one."""
    try:
        async with asyncio.timeout(ATTEMPT_S):
            address = await _permitted(httpx.URL(url), destinations, resolve)
            status = await _post(httpx.URL(url), body, headers, address)
    except TimeoutError as error:
        raise NotDelivered(f"no answer within {ATTEMPT_S:.0f} s") from error
    except httpx.RemoteProtocolError as error:  # its text has what the receiver said
        raise NotDelivered("the receiver's answer is no HTTP, or was broken off") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, names.Busy) as error:
        raise NotDelivered(str(error) or type(error).__name__) from error
    if status == _GONE:
        raise Unwanted("the receiver answered 410: it wants no more")
    if not 200 <= status < 300:
        raise NotDelivered(f"the receiver answered {status}")


async def _post(url: httpx.URL, body: bytes, headers: Mapping[str, str], address: Address) -> int:
    own = {"host": url.netloc.decode(), "content-type": "application/json", "user-agent": "pilotd"}
    extensions = {"sni_hostname": url.raw_host.decode()}
    async with (
        httpx.AsyncClient(verify=_trust(), trust_env=False, follow_redirects=False, timeout=ATTEMPT_S) as client,
        client.stream(
            "POST", url.copy_with(host=str(address)), content=body, headers={**own, **headers}, extensions=extensions
        ) as answer,
    ):
        return answer.status_code


async def _permitted(url: httpx.URL, destinations: Destinations, resolve: Resolve) -> Address:
    """The first address of its host that it may go to."""
    addresses = await resolve(url.raw_host.decode())
    for address in addresses:
        if destinations.permits(address):
            return address
    raise NotDelivered(_refusal(addresses[0]))


def _can_be_asked_for(host: bytes) -> bool:
    """Whether the resolver takes it: labels of 1 to 63 bytes."""
    try:
        host.decode().encode("idna")
    except UnicodeError:
        return False
    return True


def _refusal(address: Address) -> str:
    return f"{address} is not where webhooks may go"


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@functools.cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()
