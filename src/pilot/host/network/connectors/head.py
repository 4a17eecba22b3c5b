"""Which requests of a machine are passed on, and what of them. Pure; h11 has parsed them, and bounded their heads.

A request is passed on when it is for the host that its connection is for, and when nobody can read its end in two ways.
What is of one hop alone (RFC 9110 7.6.1) stays behind, and with it every offer to speak something else: no answer of a
host can turn a connection into one that nobody looks at.
"""

from __future__ import annotations

import h11

from .connector import Attachment, Headers

MOST_BYTES = 64 << 10
_MOST_TEXTS = 16  # by which a secret is said: an answer is looked through for each
_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"upgrade",
    }
)  # fmt: skip
# CONNECT asks for a tunnel. TRACE is answered with the request, and so with the secret; TRACK is what some call it.
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
_PORT = b":443"


class Refused(Exception):
    """Not passed on: answered with that status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def checked(request: h11.Request, host: str) -> None:
    """`Refused` when it is not, beyond doubt, one request for that host."""
    if request.method.upper() in _REFUSED_METHODS:
        raise Refused(405, f"{request.method.decode()} is not passed on")
    if not request.target.startswith(b"/") and request.target != b"*":
        raise Refused(400, "the target is not a path")
    _check_host(request, host)
    _check_framing(request)


def _check_host(request: h11.Request, host: str) -> None:
    named = [value for name, value in request.headers if name == b"host"]
    if len(named) != 1:
        raise Refused(400, "there is not one Host")
    if named[0].strip().lower().removesuffix(_PORT) != host.encode():
        raise Refused(421, f"this connection is for {host}")


def _check_framing(request: h11.Request) -> None:
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version != b"1.1"):
        raise Refused(400, "its end can be read in two ways")


def forwarded(request: h11.Request, attach: Attachment, secret: bytes) -> h11.Request:
    """What is sent to the host, of a request that was `checked`. `Refused`: with the secret it is too much."""
    headers = attach.attached(secret, _without_hops(request.headers.raw_items()))
    is_too_large = len(request.target) + sum(len(name) + len(value) for name, value in headers) > MOST_BYTES
    if is_too_large or len(attach.said(secret, headers)) > _MOST_TEXTS:
        raise Refused(431, "its head is too much with the secret in it")
    return h11.Request(method=request.method, target=request.target, headers=list(headers))


def answered(response: h11.Response | h11.InformationalResponse) -> Headers:
    """The headers that the machine gets."""
    return _without_hops(response.headers.raw_items())


def _without_hops(headers: Headers) -> Headers:
    listed = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    # What says where a message ends is never of one hop, whatever is listed.
    dropped = _HOP | (listed - {b"content-length", b"transfer-encoding", b"host"})
    return [(name, value) for name, value in headers if name.lower() not in dropped]
