"""What connectors are, what of a request is passed on, and what an answer may not say: pure."""

from __future__ import annotations

import base64

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.host.fly.vault import Vault
from pilot.host.network.connectors import authority, connector, grants, head
from pilot.host.network.connectors.connector import (
    Attachment,
    Basic,
    Bearer,
    Connector,
    Header,
    Headers,
    Placeholder,
)
from pilot.host.network.connectors.echo import Echoed, Watch

SECRET = b"sk-0123456789"


@pytest.mark.parametrize(
    ("attach", "sent", "passed_on"),
    [
        (Bearer(), [], [(b"Authorization", b"Bearer " + SECRET)]),
        (Bearer(), [(b"authorization", b"mine"), (b"X", b"1")],
         [(b"X", b"1"), (b"Authorization", b"Bearer " + SECRET)]),
        (Basic("me"), [], [(b"Authorization", b"Basic " + base64.b64encode(b"me:" + SECRET))]),
        (Header("X-Key"), [(b"x-KEY", b"mine"), (b"x-key", b"two")], [(b"X-Key", SECRET)]),
        (Placeholder("PLACEHOLDER"), [(b"X", b"a PLACEHOLDER b")], [(b"X", b"a " + SECRET + b" b")]),
        (Placeholder("PLACEHOLDER"), [(b"Host", b"PLACEHOLDER"), (b"X", b"placeholder")],
         [(b"Host", b"PLACEHOLDER"), (b"X", b"placeholder")]),
        (Placeholder("PLACEHOLDER"), [(b"Authorization", b"basic " + base64.b64encode(b"me:PLACEHOLDER"))],
         [(b"Authorization", b"basic " + base64.b64encode(b"me:" + SECRET))]),
        (Placeholder("PLACEHOLDER"), [(b"Authorization", b"Basic ***")], [(b"Authorization", b"Basic ***")]),
    ],
)  # fmt: skip
def test_each_kind_attaches_as_it_says(attach: Attachment, sent: Headers, passed_on: Headers) -> None:
    assert list(attach.attached(SECRET, sent)) == passed_on


@pytest.mark.parametrize(
    ("attach", "place"),
    [
        (Basic("a:b"), "$.attach.username"),
        (Basic("a b"), "$.attach.username"),
        (Header("X Key"), "$.attach.header"),
        (Header(""), "$.attach.header"),
        (Header("content-LENGTH"), "$.attach.header"),
        (Header("Connection"), "$.attach.header"),
        (Placeholder("short"), "$.attach.placeholder"),
        (Placeholder("with blanks in it"), "$.attach.placeholder"),
    ],
)
def test_what_cannot_be_attached_is_refused_by_its_place(attach: Attachment, place: str) -> None:
    with pytest.raises(errors.SpecError) as refused:
        attach.check()
    assert str(refused.value).startswith(place)


@pytest.mark.parametrize(
    "secret", ["", "short", "x" * 4097, "a\r\nb: evil secret", "zwölf-zeichen", " blank-first", "tab\tinside"]
)
def test_what_is_no_secret_is_refused_without_being_said(secret: str) -> None:
    with pytest.raises(errors.SpecError) as refused:
        connector.check_secret(secret)
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["a.test"] * 17,
        ["*"],
        ["*.a.test"],
        ["10.0.0.1"],
        ["[::1]"],
        ["localhost"],
        ["db.internal"],
        ["x.localhost"],
        ["a b"],
        ["_x.test"],
    ],
)
def test_what_are_no_hosts(hosts: list[str]) -> None:
    with pytest.raises(errors.SpecError, match=r"^\$\.hosts"):
        connector.parse_hosts(hosts)


def test_hosts_are_compared_as_the_network_has_them() -> None:
    assert connector.parse_hosts(["API.Test.", "api.test", "bücher.test"]) == ("api.test", "xn--bcher-kva.test")


def request(text: bytes) -> h11.Request:
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(text)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    return event


