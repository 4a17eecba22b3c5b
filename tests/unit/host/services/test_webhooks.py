"""Webhooks: everything in order, signed, again until it is taken, also by the next pilotd; and not to any address."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import ipaddress
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest
from tests.support.receiver import Receiver, receiving, verify

from pilot.host.network.destinations import Destinations
from pilot.host.network.never import Never
from pilot.host.services.webhooks import names, signature
from pilot.host.services.webhooks.delivering import AT_ONCE_OF_ONE, Deliveries, Patience
from pilot.host.services.webhooks.sending import NotDelivered, post
from pilot.host.store import events, tokens
from pilot.host.store.journal import now_us
from pilot.host.store.webhooks import Webhook

LOOPBACK = Destinations(Never(), (ipaddress.ip_network("127.0.0.0/8"),))
QUICK = Patience(first_pause_s=0.01, most_pause_s=0.02)


class Hooked(HostUnderTest):
    """One whose webhooks may go to receivers on loopback."""

    webhook_destinations = LOOPBACK


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = Hooked(tmp_path)
    yield under_test
    under_test.close()


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    with httpx.Client(headers={"Authorization": f"Bearer {host.token}"}, timeout=WAIT_S) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@contextlib.contextmanager
def _delivering(host: HostUnderTest, patience: Patience = QUICK) -> Iterator[None]:
    webhooks = host.sprites.webhooks
    with Deliveries(host.database, webhooks._opened, LOOPBACK, patience).running():
        yield


def _make(host: HostUnderTest, http: httpx.Client, url: str, **more: Any) -> dict[str, Any]:
    answer = http.post(f"{host.url}/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _shown(host: HostUnderTest, http: httpx.Client, hook: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"{host.url}/v1/webhooks/{hook['id']}").json()
    return found


def _happen(host: HostUnderTest, *kinds: str, sprite: str = "sprite/s") -> None:
    for kind in kinds:
        with host.database.transaction() as tx:
            events.add(tx, kind, sprite, {"n": 1}, host.organisation.id)


def _until(shown: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Asked again and again, as nothing tells of it."""
    turn = threading.Event()
    for _ in range(WAIT_S * 100):
        if done(found := shown()):
            return found
        turn.wait(0.01)
    raise AssertionError(shown())


