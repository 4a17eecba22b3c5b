"""A sprite's web server at its printed address in a real browser (Debian's chromium) and in curl, asleep or awake."""

from __future__ import annotations

import pathlib
import subprocess
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sprites.types import URLSettings
from tests.support.browser import Browser
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft", "outside")

# A page that is only what it should be when a script, a POST and server-sent events of it have come through.
_SERVER = r"""
import http.server
PAGE = b'''<!doctype html><title>sprite</title><body>none yet<script>
const show = async () => {
  const posted = await (await fetch("/said", {method: "POST", body: "posted"})).text();
  const source = new EventSource("/events");
  source.onmessage = (event) => { source.close(); document.body.textContent = posted + " and " + event.data; };
};
show();
</script>'''
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer("text/html", PAGE) if self.path == "/" else self.answer("text/event-stream", b"data: told\n\n")
    def do_POST(self):
        self.answer("text/plain", self.rfile.read(int(self.headers["Content-Length"])))
http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Handler).serve_forever()
"""
_SHOWN = "posted and told"


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    """Its server is a service: it is there after every wake."""
    with pilotd.client() as client:
        made = client.create_sprite("page")
        made.run("sh", "-c", "cat > /home/sprite/server.py <<'end'" + _SERVER + "end")
        wanted = {"cmd": "python3", "args": ["/home/sprite/server.py"], "http_port": 9000}
        url = f"{pilotd.url}/v1/sprites/page/services/site"
        answer = httpx.put(url, params={"duration": "1s"}, json=wanted, headers=_headers(pilotd), timeout=60)
        assert answer.status_code == 200, answer.text
        yield client.get_sprite("page")
        made.destroy()


@pytest.fixture
def browser(tmp_path: pathlib.Path) -> Iterator[Browser]:
    with Browser(tmp_path) as made:
        yield made


@pytest.mark.parametrize("state", ["running", "warm", "cold"])
def test_a_page_is_shown_whether_its_sprite_is_awake_or_asleep(
    pilotd: Pilotd, sprite: Any, browser: Browser, state: str
) -> None:
    sprite.client.update_url_settings(sprite.name, URLSettings(auth="public"))
    _bring_to(pilotd, sprite.name, state)
    browser.open(sprite.url)
    browser.wait_for(_SHOWN)


@pytest.mark.parametrize("state", ["running", "warm", "cold"])
def test_curl_has_the_page_whether_its_sprite_is_awake_or_asleep(pilotd: Pilotd, sprite: Any, state: str) -> None:
    sprite.client.update_url_settings(sprite.name, URLSettings(auth="public"))
    _bring_to(pilotd, sprite.name, state)
    said = subprocess.run(["curl", "-fsS", "--max-time", "60", sprite.url], check=True, capture_output=True, text=True)
    assert "<title>sprite</title>" in said.stdout


def test_a_person_signs_in_once_and_the_page_sees_neither_token_nor_cookie(
    pilotd: Pilotd, sprite: Any, browser: Browser
) -> None:
    sprite.client.update_url_settings(sprite.name, URLSettings(auth="sprite"))
    browser.open(sprite.url)
    browser.wait_for("is private")
    assert browser.evaluate("location.hostname") == "localhost"
    browser.evaluate("document.querySelector('input[name=token]').value = 'not/a/token'; document.forms[0].submit()")
    browser.wait_for("Sign in")
    browser.evaluate(
        f"document.querySelector('input[name=token]').value = '{pilotd.token()}'; document.forms[0].submit()"
    )
    browser.wait_for(_SHOWN)
    assert browser.evaluate("location.href") == f"{sprite.url}/"
    assert browser.evaluate("document.cookie") == ""
    browser.open(sprite.url)
    browser.wait_for(_SHOWN)


def test_another_port_says_in_the_browser_that_nothing_listens(pilotd: Pilotd, sprite: Any, browser: Browser) -> None:
    sprite.client.update_url_settings(sprite.name, URLSettings(auth="public"))
    url = urllib.parse.urlsplit(sprite.url)
    browser.open(f"http://9001-{url.netloc}/")
    browser.wait_for("nothing listens on port 9001 of sprite page")


def _bring_to(pilotd: Pilotd, name: str, state: str) -> None:
    """Looked at from behind: that wakes nobody."""
    url = f"{pilotd.url}/v1/sprites/{name}"
    verb = {"running": "wake", "warm": "sleep", "cold": "stop"}[state]
    assert httpx.post(f"{url}/{verb}", headers=_headers(pilotd), timeout=60).status_code == 200
    assert httpx.get(url, headers=_headers(pilotd)).json()["status"] == state


def _headers(pilotd: Pilotd) -> dict[str, str]:
    return {"Authorization": f"Bearer {pilotd.token()}"}
