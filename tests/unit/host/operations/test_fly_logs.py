"""What is kept of what a Machine wrote: the latest, in bounds, and never at the cost of a stop."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from pilot import errors
from pilot.host.operations import fly_logs
from pilot.host.operations.context import Host
from pilot.ids import MachineId
from pilot.kernel import files
from pilot.machine import lines
from pilot.wire.graph import LogPiece

ID = MachineId("m")


def _piece(number: int, text: str) -> LogPiece:
    return LogPiece(time=f"2026-11-29T00:00:00.{number % 1_000_000:06}Z", stream="stdout", offset=0, text=text)


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return cast(Host, SimpleNamespace(scratch=str(tmp_path)))


def _saying(monkeypatch: pytest.MonkeyPatch, **said: Iterable[LogPiece] | errors.PilotError) -> None:
    """By container; for whoever asks for what is recent, too."""

    def read(path: str, operation: object, *, name: str, **_: object) -> Iterator[LogPiece]:
        found = said[name]
        if isinstance(found, errors.PilotError):
            raise found
        yield from found

    monkeypatch.setattr(lines, "read", read)


def _kept(host: Host) -> list[str]:
    return [f"{line.container} {(line.piece.text or '')[:8]}" for line in fly_logs.read(host, ID)]


def test_the_latest_of_each_in_the_order_in_which_it_was_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [_piece(number, f"{number:08}" + "x" * 1000) for number in range(0, 1000, 2)]
    _saying(monkeypatch, a=many, b=[_piece(997, "late"), _piece(1001, "last")], c=errors.NotFound("c"), d=[])
    fly_logs.keep(host, ID, ["a", "b", "c", "d"], "/dial")
    kept = _kept(host)
    assert (kept[-4:], len(kept)) == (["a 00000996", "b late", "a 00000998", "b last"], 65 + 2)
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
    assert len(kept) <= fly_logs.MOST_BYTES


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
