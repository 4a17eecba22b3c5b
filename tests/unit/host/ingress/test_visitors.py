"""Who is let in to a private sprite, by token or by browser; and that a sprite learns nothing that opens anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pilot.host.ingress import visitors
from pilot.host.ingress.seals import Seals
from pilot.host.store import tokens
from tests.support.backend import Backend, backend
from tests.support.host import HostUnderTest
from tests.support.site import Front, Served

FRONT = Front()
HTML = {"Accept": "text/html,*/*"}


@pytest.fixture(scope="module")
def under_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    made = HostUnderTest(tmp_path_factory.mktemp("host"), front=FRONT)
    yield made
    made.close()


@pytest.fixture(scope="module")
def made(under_test: HostUnderTest) -> Served:
    return Served(under_test, "web")


@pytest.fixture
def site(made: Served) -> Served:
    made.set_auth("sprite")
    return made


@pytest.fixture
def server() -> Iterator[Backend]:
    with backend() as made:
        FRONT.web_port = made.port
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def stranger(under_test: HostUnderTest) -> str:
    """A good token, of another organisation."""
    return tokens.issue(
        under_test.database,
        tokens.ensure_organisation(under_test.database, "others"),
        tokens.Wanted(description="theirs"),
    )


def test_a_token_opens_it_and_is_not_passed_on(site: Served, server: Backend) -> None:
    answer = site.get(**bearer(site.under_test.token))
    assert answer.status_code == 200
    assert b"authorization" not in server.said.lower()


@pytest.mark.parametrize("shown", ["", "Bearer x", "Bearer no/such/token/x", "Basic x"])
def test_without_one_nothing_reaches_the_sprite(site: Served, server: Backend, shown: str) -> None:
    answer = site.get(**({"Authorization": shown} if shown else {}))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "sprite web is private" in answer.text
    assert server.said == b""


def test_a_token_of_another_organisation_opens_nothing(site: Served, server: Backend) -> None:
    assert site.get(**bearer(stranger(site.under_test))).status_code == 401


def test_what_is_public_needs_none_and_keeps_what_the_client_shows(site: Served, server: Backend) -> None:
    site.set_auth("public")
    assert "authorization: Bearer its-own" in site.get(Authorization="Bearer its-own").text
    site.set_auth("sprite")
    assert site.get().status_code == 401  # at once: what was public is not public once more


@pytest.mark.parametrize("whose", ["its organisation's", "another's"])
def test_what_is_public_never_sees_a_token_of_ours(site: Served, server: Backend, whose: str) -> None:
    """Whoever always shows theirs, or did when the sprite was private: its programs could do with it what they can."""
    token = site.under_test.token if whose == "its organisation's" else stranger(site.under_test)
    site.set_auth("public")
    answer = site.get(**bearer(token))
    assert answer.status_code == 200
    assert token.encode() not in server.said
    assert b"authorization" not in server.said.lower()


def test_who_is_known_by_a_cookie_shows_the_sprite_no_token_either(site: Served, server: Backend) -> None:
    with httpx.Client() as client:
        entered = site.get(f"/.pilot/enter?{code_of(enter(client, site))}")
    visit = entered.headers["set-cookie"].partition(";")[0]
    token = stranger(site.under_test)
    assert site.get(Cookie=visit, **bearer(token)).status_code == 200
    assert token.encode() not in server.said
    assert "authorization: Bearer its-own" in site.get(Cookie=visit, Authorization="Bearer its-own").text


@pytest.mark.parametrize("auth", ["public", "sprite"])
def test_several_authorizations_are_none(site: Served, server: Backend, auth: Literal["public", "sprite"]) -> None:
    """Which of them counts is read in different ways, and one that was not looked at would be passed on."""
    site.set_auth(auth)
    both = [("Host", site.host), ("Authorization", "Basic x"), ("Authorization", f"Bearer {site.under_test.token}")]
    assert httpx.get(site.url, headers=both).status_code == 400
    assert server.said == b""


def test_access_for_administrators_wants_what_they_may(site: Served, server: Backend) -> None:
    site.set_auth("sprite", "admins")
    assert site.get(**bearer(site.under_test.token)).status_code == 200


def test_a_web_socket_wants_a_token_as_everything_does(site: Served, server: Backend) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "k"}
    assert site.get(**upgrade).status_code == 401
    assert server.said == b""


def enter(client: httpx.Client, site: Served, path: str = "/page?x=1") -> httpx.Response:
    """As a browser does: asks, is sent to sign in, signs in; the answer that sends it back."""
    first = client.get(site.url + path, headers={"Host": site.host, **HTML})
    assert first.status_code == 302
    to = urlsplit(first.headers["location"])
    assert (to.netloc, to.path) == ("localhost", "/login")
    form = client.get(f"{site.url}/login?{to.query}", headers={"Host": "localhost", **HTML})
    assert form.status_code == 200
    assert "Sprite <b>web</b> is private" in form.text
    data = {"to": parse_qs(to.query)["to"][0], "token": site.under_test.token}
    return client.post(f"{site.url}/login", headers={"Host": "localhost"}, data=data)


def code_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return urlsplit(answer.headers["location"]).query


def test_a_browser_signs_in_elsewhere_and_gets_a_cookie_of_this_host_alone(site: Served, server: Backend) -> None:
    with httpx.Client() as client:
        back = enter(client, site)
        assert urlsplit(back.headers["location"]).netloc == site.host
        assert back.headers["set-cookie"].startswith("pilot-login=")
        assert "Path=/login" in back.headers["set-cookie"]
        entered = site.get(f"/.pilot/enter?{code_of(back)}")
    assert (entered.status_code, entered.headers["location"]) == (303, "/page?x=1")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Domain" not in cookie
    visit = cookie.partition(";")[0]
    assert site.under_test.token not in visit
    answer = site.get("/page?x=1", Cookie=f"own=1; {visit}")
    assert answer.status_code == 200
    assert b"pilot-visit" not in server.said
    assert b"cookie: own=1\r\n" in server.said
    # of another host's sprite, or of another port of this one, it opens nothing
    other = f"{server.port}-{site.host}"
    assert httpx.get(site.url, headers={"Host": other, "Cookie": visit}).status_code == 401


def test_the_way_in_is_for_one_time_one_host_and_one_minute(site: Served, server: Backend) -> None:
    with httpx.Client() as client:
        code = code_of(enter(client, site))
        elsewhere = httpx.get(f"{site.url}/.pilot/enter?{code}", headers={"Host": f"{server.port}-{site.host}"})
        assert elsewhere.status_code == 403
        assert site.get(f"/.pilot/enter?{code}").status_code == 303
        assert site.get(f"/.pilot/enter?{code}").status_code == 403
    assert site.get("/.pilot/enter?code=made-up").status_code == 403
    assert server.said == b""


def test_who_has_signed_in_is_sent_on_at_once(site: Served, server: Backend) -> None:
    with httpx.Client() as client:
        login = enter(client, site).headers["set-cookie"].partition(";")[0]
        to = f"http://{site.host}/again"
        answer = httpx.get(f"{site.url}/login", params={"to": to}, headers={"Host": "localhost", "Cookie": login})
    assert site.get(f"/.pilot/enter?{code_of(answer)}").headers["location"] == "/again"


@pytest.mark.parametrize(
    "to",
    ["http://evil.example/", "//evil.example", "javascript:alert(1)", "http://localhost/", "", "http://[", "https://x"],
)
def test_nobody_is_sent_elsewhere_from_the_form(site: Served, to: str) -> None:
    for method in ("GET", "POST"):
        given = {"params": {"to": to}} if method == "GET" else {"data": {"to": to, "token": site.under_test.token}}
        answer = httpx.request(method, f"{site.url}/login", headers={"Host": "localhost"}, **given)  # type: ignore[arg-type]
        assert answer.status_code == 400
        assert "location" not in answer.headers


def test_a_path_that_would_be_another_host_stays_a_path(site: Served, server: Backend) -> None:
    with httpx.Client() as client:
        to = f"http://{site.host}//evil.example/x"
        data = {"to": to, "token": site.under_test.token}
        back = client.post(f"{site.url}/login", headers={"Host": "localhost"}, data=data)
    assert site.get(f"/.pilot/enter?{code_of(back)}").headers["location"] == "/evil.example/x"


def test_a_wrong_token_is_asked_for_again_and_shown_to_nobody(site: Served) -> None:
    data = {"to": f'http://{site.host}/"><script>', "token": "wrong"}
    answer = httpx.post(f"{site.url}/login", headers={"Host": "localhost"}, data=data)
    assert answer.status_code == 401
    assert "That is not a token" in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].endswith("frame-ancestors 'none'")


def test_a_token_that_was_revoked_closes_its_visits(site: Served, server: Backend) -> None:
    under_test = site.under_test
    mine = tokens.issue(under_test.database, under_test.organisation, tokens.Wanted(description="for a while"))
    visit = Seals(under_test.seal_key).seal(visitors.VISIT, site.host, mine, 60)
    assert site.get(Cookie=f"pilot-visit=tossed; pilot-visit={visit}").status_code == 200
    with under_test.database.transaction() as tx:
        tx.execute("UPDATE tokens SET revoked_us = 1 WHERE id = ?", (mine.split("/")[2],))
    under_test.forget_tokens()
    assert site.get(Cookie=f"pilot-visit={visit}").status_code == 401


def test_seals_are_for_one_purpose_one_host_and_a_while() -> None:
    now = [1000.0]
    seals = Seals(b"k" * 32, lambda: now[0])
    sealed = seals.seal("visit", "a", "text", 10)
    assert seals.opened("visit", "a", sealed) == "text"
    assert seals.opened("visit", "b", sealed) is None
    assert seals.opened("code", "a", sealed) is None
    assert Seals(b"l" * 32, lambda: now[0]).opened("visit", "a", sealed) is None
    for wrong in ("", "x", sealed[:-2], sealed + "A", "é", "A" * 5000, sealed.replace(sealed[0], "!", 1)):
        assert seals.opened("visit", "a", wrong) is None
    now[0] += 11
    assert seals.opened("visit", "a", sealed) is None