def test_signatures_are_those_of_the_standard() -> None:
    """The example of its own libraries."""
    body = b'{"test": 2432232314}'
    found = signature.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_happens_is_told_in_order_and_signed(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    _happen(host, "a.before")
    hook = _make(host, http, receiver.url)
    with _delivering(host):
        assert http.post(f"{host.url}/v1/sprites", json={"name": "web"}).status_code == 201
        _happen(host, "a.last")
        taken = receiver.until_kind("a.last")
    told = [each.document for each in taken]
    assert "a.before" not in [each["type"] for each in told], "from when it was made on"
    assert [each["id"] for each in told] == sorted({each["id"] for each in told})
    assert told[-1]["detail"] == {"n": 1}
    assert next(each for each in told if each["type"] == "sprite.recorded")["sprite"]["name"] == "web"
    assert {each.path for each in taken} == {"/hook?x=1"}
    assert all(verify(hook["secret"], each) for each in taken)
    assert len({each.id for each in taken}) == len(taken)
    assert "secret" not in _shown(host, http, hook)


def test_one_that_fails_is_tried_until_it_takes_it(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    hook = _make(host, http, receiver.url)
    statuses = iter([500, 302, 404])
    receiver.answers = lambda _: next(statuses, 204)
    receiver.location = receiver.url + "&followed=1"
    with _delivering(host):
        _happen(host, "a.one", "a.two")
        taken = receiver.until_kind("a.two")
        shown = _until(lambda: _shown(host, http, hook), lambda found: found["told_to"] == taken[-1].document["id"])
    assert [each.document["type"] for each in taken] == ["a.one"] * 4 + ["a.two"]
    assert len({each.id for each in taken}) == 2, "the same message has the same id"
    assert {each.path for each in taken} == {"/hook?x=1"}, "nothing is followed"
    assert (shown["failing"], shown["enabled"]) == (None, True)


def test_the_next_pilotd_goes_on_where_this_one_stopped(
    host: HostUnderTest, http: httpx.Client, receiver: Receiver
) -> None:
    hook = _make(host, http, receiver.url)
    receiver.answers = lambda taken: 200 if taken.document["type"] == "a.one" else 503
    with _delivering(host):
        _happen(host, "a.one", "a.two", "a.three")
        receiver.until_kind("a.two")
        failing = _until(lambda: _shown(host, http, hook), lambda found: found["failing"])["failing"]
    assert "503" in failing["error"]
    host.restart()
    _happen(host, "a.four")
    receiver.answers = lambda _: 200
    with _delivering(host):
        taken = receiver.until_kind("a.four")
    assert list(dict.fromkeys(each.document["type"] for each in taken)) == ["a.one", "a.two", "a.three", "a.four"]
    assert len({each.id for each in taken}) == 4


def test_who_wants_no_more_is_asked_no_more(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    hook = _make(host, http, receiver.url, events=["a.*"])
    receiver.answers = lambda _: 410
    with receiving() as other, _delivering(host):
        _make(host, http, other.url, events=["webhook.disabled"])
        _happen(host, "a.one", "a.two")
        assert other.until_kind("webhook.disabled")[-1].document["webhook"] == {"id": hook["id"]}
        shown = _shown(host, http, hook)
        assert (shown["enabled"], "410" in shown["disabled_reason"], len(receiver.taken)) == (False, True, 1)
        receiver.answers = lambda _: 200
        enabled = http.put(f"{host.url}/v1/webhooks/{hook['id']}", json={"enabled": True}).json()
        assert (enabled["enabled"], enabled["failing"]) == (True, None)
        assert [each.document["type"] for each in receiver.until_kind("a.two")][1:3] == ["a.one", "a.two"]


def test_after_long_failure_it_is_disabled_and_says_so(
    host: HostUnderTest, http: httpx.Client, receiver: Receiver
) -> None:
    hook = _make(host, http, receiver.url)
    receiver.answers = lambda _: 500
    with _delivering(host, dataclasses.replace(QUICK, give_up_s=0.0, least_attempts=3)):
        _happen(host, "a.one")
        shown = _until(lambda: _shown(host, http, hook), lambda found: not found["enabled"])
    assert shown["disabled_reason"] == "3 attempts have failed, the last one: the receiver answered 500"
    assert len(receiver.taken) == 3
    with httpx.stream("GET", f"{host.url}/v1/events?after=0", headers=http.headers) as answer:
        assert any('"type": "webhook.disabled"' in line for line in answer.iter_lines())


def test_one_that_was_down_for_long_does_not_give_up_at_once() -> None:
    day_us = 24 * 3600 * 1_000_000
    hook = Webhook("w", "o", "u", "s", None, (), "", 0, 0, attempts=1, failing_us=0)
    assert not Patience().is_over(hook, 2 * day_us)
    assert Patience().is_over(dataclasses.replace(hook, attempts=9), 2 * day_us)
    assert not Patience().is_over(dataclasses.replace(hook, attempts=99), day_us - 1)
    pauses_s = [Patience().pause_s(attempts) for attempts in range(1000)]
    assert (0.8 <= pauses_s[0] <= 1.2, max(pauses_s) <= 360) == (True, True)


def test_only_what_is_wanted(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    assert http.post(f"{host.url}/v1/sprites", json={"name": "web"}).status_code == 201
    assert http.post(f"{host.url}/v1/sprites", json={"name": "other"}).status_code == 201
    hook = _make(host, http, receiver.url, events=["a.one", "b.*"], sprite="web")
    ids = {name: host.sprites.find(host.organisation.id, name).id for name in ("web", "other")}
    with _delivering(host):
        _happen(host, "a.one", "b.last", sprite=f"sprite/{ids['other']}")
        _happen(host, "a.one", "a.two", "bb.x", "b.last", sprite=f"sprite/{ids['web']}")
        taken = receiver.until_kind("b.last")
        _happen(host, "c.nobody")
        _until(lambda: _shown(host, http, hook), lambda found: found["told_to"] == events.latest(host.database))
    assert [(each.document["type"], each.document["sprite"]["name"]) for each in taken] == [
        ("a.one", "web"),
        ("b.last", "web"),
    ]
    assert len(receiver.taken) == 2


def test_of_others_nothing_is_told_or_found(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    other = tokens.ensure_organisation(host.database, "other")
    theirs = tokens.issue(host.database, other, tokens.Wanted())
    hook = _make(host, http, receiver.url)
    with httpx.Client(headers={"Authorization": f"Bearer {theirs}"}, timeout=WAIT_S) as stranger:
        assert stranger.get(f"{host.url}/v1/webhooks").json() == {"webhooks": []}
        path = f"{host.url}/v1/webhooks/{hook['id']}"
        answers = [stranger.get(path), stranger.delete(path), stranger.post(f"{path}/ping")]
        assert [each.status_code for each in (*answers, stranger.put(path, json={"enabled": False}))] == [404] * 4
    with _delivering(host):
        with host.database.transaction() as tx:
            events.add(tx, "a.theirs", "sprite/x", {}, other.id)
        _happen(host, "a.ours")
        taken = receiver.until_kind("a.ours")
    assert [each.document["type"] for each in taken] == ["a.ours"]


def test_a_key_of_one_sprite_makes_none(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    assert http.post(f"{host.url}/v1/sprites", json={"name": "web"}).status_code == 201
    for body in ({"sprite": "web"}, {"role": "read"}):
        key = http.post(f"{host.url}/v1/tokens", json=body).json()["token"]
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.post(f"{host.url}/v1/webhooks", json={"url": receiver.url}, headers=headers, timeout=WAIT_S)
        assert answer.status_code == 403
        assert httpx.get(f"{host.url}/v1/webhooks", headers=headers, timeout=WAIT_S).status_code == 403


def test_one_that_is_enabled_anew_begins_anew(host: HostUnderTest, http: httpx.Client) -> None:
    """Also where an attempt of before fails after that."""
    hook = _make(host, http, "http://127.0.0.1:9/")
    tired = Patience(first_pause_s=1000.0, most_pause_s=1e6, give_up_s=0.0, least_attempts=3)
    deliveries = Deliveries(host.database, host.sprites.webhooks._opened, LOOPBACK, tired)
    for _ in range(2):
        deliveries._note_failure(host.sprites.webhooks.find(host.organisation.id, hook["id"]), NotDelivered("no"))
    attempted = host.sprites.webhooks.find(host.organisation.id, hook["id"])
    assert attempted.attempts == 2
    http.put(f"{host.url}/v1/webhooks/{hook['id']}", json={"enabled": True})
    began_us = now_us()
    deliveries._note_failure(attempted, NotDelivered("no"))
    found = host.sprites.webhooks.find(host.organisation.id, hook["id"])
    assert (found.attempts, found.disabled) == (1, None)
    assert found.next_us - began_us < 1300e6, "the first pause, and not the third"
    http.delete(f"{host.url}/v1/webhooks/{hook['id']}")
    deliveries._note_failure(attempted, NotDelivered("no"))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names below .silent are asked for as long as the test lasts."""
    asked: list[str] = []
    go_on, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any, **named: Any) -> Any:
        if str(host).endswith(".silent"):
            asked.append(host)
            go_on.wait(WAIT_S)
            raise OSError("no answer")
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    go_on.set()


def test_names_that_nobody_answers_for_hold_up_neither_others_nor_the_end(
    host: HostUnderTest, http: httpx.Client, receiver: Receiver, silent: list[str]
) -> None:
    other = tokens.ensure_organisation(host.database, "other")
    theirs = tokens.issue(host.database, other, tokens.Wanted())
    _make(host, http, receiver.url, events=["a.*"])
    with httpx.Client(headers={"Authorization": f"Bearer {theirs}"}, timeout=WAIT_S) as stranger:
        for number in range(16):
            _make(host, stranger, f"http://w{number}.silent/", events=["a.*"])
    with _delivering(host):
        with host.database.transaction() as tx:
            events.add(tx, "a.theirs", "sprite/x", {}, other.id)
        _until(lambda: {"asked": len(silent)}, lambda found: found["asked"] >= AT_ONCE_OF_ONE)
        _happen(host, "a.one", "a.two")
        receiver.until_kind("a.two")


def test_so_many_names_are_asked_for_at_once_and_each_once(silent: list[str]) -> None:
    async def test() -> None:
        asked = names.Names()
        waiting = [asyncio.ensure_future(asked.addresses("a", f"w{n % names.MOST_OF_ONE}.silent")) for n in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(names.Busy):
            await asked.addresses("a", "another.silent")
        [own] = set(await asked.addresses("b", "127.0.0.1"))
        assert str(own) == "127.0.0.1"
        for each in waiting:
            each.cancel()

    asyncio.run(test())
    _until(lambda: {"asked": len(silent)}, lambda found: found["asked"] == names.MOST_OF_ONE)
    assert sorted(silent) == sorted({f"w{n}.silent" for n in range(names.MOST_OF_ONE)})


def test_its_url_is_told_to_no_reader_of_events(host: HostUnderTest, http: httpx.Client) -> None:
    """A key that may read is not one that may see webhooks, and a URL may be a secret."""
    hook = _make(host, http, "http://127.0.0.1:9/hook?secret=abc")
    http.put(f"{host.url}/v1/webhooks/{hook['id']}", json={"enabled": False})
    http.put(f"{host.url}/v1/webhooks/{hook['id']}", json={"enabled": True})
    http.delete(f"{host.url}/v1/webhooks/{hook['id']}")
    told = [each for each in events.since(host.database, 0) if each.kind.startswith("webhook.")]
    assert len(told) == 4
    assert "abc" not in repr(told)


def test_one_that_hangs_keeps_no_other_waiting(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    go_on = threading.Event()
    receiver.answers = lambda _: 200 if go_on.wait(WAIT_S) else 500
    _make(host, http, receiver.url, events=["a.*"])
    with receiving() as other, _delivering(host):
        _make(host, http, other.url, events=["a.*"])
        _happen(host, "a.one", "a.two")
        receiver.until_kind("a.one")
        other.until_kind("a.two")
        go_on.set()


def test_what_is_forgotten_meanwhile_is_told(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    hook = _make(host, http, receiver.url)
    _happen(host, "a.one", "a.two")
    with host.database.transaction() as tx:
        events.forget(tx, 1 << 62)
    _happen(host, "a.three")
    with _delivering(host):
        gap, event = (each.document for each in receiver.until_kind("a.three"))
    assert (gap["type"], gap["first"], gap["last"]) == ("gap", hook["told_to"] + 1, event["id"] - 1)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/x", "http://169.254.169.254/latest/meta-data", "http://[::1]:8080/", "http://[::ffff:10.0.0.1]/",
     "http://0.0.0.0/", "https://[fd00::1]/", "ftp://example.com/", "example.com", "http://", "http://a:b@example.com/",
     "http://example.com/#x", "http://exa mple.com/", "http://example.com:99999/", "http://example.com:0/",
     "http://" + "a" * 3000,
     "http://a..b/", "http://" + "a" * 64 + ".example/"],
)  # fmt: skip
def test_urls_that_nothing_is_sent_to(host: HostUnderTest, http: httpx.Client, url: str) -> None:
    assert http.post(f"{host.url}/v1/webhooks", json={"url": url}).status_code == 400
    assert http.get(f"{host.url}/v1/webhooks").json() == {"webhooks": []}


def test_a_name_is_what_it_means_at_that_moment(
    host: HostUnderTest, http: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` may be in a URL, as any name that its owner lets mean loopback; it is looked at when it is sent."""
    url = receiver.url.replace("127.0.0.1", "localhost")
    hook = _make(host, http, url)
    monkeypatch.setattr(host.sprites.webhooks.deliveries, "_destinations", Destinations(Never()))
    pinged = http.post(f"{host.url}/v1/webhooks/{hook['id']}/ping").json()
    assert (pinged["delivered"], "is not where webhooks may go" in pinged["error"]) == (False, True)
    assert receiver.taken == []


def test_a_ping_says_whether_it_is_taken(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    hook = _make(host, http, receiver.url.replace("127.0.0.1", "localhost"))
    assert http.post(f"{host.url}/v1/webhooks/{hook['id']}/ping").json() == {"delivered": True, "error": None}
    [taken] = receiver.taken
    assert (taken.document["type"], verify(hook["secret"], taken)) == ("ping", True)
    receiver.answers = lambda _: 500
    answer = http.post(f"{host.url}/v1/webhooks/{hook['id']}/ping").json()
    assert answer == {"delivered": False, "error": "the receiver answered 500"}


@pytest.mark.parametrize(
    "said",
    [b"", b"SECRET\r\n\r\n", b"HTTP/1.1 SECRET\r\n\r\n", b"HTTP/1.1 500 SECRET\r\n\r\n", b"HTTP/1.1 500 SECRET",
     b"HTTP/1.1 200 OK\r\nSECRET\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: SECRET\r\n\r\n",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: SECRET\r\n\r\n", b"HTTP/1.1 301 \r\nlocation: SECRET\r\n\r\n",
     b"SECRET" * 100_000],
)  # fmt: skip
def test_nothing_of_an_answer_is_told_but_its_status(said: bytes) -> None:
    """Whoever may make a webhook would read what is behind pilotd."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        with contextlib.suppress(ConnectionError):  # who has read enough closes
            await writer.drain()
        writer.close()

    async def test() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await post(f"http://127.0.0.1:{port}/", b"{}", {}, LOOPBACK, _loopback)

    with pytest.raises(NotDelivered) as caught:
        asyncio.run(test())
    assert "SECRET" not in str(caught.value)


async def _loopback(_: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address("127.0.0.1")]


def test_where_it_may_go_on_a_host_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names have such addresses nevertheless. What else keeps it from telling which are its own permits nothing."""
    real, why = socket.socket, errno.EAFNOSUPPORT

    def opened(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(why, "no IPv6")
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", opened)
    elsewhere = ipaddress.ip_address("2a00::1")
    assert Destinations(Never()).permits(elsewhere)
    why = errno.EMFILE
    with pytest.raises(OSError, match="no IPv6"):
        Destinations(Never()).permits(elsewhere)


def test_where_it_may_go() -> None:
    own, other = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("192.0.2.1")
    loopback = ipaddress.ip_network("127.0.0.0/8")
    assert Destinations(Never()).permits(other)
    assert not Destinations(Never()).permits(own)
    assert not Destinations(Never(allowed=(loopback,))).permits(own), "sprites may not reach the host itself either"
    assert LOOPBACK.permits(own)
    assert not Destinations(Never(), only_allowed=True).permits(other), "where sprites may go nowhere"
    assert Destinations(Never(), (ipaddress.ip_network("192.0.2.0/24"),), only_allowed=True).permits(other)


def test_no_more_than_so_many(host: HostUnderTest, http: httpx.Client, receiver: Receiver) -> None:
    hooks = [_make(host, http, receiver.url) for _ in range(16)]
    assert http.post(f"{host.url}/v1/webhooks", json={"url": receiver.url}).status_code == 409
    assert http.delete(f"{host.url}/v1/webhooks/{hooks[0]['id']}").status_code == 204
    assert _make(host, http, receiver.url)["id"] not in {each["id"] for each in hooks}
