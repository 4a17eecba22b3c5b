"""A client's request as a sprite is asked it: the same but for what is between client and pilotd. Pure."""

from __future__ import annotations

from ..relay import heads
from ..relay.heads import HOP_BY_HOP, Head
from . import cookies

# What pilotd says itself, or what a client could say only to be taken for somebody else.
_OURS = frozenset(
    b"host expect content-length forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip".split()
)
# Gateways to programs (CGI, WSGI) read `_` as `-`: a name that would be read as one of these is not passed on.
_READ_AS_OURS = frozenset(name.replace(b"-", b"_") for name in _OURS | HOP_BY_HOP if b"-" in name)
_LEFT_OUT = _OURS | _READ_AS_OURS
_LEFT_OUT_WITH_TOKEN = _LEFT_OUT | {b"authorization"}
_NOT_BEHIND_A_BODY = _OURS | {b"authorization", b"cookie", b"content-type", b"content-encoding"}
# What may be asked twice (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def is_repeatable(head: Head) -> bool:
    """Whether nothing is lost when it is asked anew."""
    return not head.has_body and head.method in _IDEMPOTENT


def target(head: Head) -> bytes:
    """In the form that a server expects: as it came, without the authority of an absolute one."""
    if head.target.startswith((b"/", b"*")):
        return head.target
    query = head.query
    return head.path + (b"?" + query if query else b"")


def rendered(head: Head, peer: str, scheme: bytes, *, consumed: bool, said: heads.Headers = ()) -> bytes:
    """The head to send. `consumed`: Authorization was for pilotd. `said`: what pilotd says beside, and nobody else."""
    host = head.first(b"host") or b""
    lines = [b"%s %s HTTP/1.1\r\nhost: %s\r\n" % (head.method.encode(), target(head), host)]
    left_out = _LEFT_OUT_WITH_TOKEN if consumed else _LEFT_OUT
    for name, value in heads.passed_on(head.headers, left_out | _spellings(said)):
        if name == b"cookie" and not (value := cookies.without_ours(value)):
            continue
        lines.append(b"%s: %s\r\n" % (name, value))
    lines.append(
        b"x-forwarded-for: %s\r\nx-forwarded-proto: %s\r\nx-forwarded-host: %s\r\n" % (peer.encode(), scheme, host)
    )
    lines += [b"%s: %s\r\n" % pair for pair in said]
    if head.wants_upgrade:
        lines.append(b"connection: Upgrade\r\nupgrade: websocket\r\n")
    elif head.is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif (length := head.first(b"content-length")) is not None:
        lines.append(b"content-length: %s\r\n" % length)
    lines.append(b"\r\n")
    return b"".join(lines)


def _spellings(said: heads.Headers) -> frozenset[bytes]:
    """All that a program could take for one of these."""
    names = frozenset(name for name, _ in said)
    return names | {name.replace(b"-", b"_") for name in names}


def trailers(headers: heads.Headers) -> heads.Headers:
    """Those of a request's body that may be passed on."""
    return heads.passed_on(headers, _NOT_BEHIND_A_BODY)
