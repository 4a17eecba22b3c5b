"""Heads of requests and answers as values: what is refused, what is of one connection only, how they are written."""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Iterable
from typing import Final

from ...wire import faults
from ...wire import http as wire

# Names are in lower case.
Headers = tuple[tuple[bytes, bytes], ...]

# Of the request line, and of all headers together: as much as a machine takes.
MAX_TARGET_BYTES = wire.MAX_TARGET_BYTES
MAX_HEADERS_BYTES = wire.MAX_HEADERS_BYTES
MAX_HEADERS = 256

# RFC 9110, 7.6.1: of one connection, not of the message; so is whatever `Connection` names.
HOP_BY_HOP = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade".split()
    + b"proxy-authenticate proxy-authorization proxy-connection".split()
)
# pilotd's own business; and what a client could say only to be taken for somebody else.
NOT_FOR_THE_MACHINE = frozenset(
    b"authorization host cookie expect content-length".split()
    + b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto".split()
)
# RFC 9110, 7.2, as far as anybody needs it: a name or an address, and a port.
_HOST = re.compile(rb"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])?(:[0-9]{1,5})?")
_SCHEMES = (b"http://", b"https://")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)")
# What no reader agrees on: control characters, and what is not of ASCII in a name or a target.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(rb"[\x21-\x7e]+")
NOT_FOR_THE_CLIENT = frozenset((b"server", b"date", faults.HEADER.lower().encode()))


class Head:
    """A request's line and headers, as they came; nothing of it changes.

    `path` is still encoded. `host` is whom the client takes us for, without the port. Both are the target's when that
    is absolute. `names_upgrade`: to whatever protocol; the parser reads nothing after such a head. `wants_upgrade`: to
    WebSocket, or so it says.
    """

    # Each of them is asked for several times a request, so they are made once.
    __slots__ = (
        "_by_name", "has_body", "headers", "host", "is_chunked", "keep_alive", "method", "names_upgrade", "path",
        "target", "version", "wants_upgrade",
    )  # fmt: skip

    def __init__(
        self, method: str, target: bytes, headers: Headers, version: str = "1.1", keep_alive: bool = True
    ) -> None:
        self.method: Final = method
        self.target: Final = target
        self.headers: Final = headers
        self.version: Final = version
        self.keep_alive: Final = keep_alive
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in by_name:
                by_name[name].append(value)
            else:
                by_name[name] = [value]
        self._by_name: Final = by_name
        self.path: Final = _path(target)
        self.host: Final = _name(_authority(target) if target.startswith(_SCHEMES) else self.first(b"host") or b"")
        self.is_chunked: Final = b"transfer-encoding" in by_name
        self.has_body: Final = self.is_chunked or self.first(b"content-length") not in (None, b"0")
        self.names_upgrade: Final = b"upgrade" in by_name and b"upgrade" in _tokens(self.all(b"connection"))
        self.wants_upgrade: Final = self.names_upgrade and by_name[b"upgrade"][0].lower() == b"websocket"

    def all(self, name: bytes) -> list[bytes]:
        """The values of every header of that name."""
        return self._by_name.get(name, [])

    def first(self, name: bytes) -> bytes | None:
        found = self._by_name.get(name)
        return found[0] if found else None

    @property
    def query(self) -> bytes:
        """What follows the question mark, as it came."""
        return self.target.partition(b"?")[2]

    @property
    def wants_continue(self) -> bool:
        return self.version == "1.1" and (self.first(b"expect") or b"").lower() == b"100-continue"


def _path(target: bytes) -> bytes:
    before = target.partition(b"?")[0]
    if not before.startswith(_SCHEMES):
        return before
    return b"/" + before.split(b"/", 3)[3] if before.count(b"/") > 2 else b"/"


def _tokens(values: Iterable[bytes]) -> set[bytes]:
    """What a header that is a list names (RFC 9110, 5.6.1)."""
    return {token.strip().lower() for value in values for token in value.split(b",")}


def _authority(target: bytes) -> bytes:
    return target.split(b"/", 3)[2].partition(b"?")[0]


