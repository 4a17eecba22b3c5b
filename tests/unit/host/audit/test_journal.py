"""A log on disk: whole after any crash, bounded, and honest about what it lacks."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from pilot.host.audit import reading
from pilot.host.audit.journal import Bounds, Journal
from pilot.host.audit.records import Decision, Record
from pilot.host.audit.signing import Signer
from pilot.host.audit.writer import Part
from pilot.kernel import files
from pilot.wire import chain
from pilot.wire.audit import Kind
from pilot.wire.chain import Broken

SUBJECT = "sprites/0123"
SMALL = Bounds(file_bytes=2000, files=3)


class Log:
    """A journal, opened as often as one likes."""

    def __init__(self, root: pathlib.Path) -> None:
        self.signer = Signer(str(root / "identity"), bytes(32))
        self.path = root / "log"

    def open(self, bounds: Bounds | None = None) -> Journal:
        return Journal(str(self.path), SUBJECT, self.signer, bounds)

    def verify(self, journal: Journal) -> chain.Verdict:
        return chain.verify(self.lines(journal), self.signer.check)

    def lines(self, journal: Journal, since: int = 0) -> list[bytes]:
        part = Part(tuple(journal.paths(since)), journal.last.seq, journal.head())
        return b"".join(reading.pieces(part, since)).splitlines(keepends=True)

    def records(self, journal: Journal) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(journal)[:-1]]

    def latest(self) -> pathlib.Path:
        return sorted(self.path.glob("*.ndjson"))[-1]


@pytest.fixture
def log(tmp_path: pathlib.Path) -> Log:
    return Log(tmp_path)


def record(what: str = "openSession", **detail: str) -> Record:
    return Record(Kind.EXEC, what, Decision.ALLOWED, 1_000_000, detail=detail)


def test_a_log_goes_on_where_it_was_closed(log: Log) -> None:
    journal = log.open()
    journal.append(record())
    journal.close()
    journal = log.open()
    assert [(each["seq"], each["what"]) for each in log.records(journal)] == [
        (1, "opened"), (2, "openSession"), (3, "closed"), (4, "opened"),
    ]  # fmt: skip
    assert log.records(journal)[3]["detail"] == {"format": 1, "was_closed": True}
    assert log.verify(journal).lacks == []


def _cut(log: Log, length: int) -> None:
    os.truncate(log.latest(), length)


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_half_a_record_is_cut_and_told(log: Log, cut: int) -> None:
    """As a kill in the middle of a write leaves it: the head is of before."""
    journal = log.open()
    journal.sync()
    size = log.latest().stat().st_size
    journal.append(record())
    os.truncate(log.latest(), size + cut)
    journal = log.open()
    told = log.records(journal)[-1]["detail"]
    assert told == {"format": 1, "was_closed": False, "cut_bytes": cut}
    assert len(log.verify(journal).lacks) == 2


def test_records_that_the_head_does_not_know_yet_are_kept_and_told(log: Log) -> None:
    journal = log.open()
    journal.append(record())
    journal.append(record())
    again = log.open()  # nobody has synced
    assert log.records(again)[-1]["detail"] == {"format": 1, "was_closed": False, "after_head": 2}
    assert log.verify(again).records == 4


def test_a_tail_that_was_taken_away_is_told_by_the_head(log: Log) -> None:
    journal = log.open()
    journal.sync()
    size = log.latest().stat().st_size
    for _ in range(3):
        journal.append(record())
    journal.close()
    _cut(log, size)
    with pytest.raises(Broken, match="record 2: it is missing: the host has written 5"):
        log.verify(journal)
    again = log.open()
    assert log.records(again)[-1]["detail"]["missing"] == 4
    with pytest.raises(Broken, match="record 2: it and all up to 5 are missing"):
        log.verify(again)


@pytest.mark.parametrize(
    ("become", "told"), [(None, "there is none"), (b"spritez", "the head is not signed by this key")]
)
def test_a_head_that_was_taken_away_or_changed_is_told(log: Log, become: bytes | None, told: str) -> None:
    journal = log.open()
    journal.append(record())
    journal.close()
    head = log.path / "head"
    if become is None:
        head.unlink()
    else:
        head.write_bytes(head.read_bytes().replace(b"sprites", become))
    journal = log.open()
    assert log.records(journal)[-1]["detail"]["head"] == told
    assert any("the head was not as it was left" in text for text in log.verify(journal).lacks)


def test_a_changed_record_stays_as_it_is_and_is_named(log: Log) -> None:
    journal = log.open()
    journal.append(record(cmd="rm"))
    journal.close()
    data = log.latest().read_bytes()
    log.latest().write_bytes(data.replace(b'"rm"', b'"ls"'))
    with pytest.raises(Broken, match="record 2: it was changed"):
        log.verify(log.open())


def test_rotation_bounds_a_log_and_tells_what_it_drops(log: Log) -> None:
    journal = log.open(SMALL)
    for number in range(100):
        journal.append(record(cmd=f"number {number}"))
        assert sum(path.stat().st_size for path in log.path.iterdir()) < 4 * 2500 + 1000
    verdict = log.verify(journal)
    assert verdict.first > 50
    dropped = [each for each in log.records(journal) if each["what"] == "dropped"]
    assert dropped[-1]["detail"]["last"] == verdict.first - 1
    assert f"to {verdict.first - 1} were dropped: there is room for so many" in verdict.lacks[-1]
    again = log.open(SMALL)
    assert log.verify(again).first == verdict.first
    # The first that is kept cannot be taken away with its file, either.
    os.unlink(again.paths()[0])
    with pytest.raises(Broken, match=f"record {verdict.first}: it and all up to"):
        log.verify(again)


def test_a_file_that_somebody_has_taken_away_keeps_no_other(log: Log) -> None:
    journal = log.open(SMALL)
    while len(journal.paths()) < SMALL.files:
        journal.append(record(cmd="x" * 100))
    os.unlink(journal.paths()[0])
    for _ in range(100):
        journal.append(record(cmd="x" * 100))
    assert len(list(log.path.glob("*.ndjson"))) == SMALL.files
    log.verify(journal)


@pytest.mark.parametrize("dying", ["sync", "unlink", "replace"])
def test_a_crash_anywhere_in_a_rotation_leaves_a_whole_log(log: Log, dying: str) -> None:
    """Every call that changes the disk, the first time and each time after it, is the last."""
    place = {"sync": "os.fdatasync", "unlink": "os.unlink", "replace": "pilot.kernel.files.replace"}[dying]
    for survived in range(6):
        shutil.rmtree(log.path, ignore_errors=True)
        journal = log.open(SMALL)
        with mock.patch(place, side_effect=_dying_after(survived, place)), pytest.raises(_Death):
            _fill(journal)
        again = log.open(SMALL)
        log.verify(again)
        again.append(record())
        again.close()
        verdict = log.verify(log.open(SMALL))
        assert verdict.records >= 3


def _fill(journal: Journal) -> None:
    for _ in range(100):
        journal.append(record(cmd="x" * 100))


class _Death(BaseException):
    pass


def _dying_after(survived: int, place: str) -> Callable[..., object]:
    calls: dict[str, Callable[..., object]] = {"os.fdatasync": os.fdatasync, "os.unlink": os.unlink}
    real = calls.get(place, files.replace)
    left = [survived]

    def call(*arguments: object, **named: object) -> object:
        if not left[0]:
            raise _Death
        left[0] -= 1
        return real(*arguments, **named)

    return call


def test_a_full_disk_leaves_the_log_as_it_was(log: Log) -> None:
    journal = log.open()
    before, size = journal.last, log.latest().stat().st_size

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch("pilot.kernel.files.write_all", side_effect=half), pytest.raises(OSError, match="No space"):
        journal.append(record())
    assert (journal.last, log.latest().stat().st_size) == (before, size)
    journal.append(record())
    assert log.verify(journal).records == 2


def test_what_is_being_written_is_not_read(log: Log) -> None:
    journal = log.open()
    with log.latest().open("ab") as file:
        file.write(b'{"s')  # as far as the kernel shows it yet
    assert log.verify(journal).records == 1


def test_a_clock_that_jumps_changes_no_order(log: Log) -> None:
    journal = log.open()
    for at_us in (5_000_000, 1_000_000, 9_000_000):
        journal.append(Record(Kind.EXEC, "x", Decision.ALLOWED, at_us))
    assert [each["seq"] for each in log.records(journal)] == [1, 2, 3, 4]
    log.verify(journal)
