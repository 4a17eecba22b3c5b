"""A handshake whose machine takes long to wake is accepted meanwhile; a close frame tells what goes wrong then."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pilot.host.fsm.outcome import UserFault
from pilot.host.relay import early
from pilot.host.relay.access import Access
from pilot.host.store.sprites import Sprite
from pilot.host.vmm import Disk, Link
from pilot.ids import MachineId
from pilot.wire import faults, websocket
from pilot.wire.schema import DiskReference
from tests.support import wire
from tests.support.fake_vmm import FakeVmm
from tests.support.host import HostUnderTest


class Gated(FakeVmm):
    """Machines that start when they are let."""

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__(root)
        self.gate = threading.Event()
        self.gate.set()
        self.is_full = False

    def start(
        self, machine: MachineId, disk: Disk | None = None, link: Link | None = None, drives: Sequence[Disk] = ()
    ) -> DiskReference | None:
        assert self.gate.wait(wire.WAIT_S)
        if self.is_full:
            raise UserFault("start machine: this host is full", code="no_room")
        return super().start(machine, disk, link, drives)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"), vmm=Gated)
    headers = {"Authorization": f"Bearer {under_test.token}"}
    httpx.post(f"{under_test.url}/v1/sprites", headers=headers, json={"name": "slow"}).raise_for_status()
    yield under_test
    under_test.close()


@pytest.fixture
def machines(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gated]:
    """Closed: the sprite is cold, and its machine does not start. Nobody waits before a handshake is accepted."""
    monkeypatch.setattr(early, "PATIENCE_S", 0.0)
    headers = {"Authorization": f"Bearer {host.token}"}
    httpx.post(f"{host.url}/v1/sprites/slow/stop", headers=headers).raise_for_status()
    assert isinstance(host.vmm, Gated)
    host.vmm.gate.clear()
    yield host.vmm
    host.vmm.is_full = False
    host.vmm.gate.set()


def _connected(host: HostUnderTest, path: str) -> ClientConnection:
    url = f"{host.url.replace('http', 'ws', 1)}/v1/sprites/slow/{path}"
    return connect(url, additional_headers={"Authorization": f"Bearer {host.token}"}, open_timeout=wire.WAIT_S)


def test_what_is_said_meanwhile_is_heard(host: HostUnderTest, machines: Gated) -> None:
    with _connected(host, "exec?cmd=cat") as client:
        assert client.response is not None
        assert client.response.headers["X-Sprite-Capabilities"] == "signal"
        client.send(b"\0said early")
        client.send(b"\4")
        machines.gate.set()
        heard = [message for message in client if isinstance(message, bytes)]
    assert heard == [b"\1said early", b"\3\0"]


def test_that_it_does_not_wake_is_told(host: HostUnderTest, machines: Gated) -> None:
    with _connected(host, "exec?cmd=true") as client:
        machines.is_full = True
        machines.gate.set()
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(wire.WAIT_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == websocket.CLOSE_INTERNAL
    assert "this host is full" in caught.value.rcvd.reason


def test_what_is_pilotds_own_is_not_told(host: HostUnderTest, machines: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is not in an answer of status 500."""

    async def broken(_: Access, __: Sprite) -> NoReturn:
        await asyncio.to_thread(machines.gate.wait, wire.WAIT_S)
        raise faults.Internal("/var/lib/pilot/secret")

    monkeypatch.setattr(Access, "open", broken)
    with _connected(host, "exec?cmd=true") as client:
        machines.gate.set()
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(wire.WAIT_S)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.reason == "internal error"


def test_a_client_that_goes_meanwhile_is_not_waited_for(host: HostUnderTest, machines: Gated) -> None:
    sprite = host.sprites.find(host.organisation.id, "slow")
    with wire.connected(host.url) as stream:
        stream.sendall(_request(host.token))
        assert stream.recv(65536).startswith(b"HTTP/1.1 101 ")
        assert host.host.uses.open_connections(sprite.id) == 1
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed, it is reset
    wire.wait_until(lambda: host.host.uses.open_connections(sprite.id) == 0)
    assert not machines.gate.is_set()


def test_a_stranger_is_refused_as_ever(host: HostUnderTest, machines: Gated) -> None:
    assert wire.exchange(host.url, _request("nobody's")).startswith(b"HTTP/1.1 401 ")


def test_what_only_the_machine_can_judge_waits_for_it(host: HostUnderTest, machines: Gated) -> None:
    """A handshake of another version."""
    with wire.connected(host.url) as stream:
        stream.sendall(_request(host.token, version=12))
        stream.settimeout(0.5)
        with pytest.raises(TimeoutError):
            stream.recv(1)


def _request(token: str, version: int = 13) -> bytes:
    return (
        "GET /v1/sprites/slow/exec?cmd=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        f"Authorization: Bearer {token}\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: k\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "session not found", "code": "not_found"}', "session not found"),
        (b"<html>", "status 404"),
        (b'{"error": "\xff", "code": ""}', "status 404"),
    ],
)
def test_a_refusal_is_a_reason(body: bytes, reason: str) -> None:
    client = websocket.WebSocket(websocket.Side.CLIENT)
    assert client.receive(early.refusal(404, body)) == [websocket.Closed(websocket.CLOSE_INTERNAL, reason)]


def test_a_long_reason_is_cut_between_characters() -> None:
    (closed,) = websocket.WebSocket(websocket.Side.CLIENT).receive(early.closing("ü" * 200))
    assert isinstance(closed, websocket.Closed)
    assert set(closed.reason) == {"ü"}
