"""One connection of a machine, from its request to its answer, with sockets in the place of TLS."""

from __future__ import annotations

import asyncio
import base64
import pathlib
import socket

import msgspec
import pytest

from pilot.host.network import lines
from pilot.host.network.connectors.client import Client
from pilot.host.network.connectors.connector import Attachment, Bearer, Placeholder
from pilot.host.network.connectors.outside import Outside
from pilot.host.network.connectors.passing import Grant, Passing
from pilot.host.network.connectors.uses import Use, Uses

HOST = "api.test"
SECRET = b"sk-live-0123456789abcdef"
PLACE = "PLACE-HOLDER"
PATIENCE_S = 30.0


class Passed:
    """What a machine got for what it has sent, what the host got, and what was written down."""

    def __init__(self, directory: pathlib.Path, request: bytes, answer: bytes, attach: Attachment) -> None:
        self.path = directory / "uses.log"
        self.uses = Uses(str(self.path))
        self.grant = Grant("api", attach, SECRET)
        self.asked = self.got = b""
        asyncio.run(self._run(request, answer))

    async def _run(self, request: bytes, answer: bytes) -> None:
        machine, ours = socket.socketpair()
        beyond, theirs = socket.socketpair()
        with machine, beyond:
            beyond.sendall(answer)
            beyond.shutdown(socket.SHUT_WR)
            machine.sendall(request)
            machine.shutdown(socket.SHUT_WR)

            async def connect() -> Outside:
                return Outside(*await asyncio.open_connection(sock=theirs))

            client = Client(*await asyncio.open_connection(sock=ours))
            async with asyncio.timeout(PATIENCE_S):
                await Passing(client, HOST, lambda: self.grant, connect, self.uses).run()
            await asyncio.sleep(0)  # what was closed is closed in the next turn
            theirs.close()
            for end in (machine, beyond):
                end.settimeout(PATIENCE_S)
            self.got, self.asked = _all(machine), _all(beyond)
        self.uses.close()

    @property
    def written(self) -> list[Use]:
        return [msgspec.json.decode(line, type=Use) for line in lines.read(str(self.path))]


def _all(end: socket.socket) -> bytes:
    data = b""
    try:
        while piece := end.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # cut off
    return data


def get(*headers: str, host: str = HOST, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nX-You-Said : Bearer %s\r\n\r\n", b"you said %s\r\n\r\n", b"HTTP/1.1 200 %s\r\n: \r\n\r\n"],
)
def test_an_answer_that_is_no_http_is_told_without_its_words(tmp_path: pathlib.Path, answer: bytes) -> None:
    passed = Passed(tmp_path, get(), answer % SECRET, Bearer())
    assert SECRET in passed.asked
    assert passed.got.startswith(b"HTTP/1.1 502 ")
    assert SECRET not in passed.got
    assert [(use.outcome, use.why) for use in passed.written] == [("unreached", "its answer is no HTTP")]


def test_who_asks_for_a_head_is_refused_by_a_head(tmp_path: pathlib.Path) -> None:
    """Whole, though it has the length of a body: nothing is cut off."""
    passed = Passed(tmp_path, get(host="other.test", method="HEAD"), b"", Bearer())
    assert passed.got.startswith(b"HTTP/1.1 421 ")
    assert passed.got.endswith(b"\r\n\r\n")
    assert [(use.outcome, use.status) for use in passed.written] == [("refused", 421)]


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_placeholder_that_basic_encodes_is_not_said_back_either(tmp_path: pathlib.Path) -> None:
    said = basic("me", SECRET.decode()).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    request = get(f"Authorization: Basic {basic('me', PLACE)}")
    passed = Passed(tmp_path, request, answer, Placeholder(PLACE))
    assert said in passed.asked
    assert said not in passed.got
    assert [use.outcome for use in passed.written] == ["answered", "echoed"]


@pytest.mark.parametrize(
    "headers",
    [[f"X: {PLACE * 4000}"], [f"X-{number}: Basic {basic(str(number), PLACE)}" for number in range(100)]],
    ids=["very often", "in very many ways"],
)
def test_a_head_that_the_secret_makes_too_large_is_not_sent(tmp_path: pathlib.Path, headers: list[str]) -> None:
    passed = Passed(tmp_path, get(*headers), b"", Placeholder(PLACE))
    assert passed.got.startswith(b"HTTP/1.1 431 ")
    assert passed.asked == b""