def test_a_long_path_is_of_the_head_too() -> None:
    asked = h11.Request(method="GET", target="/" + "a" * head.MOST_BYTES, headers=[("Host", "api.test")])
    with pytest.raises(head.Refused) as caught:
        head.forwarded(asked, Bearer(), SECRET)
    assert caught.value.status == 431


@pytest.mark.parametrize("method", ["TRACE", "trace", "TRACK", "CONNECT", "Connect"])
def test_methods_that_are_not_passed_on(method: str) -> None:
    with pytest.raises(head.Refused) as caught:
        head.checked(h11.Request(method=method, target="/", headers=[("Host", "api.test")]), "api.test")
    assert caught.value.status == 405


def test_what_is_of_one_hop_stays_behind() -> None:
    """Also what somebody says is, but for what says where a message ends."""
    asked = request(
        b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nUpgrade: h2c\r\n"
        b"Connection: upgrade, X-Mine, Content-Length, Authorization\r\n"
        b"TE: trailers\r\nProxy-Authorization: x\r\nX-Mine: 1\r\nX-Kept: 2\r\nContent-Length: 3\r\n\r\n"
    )
    head.checked(asked, "a.test")
    sent = head.forwarded(asked, Bearer(), SECRET)
    assert sent.headers.raw_items() == [
        (b"Host", b"a.test"), (b"X-Kept", b"2"), (b"Content-Length", b"3"), (b"Authorization", b"Bearer " + SECRET),
    ]  # fmt: skip
    assert (sent.method, sent.target) == (b"POST", b"/a?b")


@pytest.mark.parametrize("host", [b"a.test", b"A.TEST", b"a.test:443", b" a.test "])
def test_the_host_by_any_of_its_spellings(host: bytes) -> None:
    head.checked(request(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"), "a.test")


@pytest.mark.parametrize(
    "host", [b"b.test", b"a.test.", b"a.test:80", b"a.test@b.test", b"x.a.test", b"", b"a.test, b.test"]
)
def test_no_other_host(host: bytes) -> None:
    with pytest.raises(head.Refused) as refused:
        head.checked(request(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"), "a.test")
    assert refused.value.status == 421


@given(st.lists(st.sampled_from([b"sk-", b"0123", b"456789", b"x", b"s", SECRET[:-1], b"\n"]), max_size=30))
def test_a_text_is_never_given_away_whole_and_all_else_passes(pieces: list[bytes]) -> None:
    whole, watch, passed = b"".join(pieces), Watch([SECRET]), b""
    try:
        for piece in pieces:
            passed += watch.feed(piece)
            assert whole.startswith(passed)
        passed += watch.rest()
    except Echoed:
        assert whole.index(SECRET) >= len(passed), "not even its beginning"
    else:
        assert passed == whole
        assert SECRET not in whole


def test_a_secret_is_of_its_connector_and_its_machine_alone() -> None:
    vault = Vault(b"k" * 32)
    sealed = grants.seal(vault, "m1", "api", SECRET.decode())
    made = Connector(name="api", hosts=("a.test",), attach=Bearer(), sealed=sealed)
    assert grants.opened(vault, "m1", made) == SECRET
    for machine, name in (("m2", "api"), ("m1", "other")):
        with pytest.raises(errors.HostError):
            grants.opened(vault, machine, Connector(name=name, hosts=(), attach=Bearer(), sealed=sealed))


def test_an_authority_speaks_for_its_names_and_keeps_its_key() -> None:
    vault = Vault(b"k" * 32)
    first = authority.make(vault, "m1", ["a.test"])
    second = authority.make(vault, "m1", ["a.test", "b.test"], first)
    assert (authority.names_of(first), authority.names_of(second)) == (
        frozenset({"a.test"}),
        frozenset({"a.test", "b.test"}),
    )
    assert second.sealed == first.sealed
    assert "PRIVATE" not in first.certificate + first.sealed
    with pytest.raises(errors.HostError):
        authority.Signer(vault, "m2", first)