def _name(authority: bytes) -> str:
    name = authority.decode("latin-1").lower()
    return name[: name.index("]") + 1] if "]" in name else name.partition(":")[0]


def check(head: Head) -> None:
    """`InvalidRequest` for what another server might read otherwise than we do; the parser has refused the rest."""
    hosts = head.all(b"host")
    if len(hosts) != 1 and (head.version == "1.1" or hosts):
        raise faults.InvalidRequest("request: exactly one Host is needed")
    if head.version not in ("1.0", "1.1"):
        raise faults.InvalidRequest(f"request: HTTP/{head.version} is not spoken here")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise faults.InvalidRequest("request: its Host is no host")
    _check_target(head)
    if _CONTROL.search(b" ".join([value for _, value in head.headers])):
        raise faults.InvalidRequest("request: a control character in a header")
    if head.is_chunked and (head.version == "1.0" or head.all(b"transfer-encoding") != [b"chunked"]):
        raise faults.InvalidRequest("request: no transfer coding is known but chunked, of HTTP/1.1")
    if head.first(b"expect") not in (None, b"100-continue") and not head.wants_continue:
        raise faults.InvalidRequest("request: nothing can be expected but 100-continue")
    if head.names_upgrade and head.has_body:
        raise faults.InvalidRequest("upgrade: such a request has no body")


def _check_target(head: Head) -> None:
    """A target is a path, or says the same host as the header does; `*` is for OPTIONS alone (RFC 9112, 3.2)."""
    target = head.target
    if not _TARGET.fullmatch(target) or b"#" in target:
        raise faults.InvalidRequest("request: its target is not a URL's")
    if target.startswith(b"/") or (target == b"*" and head.method == "OPTIONS") or head.method == "CONNECT":
        return
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise faults.InvalidRequest("request: its target is neither a path nor a URL")
    if [absolute[1].lower()] != [host.lower() for host in head.all(b"host")]:
        raise faults.InvalidRequest("request: its target names another host than its Host")


def check_size(head: Head) -> None:
    """`HeadTooLarge` for more than anybody needs."""
    size = sum([len(name) + len(value) for name, value in head.headers])
    if len(head.target) > MAX_TARGET_BYTES or size > MAX_HEADERS_BYTES or len(head.headers) > MAX_HEADERS:
        raise too_large()


def too_large() -> faults.HeadTooLarge:
    """Also of a head that has no end yet."""
    return faults.HeadTooLarge(
        f"request: more than {MAX_TARGET_BYTES} bytes of target, or {MAX_HEADERS_BYTES} or {MAX_HEADERS} headers"
    )


def passed_on(headers: Headers, left_out: frozenset[bytes]) -> Headers:
    """End-to-end headers that are not `left_out`."""
    dropped = _dropped(left_out)
    said = [value for key, value in headers if key == b"connection"]
    if said and not (named := _tokens(said)) <= dropped:
        dropped |= named
    return tuple([pair for pair in headers if pair[0] not in dropped])


@functools.lru_cache
def _dropped(left_out: frozenset[bytes]) -> frozenset[bytes]:
    return HOP_BY_HOP | left_out


def for_machine(head: Head, target: str, peer: str) -> bytes:
    """The request as a machine is asked it: another target, and nothing of what is between client and pilotd."""
    kept = passed_on(head.headers, NOT_FOR_THE_MACHINE)
    ours: list[tuple[bytes, bytes]] = [(b"host", b"machine"), (b"x-forwarded-for", peer.encode())]
    if head.wants_upgrade:
        ours += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    else:
        ours.append((b"connection", b"close"))
    if head.is_chunked:
        ours.append((b"transfer-encoding", b"chunked"))
    elif (length := head.first(b"content-length")) is not None:
        ours.append((b"content-length", length))
    return render(f"{head.method} {target} HTTP/1.1", (*ours, *kept))


@functools.lru_cache
def status_line(status: int) -> str:
    try:
        return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP/1.1 {status} "


def render(line: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"%s\r\n%s\r\n" % (line.encode(), b"".join([b"%s: %s\r\n" % pair for pair in headers]))
