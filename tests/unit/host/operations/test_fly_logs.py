"""What is kept of what a Machine wrote: the latest, in bounds, and never at the cost of a stop."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from pilot import errors
from pilot.host.operations import fly_logs
from pilot.host.operations.context import Host
from pilot.ids import MachineId
from pilot.kernel import files
from pilot.machine import dial, lines
from pilot.wire.graph import LogPiece

ID = MachineId("m")


def _piece(number: int, text: str) -> LogPiece:
    return LogPiece(time=f"2026-11-29T00:00:00.{number % 1_000_000:06}Z", stream="stdout", offset=0, text=text)


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return cast(Host, SimpleNamespace(scratch=str(tmp_path)))


def _saying(monkeypatch: pytest.MonkeyPatch, **said: Iterable[LogPiece] | errors.PilotError) -> None:
    """By container; for whoever asks for what is recent, too, and in time."""

    def read(path: str, operation: object, *, name: str, end_s: float, **_: object) -> Iterator[LogPiece]:
        if time.monotonic() >= end_s:
            raise errors.PeerError("timed out")
        found = said[name]
        if isinstance(found, errors.PilotError):
            raise found
        yield from found

    monkeypatch.setattr(lines, "read", read)


def _kept(host: Host) -> list[str]:
    return [f"{line.container} {(line.piece.text or '')[:8]}" for line in fly_logs.read(host, ID)]


def test_the_latest_of_each_in_the_order_in_which_it_was_written(
    host: Host, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [_piece(number, f"{number:08}" + "x" * 1000) for number in range(0, 1000, 2)]
    _saying(monkeypatch, a=many, b=[_piece(997, "late"), _piece(1001, "last")], c=errors.NotFound("c"), d=[])
    fly_logs.keep(host, ID, ["a", "b", "c", "d"], "/dial")
    kept = _kept(host)
    assert kept[-4:] == ["a 00000996", "b late", "a 00000998", "b last"]
    size = (tmp_path / "machine-logs/m").stat().st_size
    assert 0.9 * fly_logs.MOST_BYTES < size < 1.1 * fly_logs.MOST_BYTES
    _saying(monkeypatch, a=[_piece(1, "anew")])
    fly_logs.keep(host, ID, ["a"], "/dial")  # of the next run
    assert _kept(host) == ["a anew"]
    fly_logs.forget(host, ID)
    fly_logs.forget(host, ID)
    assert _kept(host) == []


def test_one_that_never_ends_is_heard_for_a_while(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fly_logs, "READ_S", 0.05)
    _saying(monkeypatch, a=(_piece(number, "x") for number in itertools.count()), b=[_piece(0, "too late")])
    fly_logs.keep(host, ID, ["a", "b"], "/dial")
    kept = _kept(host)
    assert set(kept) == {"a x"}


@contextlib.contextmanager
def _dripping(path: pathlib.Path, last: bytes) -> Iterator[str]:
    """A machine whose answer is many spaces, each of which comes soon, and at last a line."""
    gone = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as peer, contextlib.suppress(OSError):
                    peer.recv(len(b"CONNECT 10000\n"))
                    peer.sendall(b"OK 10000\n")
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    for _ in range(2000):
                        peer.sendall(b" ")
                        gone.wait(0.01)
                    peer.sendall(last)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(path)
        finally:
            gone.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_one_that_never_ends_its_line_is_not_waited_for(
    host: Host, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fly_logs, "READ_S", 0.2)
    last = msgspec.json.encode(_piece(0, "at last")) + b"\n"
    with _dripping(tmp_path / "dial", last) as path:
        fly_logs.keep(host, ID, ["a", "b"], path)
    assert _kept(host) == []


def test_a_connection_that_is_not_answered_is_not_waited_for(
    host: Host, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as there is time for all of it: an agent's answer to any other question is waited for longer."""
    begun: list[float] = []

    def connect(path: str, port: int, timeout_s: float) -> socket.socket:
        begun.append(timeout_s)
        raise errors.PeerError("no answer")

    monkeypatch.setattr(dial, "connect", connect)
    fly_logs.keep(host, ID, ["a"], "/dial")
    assert begun
    assert max(begun) <= fly_logs.READ_S
    assert _kept(host) == []


def test_no_line_fails_a_stop_or_takes_more_than_its_room(
    host: Host, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "9" * (fly_logs.MOST_BYTES // 2)
    odd = [LogPiece(time="0", stream="stdout", offset=0, base64="A"), LogPiece(time=long, stream="stdout", offset=0)]
    wide = LogPiece(time="0", stream="stdout", offset=0, text="x" * fly_logs.MOST_LINE_BYTES)
    _saying(monkeypatch, a=[*odd * 100, wide, _piece(0, "honest")], b=_broken())
    fly_logs.keep(host, ID, ["a", "b"], "/dial")
    assert (tmp_path / "machine-logs/m").stat().st_size < 2 * fly_logs.MOST_BYTES
    assert _kept(host)[0].startswith("b before")
    assert "a honest" in _kept(host)


def _broken() -> Iterator[LogPiece]:
    yield LogPiece(time="", stream="stdout", offset=0, text="before")
    raise ValueError("Incorrect padding")


def test_without_room_nothing_is_kept_and_nothing_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", replace)
    _saying(monkeypatch, a=[_piece(0, "x")])
    fly_logs.keep(host, ID, ["a"], "/dial")
    assert _kept(host) == []


def test_a_file_that_is_damaged_is_none(host: Host, tmp_path: pathlib.Path) -> None:
    (tmp_path / "machine-logs").mkdir()
    (tmp_path / "machine-logs/m").write_bytes(b'{"container": "a"\n\xff')
    assert _kept(host) == []
