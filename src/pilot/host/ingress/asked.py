"""A client's request as a sprite is asked it: the same but for what is between client and pilotd. Pure."""

from __future__ import annotations

from ..relay import heads
from ..relay.heads import HOP_BY_HOP, Head
from . import cookies

# What pilotd says itself, or what a client could say only to be taken for somebody else.
_OURS = frozenset(b"host expect content-length forwarded x-real-ip".split())
_OURS_BEGIN = (b"x-forwarded-", b"fly-")
_NOT_BESIDE_OURS = _OURS | HOP_BY_HOP
_NONE: frozenset[bytes] = frozenset()
_TOKEN = frozenset({b"authorization"})
_NOT_BEHIND_A_BODY = frozenset({b"authorization", b"cookie", b"content-type", b"content-encoding"})
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
    """The head to send. `consumed`: Authorization was for pilotd. `said`: what pilotd says beside; `is_ours`."""
    host = head.first(b"host") or b""
    lines = [b"%s %s HTTP/1.1\r\nhost: %s\r\n" % (head.method.encode(), target(head), host)]
    for name, value in heads.passed_on(head.headers, _TOKEN if consumed else _NONE):
        if is_ours(name) or (name == b"cookie" and not (value := cookies.without_ours(value))):
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


def is_ours(name: bytes) -> bool:
    """Whether no client says that. Gateways to programs (CGI, WSGI) read `_` as `-`, wherever it stands."""
    if b"_" in name:
        name = name.replace(b"_", b"-")
        return name in _NOT_BESIDE_OURS or name.startswith(_OURS_BEGIN)
    return name in _OURS or name.startswith(_OURS_BEGIN)


def trailers(headers: heads.Headers) -> heads.Headers:
    """Those of a request's body that may be passed on."""
    return tuple([pair for pair in heads.passed_on(headers, _NOT_BEHIND_A_BODY) if not is_ours(pair[0])])
