"""Which port a sprite serves the web at: its machine says, and is believed for a moment."""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from pilot import errors
from pilot.host.services.front import BELIEVED_S, Fronts
from pilot.host.services.sprites import Sprites
from pilot.host.store.sprites import Sprite
from tests.support import wire

SPRITE = cast(Sprite, SimpleNamespace(id="sprite-1", name="web"))


class Machine:
    """Answers what it is asked from `answers`, over a real socket; `asked` has the lines."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.path = str(directory / "dial.sock")
        self.answers: dict[str, object] = {}
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve, name="machine")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                data = b""
                while not data.endswith(b"\n"):
                    data += stream.recv(1)
                stream.sendall(b"OK 10000\n")
                data = b""
                while b"\r\n\r\n" not in data:
                    data += stream.recv(65536)
                line = data.split(b" HTTP/1.1")[0].decode()
                self.asked.append(line)
                body = json.dumps(self.answers.get(line, {})).encode()
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(wire.WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def fronts(status: object, path: str = "", now: list[float] | None = None) -> Fronts:
    told: list[object] = [status]

    def machine_status(_: Sprite) -> object:
        if isinstance(told[0], Exception):
            raise told[0]
        return told[0]

    sprites = SimpleNamespace(machine_status=machine_status, dial_path=lambda _: path, told=told)
    clock = now if now is not None else [0.0]
    made = Fronts(cast(Sprites, sprites), lambda: clock[0])
    made.told = told  # type: ignore[attr-defined]
    return made


def test_the_port_is_that_of_the_http_service_and_believed_for_a_moment() -> None:
    now = [0.0]
    made = fronts(SimpleNamespace(http_port=3000), now=now)
    assert asyncio.run(made.port(SPRITE)) == 3000
    made.told[0] = SimpleNamespace(http_port=None)  # type: ignore[attr-defined]
    assert asyncio.run(made.port(SPRITE)) == 3000
    now[0] += BELIEVED_S
    assert asyncio.run(made.port(SPRITE)) == 8080


def test_a_machine_that_does_not_say_is_asked_again() -> None:
    made = fronts(errors.PeerError("no answer"))
    assert asyncio.run(made.port(SPRITE)) == 8080
    made.told[0] = SimpleNamespace(http_port=3000)  # type: ignore[attr-defined]
    assert asyncio.run(made.port(SPRITE)) == 3000


def _service(status: str, port: int | None) -> dict[str, object]:
    state = {"name": "site", "status": status}
    return {
        "name": "site",
        "cmd": "x",
        "args": [],
        "env": {},
        "dir": None,
        "needs": [],
        "http_port": port,
        "state": state,
    }


@pytest.mark.parametrize(
    ("services", "starts", "asks"),
    [
        ([_service("stopped", 9000)], True, True),
        ([_service("failed", 9000)], True, True),
        ([_service("starting", 9000)], True, False),
        ([_service("stopped", 9001)], False, False),
        ([_service("stopped", None)], False, False),
        ([], False, False),
        ({"no": "list"}, False, False),
    ],
)
def test_the_service_of_the_port_is_started_when_it_stands_still(
    machine: Machine, services: object, starts: bool, asks: bool
) -> None:
    machine.answers["GET /v1/services"] = services
    assert asyncio.run(fronts(None, machine.path).start(SPRITE, 9000)) is starts
    assert ("POST /v1/services/site/start?duration=0s" in machine.asked) is asks


def test_a_machine_that_is_gone_starts_nothing(tmp_path: pathlib.Path) -> None:
    assert asyncio.run(fronts(None, str(tmp_path / "none")).start(SPRITE, 9000)) is False
