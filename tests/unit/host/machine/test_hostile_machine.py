"""Machines that answer anything: whatever an agent says, a call ends in time, bounded, with an error of ours."""

from __future__ import annotations

import os
import pathlib
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import HostUnderTest
from tests.support.hostile import Say, machine, saying

from pilot import errors
from pilot.host.fsm import driver
from pilot.host.operations import silence
from pilot.host.relay import machine_answer
from pilot.machine import pilot_api
from pilot.wire import faults


def _json(body: bytes) -> Say:
    return saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def _for_ever(start: bytes, piece: bytes) -> Say:
    def say(stream: socket.socket) -> None:
        stream.sendall(start)
        while True:
            stream.sendall(piece)

    return say


def _drip(stream: socket.socket) -> None:
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not _closed(stream):
        stream.sendall(b" ")


def _closed(stream: socket.socket) -> bool:
    stream.settimeout(0.05)
    try:
        return stream.recv(1) == b""
    except TimeoutError:
        return False


ANSWERS = {
    "nothing": saying(b""),
    "garbage": saying(os.urandom(4096)),
    "half a head": saying(b"HTTP/1.1 200 OK\r\nContent-"),
    "no status": saying(b"HTTP/1.1 \r\n\r\n"),
    "a length that is none": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a list": _json(b"[1, 2]"),
    "a number": _json(b"7"),
    "deep": _json(b"[" * 100_000),
    "not text": _json(b"\xff\xfe\xfd"),
    "short of its length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"),
    "a body without end": _for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
    "headers without end": _for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 1000),
    "100 for ever": _for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a byte now and then": _drip,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_call_ends_with_an_error_of_ours(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pilot_api, "MAX_S", 1.0)
    path = tmp_path / "dial.sock"
    with machine(path, ANSWERS[name]), pytest.raises(errors.PeerError) as caught:
        pilot_api.PilotApi(str(path)).status()
    assert len(str(caught.value)) < 1000


def test_calls_together_end_by_their_deadline(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "dial.sock"
    with machine(path, ANSWERS["a body without end"]), pytest.raises(errors.PeerError, match="timed out"):
        pilot_api.PilotApi(str(path), end_s=time.monotonic()).status()


def test_a_refusal_of_any_length(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "dial.sock"
    text = b'{"error": "%s"}' % (b"x" * 500_000)
    answer = saying(b"HTTP/1.1 500 no\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    with machine(path, answer), pytest.raises(faults.Internal) as caught:
        pilot_api.PilotApi(str(path)).status()
    assert len(str(caught.value)) < 2000


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


@pytest.fixture(scope="module")
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as client:
        assert client.post("/v1/sprites", json={"name": "web"}).status_code == 201
        yield client


@pytest.mark.parametrize(
    "name", [name for name in ANSWERS if name not in ("a byte now and then", "a body without end")]
)
@pytest.mark.parametrize("upgraded", [False, True])
def test_a_relayed_call_ends_with_an_error_of_ours(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, name: str, upgraded: bool
) -> None:
    monkeypatch.setattr(machine_answer, "MAX_HEAD_BYTES", 10_000)
    monkeypatch.setattr(pilot_api, "MAX_S", 1.0)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"} if upgraded else {}
    monkeypatch.setattr(driver, "FIRST_PAUSE_S", 0.001)
    row = host.sprites.find(host.organisation.id, "web")
    with machine(pathlib.Path(host.sprites.dial_path(row)), ANSWERS[name]):
        try:
            answer = http.get("/v1/sprites/web/exec?cmd=true", headers=headers)
        except httpx.RemoteProtocolError:
            return  # what the machine began to say was passed on, and broke off as it did
    assert answer.status_code in (200, 400, 502, 503), answer.text
    assert answer.status_code == 200 or len(answer.content) < 1000
    assert http.get("/healthz").status_code == 200


def test_a_machine_that_never_answers_is_started_anew(
    host: HostUnderTest, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LONG_S", 0.5)
    monkeypatch.setattr(silence, "QUESTIONS", 3)
    row = host.sprites.find(host.organisation.id, "web")
    assert http.get("/v1/sprites/web/exec").status_code == 200
    starts = host.vmm.calls.count(("start", str(row.machine)))
    with machine(pathlib.Path(host.sprites.dial_path(row)), ANSWERS["nothing"]):
        host.sprites.mark_lost(row)
        assert http.get("/v1/sprites/web/exec").status_code == 200
    assert host.vmm.calls.count(("start", str(row.machine))) == starts + 1
