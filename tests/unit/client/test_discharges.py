"""`sprite token discharge` with third parties elsewhere: each way in which they may answer, over real sockets."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from pilot import errors
from pilot.client import discharges
from pilot.wire.macaroons import header, macaroon

KEY = bytes(32)


class Party(http.server.ThreadingHTTPServer):
    """`answers`: (status, body) of each request, in order; `asked`: method, path and cookie of each."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = []
        self.asked: list[tuple[str, str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.location = f"http://127.0.0.1:{self.server_port}/auth"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Party

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Cookie")))
        assert "Authorization" not in self.headers
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Set-Cookie", "flow=7; Path=/")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """A test reads `asked`."""


@pytest.fixture
def party(monkeypatch: pytest.MonkeyPatch) -> Iterator[Party]:
    monkeypatch.setattr(discharges, "POLL_S", 0.001)
    with Party() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def _proof(party: Party) -> tuple[macaroon.Macaroon, str]:
    token = macaroon.mint(KEY, b"k", "here").require(party.location, KEY)
    [ticket] = token.tickets()[party.location]
    proof = macaroon.discharge(KEY, party.location, ticket)
    return proof, header.write([proof]).removeprefix("FlyV1 ")


def _asked(party: Party) -> list[macaroon.Macaroon]:
    return discharges._Elsewhere(party.location).discharge({"ticket": "AA=="})


def test_at_once(party: Party) -> None:
    proof, shown = _proof(party)
    party.answers = [(201, {"discharge": shown})]
    assert _asked(party) == [proof]
    assert party.asked == [("POST", "/auth/.well-known/macfly/3p", None)]


@pytest.mark.parametrize("is_interactive", [False, True])
def test_when_it_is_there(party: Party, is_interactive: bool, capsys: pytest.CaptureFixture[str]) -> None:
    proof, shown = _proof(party)
    poll = {"poll_url": f"{party.location}/poll"}
    begun: object = (
        {"user_interactive": {"user_url": "https://open.test/me\x1b[2J", **poll}} if is_interactive else poll
    )
    party.answers = [(201, begun), (202, None), (202, None), (200, {"discharge": shown})]
    assert _asked(party) == [proof]
    assert party.asked[1:] == [("GET", "/auth/poll", "flow=7")] * 3
    said = capsys.readouterr().err
    assert (("https://open.test/me" in said), "\x1b" in said) == (is_interactive, False)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([(403, {"error": "no"})], "403"),
        ([(201, {"poll_url": "file:///etc/passwd"})], "no address"),
        ([(201, {"discharge": "fm2_AAAA"})], "its discharge is none"),
        ([(201, {})], "no discharge"),
        ([(201, ["?"])], "no discharge"),
        ([(201, {"poll_url": 7})], "no address"),
    ],
)
def test_what_is_no_discharge(party: Party, answers: list[tuple[int, object]], why: str) -> None:
    party.answers = answers
    with pytest.raises(errors.PilotError, match=why):
        _asked(party)


def test_a_refusal_is_told(party: Party) -> None:
    party.answers = [(201, {"poll_url": f"{party.location}/poll"}), (200, {"error": "you are somebody else"})]
    with pytest.raises(errors.PilotError, match="you are somebody else"):
        _asked(party)


def test_what_is_no_address_is_not_asked() -> None:
    with pytest.raises(errors.PilotError, match="no address of the web"):
        discharges._Elsewhere("undischarged")
