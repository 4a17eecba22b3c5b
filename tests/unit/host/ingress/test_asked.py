"""What no client says to a program: names that are pilotd's to say, however a gateway to programs may read them."""

from __future__ import annotations

import itertools

import pytest

from pilot.host.ingress import asked
from pilot.host.relay.heads import HOP_BY_HOP, Head

_OURS = sorted(
    {
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-ssl",
        "x-forwarded-scheme", "x-forwarded-prefix", "x-forwarded-server", "x-real-ip", "fly-client-ip", "fly-region",
        "fly-forwarded-proto", "content-length", "expect", *(name.decode() for name in HOP_BY_HOP),
    }
)  # fmt: skip


def _spellings(name: str) -> list[bytes]:
    """With each `-` as it is, or as `_`."""
    parts = name.split("-")
    joined = itertools.product("-_", repeat=len(parts) - 1)
    return ["".join(itertools.chain(*zip(parts, (*each, ""), strict=True))).encode() for each in joined]


@pytest.mark.parametrize("name", _OURS)
def test_no_spelling_of_what_is_ours_is_passed_on(name: str) -> None:
    headers = ((b"host", b"web.localhost"), *((each, b"FORGED") for each in _spellings(name)))
    said = ((b"fly-client-ip", b"10.0.0.1"),)
    head = Head("GET", b"/", tuple(pair for pair in headers if pair[0] != b"content-length"))  # said of the body
    assert b"FORGED" not in asked.rendered(head, "10.0.0.1", b"http", consumed=False, said=said)
    assert asked.trailers(headers) == ()


def test_a_body_and_its_length_are_said_once() -> None:
    headers = ((b"host", b"web.localhost"), (b"content_length", b"7"), (b"content-length", b"4"))
    sent = asked.rendered(Head("PUT", b"/", headers), "10.0.0.1", b"http", consumed=False)
    assert sent.count(b"content-length: 4\r\n") == 1
    assert b"content_length" not in sent


@pytest.mark.parametrize("name", [b"x_own", b"x-own", b"x-forwarder", b"x_sum", b"flying", b"fly", b"real-ip"])
def test_other_names_are(name: bytes) -> None:
    head = Head("GET", b"/", ((b"host", b"web.localhost"), (name, b"kept")))
    assert b"\r\n%s: kept\r\n" % name in asked.rendered(head, "10.0.0.1", b"http", consumed=False)
    assert asked.trailers(((name, b"kept"),)) == ((name, b"kept"),)
