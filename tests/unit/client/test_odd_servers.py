"""A server that answers what nobody meant: each verb says so in one line, and shows no trace."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from pilot.client.machines import main
from pilot.client.machines.verbs import PROGRAM

ANSWERS = [
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"[1]",
    b'{"events": 3, "id": []}',
    b"<html>",
    b"\xff",
    b"[" * 100_000,
    b"",
]


class Odd:
    """Says the same to everything."""

    def __init__(self) -> None:
        self.answer, self.status = b"", 200
        odd = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _say(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(odd.status)
                self.send_header("Content-Length", str(len(odd.answer)))
                self.end_headers()
                self.wfile.write(odd.answer)

            do_GET = do_POST = do_DELETE = _say

            def log_message(self, format: str, *args: object) -> None:
                """To nobody."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def odd() -> Iterator[Odd]:
    made = Odd()
    serving = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    serving.start()
    yield made
    made.server.shutdown()
    serving.join()
    made.server.server_close()


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("verb", PROGRAM.verbs, ids=lambda verb: verb.words)
def test_it_is_said_in_one_line(
    odd: Odd, verb: object, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = verb.words  # type: ignore[attr-defined]
    least = {"run": ["image"], "exec": ["web", "true"], "fork-to-sprite": ["web", "name"], "app destroy": ["web", "-f"]}
    alone = {"list", "app list"}
    given = least.get(name, [] if name in alone else ["web"])
    for variable, value in {"FLY_API_HOSTNAME": odd.url, "FLY_API_TOKEN": "token", "FLY_APP": "app"}.items():
        monkeypatch.setenv(variable, value)
    for answer in ANSWERS:
        odd.answer, odd.status = answer, status
        code = main.main([*name.split(), *given])
        said = capsys.readouterr()
        assert code in (0, 1)
        assert code == 0 or len(said.err.splitlines()) == 1, said.err
        assert status == 200 or code == 1
