"""Crowds of clients, and a sprite out of bounds, while a neighbour writes rows: no error, no lost row.

Each attack lasts a few seconds. How long the neighbour waited is told, not judged: machines differ.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import httpx
import pytest

from tests.adversary import neighbour, out_of_bounds
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

SECONDS = 6.0


class Neighbour:
    """Alice: a writer in her sprite, and a caller from outside."""

    def __init__(self, http: httpx.Client, sprite: Any) -> None:
        self._http = http
        self._sprite = sprite
        self.statuses: collections.Counter[int] = collections.Counter()
        self.waits: list[float] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """For the length of a `with`: asserts at its end that nothing was lost or refused."""
        source = pathlib.Path(neighbour.__file__).read_text()
        with futures.ThreadPoolExecutor(2, "neighbour") as pool:
            writing = pool.submit(self._sprite.run, "python3", "-c", source, capture_output=True, check=True)
            while self._read(neighbour.BEGUN) != 200 and not writing.done():
                time.sleep(0.05)
            calling = pool.submit(self._call)
            try:
                yield
            finally:
                self._over.set()
                self._http.put(f"/v1/sprites/alice/fs/write?path={neighbour.OVER}").raise_for_status()
            calling.result(60)
            told = json.loads(writing.result(60).stdout)
        assert (told["integrity"], told["there"]) == ("ok", told["acknowledged"]), told
        assert set(self.statuses) == {200}, self.statuses
        self.waits.sort()
        print(f"\nneighbour: {told}, {len(self.waits)} calls, the longest {self.waits[-1]:.2f} s")

    def _call(self) -> None:
        while not self._over.wait(0.1):
            began = time.monotonic()
            self.statuses[self._read("/etc/os-release")] += 1
            self.waits.append(time.monotonic() - began)

    def _read(self, path: object) -> int:
        return self._http.get(f"/v1/sprites/alice/fs/read?path={path}").status_code


@pytest.fixture
def beside(http: httpx.Client, alice: Any) -> Iterator[None]:
    """The neighbour, for the length of a test."""
    with Neighbour(http, alice).beside():
        yield


def _connections(pilotd: Pilotd, count: int) -> list[socket.socket]:
    """As many as are taken."""
    made = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            made.append(socket.create_connection(("127.0.0.1", pilotd.port), 5))
    return made


@contextlib.contextmanager
def _open(pilotd: Pilotd, count: int) -> Iterator[list[socket.socket]]:
    made = _connections(pilotd, count)
    try:
        yield made
    finally:
        for each in made:
            each.close()


def test_a_thousand_connections_that_say_nothing(pilotd: Pilotd, beside: None) -> None:
    with _open(pilotd, 1000) as crowd:
        assert len(crowd) == 1000
        time.sleep(SECONDS)


def test_heads_that_never_end(pilotd: Pilotd, beside: None) -> None:
    with _open(pilotd, 400) as crowd:
        end = time.monotonic() + SECONDS
        for each in crowd:
            each.sendall(b"GET /v1/sprites HTTP/1.1\r\nHost: x\r\nX: ")
        while time.monotonic() < end:
            for each in crowd:
                each.sendall(b"a")
            time.sleep(0.1)


def test_heads_of_a_mebibyte(pilotd: Pilotd, beside: None) -> None:
    end, answers = time.monotonic() + SECONDS, set()
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", pilotd.port), 5) as each:
            with contextlib.suppress(OSError):  # it ends the connection while we send
                each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n")
            with contextlib.suppress(OSError):
                answers.add(each.recv(12))
    assert answers <= {b"HTTP/1.1 431", b""}


def test_requests_in_a_row_that_nobody_reads_the_answers_of(pilotd: Pilotd, beside: None) -> None:
    request = f"GET /v1/sprites HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {pilotd.token()}\r\n\r\n".encode()
    with _open(pilotd, 16) as crowd:
        end = time.monotonic() + SECONDS
        for each in crowd:
            each.setblocking(False)
        while time.monotonic() < end:
            for each in crowd:
                with contextlib.suppress(BlockingIOError):
                    each.send(request * 200)
            time.sleep(0.01)


def test_watchers_by_the_thousand(pilotd: Pilotd, client: Any, beside: None) -> None:
    """Of all sprites, while sprites come and go."""
    request = "GET /v1/sprites HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n"
    request += f"Authorization: Bearer {pilotd.token()}\r\n\r\n"
    with _open(pilotd, 1500) as crowd:
        for each in crowd:
            each.sendall(request.encode())
        for number in range(3):
            client.create_sprite(f"passing-{number}").destroy()


def _for_a_while(act: Callable[[], object], threads: int) -> None:
    end = time.monotonic() + SECONDS

    def go() -> None:
        while time.monotonic() < end:
            act()

    with futures.ThreadPoolExecutor(threads, "flood") as pool:
        for each in [pool.submit(go) for _ in range(threads)]:
            each.result()


def test_tokens_that_nobody_gave(pilotd: Pilotd, beside: None) -> None:
    headers = {"Authorization": "Bearer fm2_" + "A" * 4000}

    def ask() -> None:
        assert httpx.get(f"{pilotd.url}/v1/sprites", headers=headers, timeout=60).status_code == 401

    _for_a_while(ask, 8)


def test_a_storm_of_commands(pilotd: Pilotd, mallory: Any, beside: None) -> None:
    _for_a_while(lambda: mallory.run("true", check=True), 8)


@pytest.mark.parametrize("kind", out_of_bounds.SCRIPTS)
def test_a_sprite_out_of_bounds(client: Any, beside: None, kind: str) -> None:
    sprite = client.create_sprite(f"unbound-{kind}")
    sprite.run(*out_of_bounds.command(kind, SECONDS))
    sprite.destroy()
