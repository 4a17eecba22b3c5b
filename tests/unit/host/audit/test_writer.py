"""From whoever tells to the log: nobody waits, and what is not written is counted."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from pilot.host import main
from pilot.host.audit import reading, shipping
from pilot.host.audit.journal import Bounds, Journal
from pilot.host.audit.records import Decision, Record
from pilot.host.audit.signing import Signer
from pilot.host.audit.writer import Writer
from pilot.host.identity.rates import Rates
from pilot.kernel import files
from pilot.volume.remote.objects.opening import open_store
from pilot.wire import chain
from pilot.wire.audit import Kind

SUBJECT = "sprites/0123"
RECORD = Record(Kind.EXEC, "openSession", Decision.ALLOWED, 1_000_000)


@pytest.fixture
def signer(tmp_path: pathlib.Path) -> Signer:
    return Signer(str(tmp_path / "identity"), bytes(32))


@contextlib.contextmanager
def writing(root: pathlib.Path, signer: Signer, **options: Any) -> Iterator[Writer]:
    writer = Writer(str(root / "audit"), signer, **options)
    try:
        yield writer
    finally:
        writer.close()


def read(writer: Writer, subject: str = SUBJECT) -> list[dict[str, Any]]:
    """Its records, verified."""
    lines = b"".join(reading.pieces(writer.part(subject), 0)).splitlines(keepends=True)
    chain.verify(lines, writer.signer.check)
    return [json.loads(line) for line in lines[:-1]]


def test_each_subject_has_a_log_of_what_was_told_of_it(tmp_path: pathlib.Path, signer: Signer) -> None:
    with writing(tmp_path, signer) as writer:
        for subject in (SUBJECT, "machines/1", SUBJECT, "host"):
            writer.tell(subject, RECORD)
        assert [each["what"] for each in read(writer)] == ["opened", "openSession", "openSession"]
        assert writer.subjects() == ["host", "machines/1", SUBJECT]
    with writing(tmp_path, signer) as writer:
        assert [each["what"] for each in read(writer)][-2:] == ["closed", "opened"]


def test_what_a_full_disk_does_not_take_is_told_as_a_count(tmp_path: pathlib.Path, signer: Signer) -> None:
    with writing(tmp_path, signer) as writer:
        writer.tell(SUBJECT, RECORD)
        read(writer)
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch.object(files, "write_all", side_effect=full):
            for _ in range(7):
                writer.tell(SUBJECT, RECORD)
            writer.part(SUBJECT)
        writer.tell(SUBJECT, RECORD)
        found = read(writer)
        assert [each["what"] for each in found] == ["opened", "openSession", "lost", "openSession"]
        told = found[2]["detail"]
        assert (told["count"], told["why"]) == (7, "no space left on device")
        assert told["since"] <= found[2]["at"]


def test_a_disk_that_stands_still_holds_nobody_up_and_what_is_too_much_is_counted(
    tmp_path: pathlib.Path, signer: Signer
) -> None:
    still, real = threading.Event(), files.write_all

    def stalling(fd: int, data: bytes) -> None:
        still.wait()
        real(fd, data)

    with writing(tmp_path, signer, most_waiting=10) as writer:
        read(writer)
        with mock.patch.object(files, "write_all", stalling):
            for _ in range(100):
                writer.tell(SUBJECT, RECORD)
            still.set()
            read(writer)
        writer.tell(SUBJECT, RECORD)
        lost = [each["detail"] for each in read(writer) if each["what"] == "lost"]
        told = [each for each in read(writer) if each["what"] == "openSession"]
        assert sum(each["count"] for each in lost) + len(told) == 101
        assert {each["why"] for each in lost} == {"more came than could be written"}


def test_nobody_drives_others_out_by_asking_often(tmp_path: pathlib.Path, signer: Signer) -> None:
    with writing(tmp_path, signer, rates=Rates(5, 0.0)) as writer:
        for _ in range(50):
            writer.tell(SUBJECT, RECORD, is_rated=True)
        writer.tell(SUBJECT, RECORD)
        found = read(writer)
        (lost,) = [each["detail"] for each in found if each["what"] == "lost"]
        assert (lost["count"], lost["why"]) == (45, "it was asked too often")
        assert sum(each["what"] == "openSession" for each in found) == 6


def test_a_record_that_cannot_be_written_ends_nothing(tmp_path: pathlib.Path, signer: Signer) -> None:
    with writing(tmp_path, signer) as writer:
        writer.tell(SUBJECT, Record(Kind.EXEC, "x", Decision.ALLOWED, 1 << 70))  # beyond any year
        writer.tell(SUBJECT, RECORD)
        assert [each["what"] for each in read(writer)] == ["opened", "lost", "openSession"]


def test_logs_of_who_is_gone_are_kept_for_a_while(tmp_path: pathlib.Path, signer: Signer) -> None:
    with writing(tmp_path, signer) as writer:
        writer.tell(SUBJECT, RECORD)
        read(writer)
        writer.forget(lambda _subject: True, before_s=0.0)
        assert writer.subjects() == [SUBJECT]
        writer.forget(lambda _subject: False, before_s=float("inf"))
        assert writer.subjects() == [SUBJECT]
        writer.forget(lambda _subject: True, before_s=float("inf"))
        assert writer.subjects() == []


def test_logs_are_in_the_object_store_as_they_are_here(tmp_path: pathlib.Path, signer: Signer) -> None:
    store = open_store(f"file://{tmp_path}/store")
    with writing(tmp_path, signer) as writer:
        ships = shipping.Shipping(str(tmp_path / "audit"), store)
        writer.tell(SUBJECT, RECORD)
        read(writer)
    assert ships.ship() == 2
    assert ships.ship() == 0
    keys = sorted(entry.key for entry in store.list("audit/"))
    place = f"audit/{(tmp_path / 'audit/place').read_text()}/{SUBJECT}"
    assert keys == [f"{place}/00000000000000000001.ndjson", f"{place}/head"]
    lines = b"".join(store.get(key).data for key in keys).splitlines(keepends=True)
    assert chain.verify(lines, signer.check).records == 3


def test_a_head_in_the_store_knows_of_nothing_that_is_not_there(tmp_path: pathlib.Path, signer: Signer) -> None:
    """However much is written, and into however many files, while it is shipped."""
    store = open_store(f"file://{tmp_path}/store")
    journal = Journal(str(tmp_path / "audit" / SUBJECT), SUBJECT, signer, Bounds(1000, 50))
    journal.sync()
    put = store.put

    def growing(key: str, data: bytes) -> object:
        for _ in range(10):
            journal.append(RECORD)
        journal.sync()
        return put(key, data)

    ships = shipping.Shipping(str(tmp_path / "audit"), store)
    with mock.patch.object(store, "put", growing):
        for _ in range(3):
            ships.ship()
            keys = sorted(entry.key for entry in store.list("audit/"))
            lines = b"".join(store.get(key).data for key in keys).splitlines(keepends=True)
            head = chain.read_head(lines[-1], signer.check)
            assert chain.read(lines[-2]).link.seq >= head.last.seq


def test_logs_that_begin_anew_are_not_written_over_those_in_the_store(tmp_path: pathlib.Path, signer: Signer) -> None:
    """A pilotd that was restored of a backup, which has the key and no logs; or one of another host."""
    store = open_store(f"file://{tmp_path}/store")
    for life, count in (("a", 3), ("b", 1), ("b", 2)):
        with writing(tmp_path / life, signer) as writer:
            for _ in range(count):
                writer.tell(SUBJECT, RECORD)
            read(writer)
        shipping.Shipping(str(tmp_path / life / "audit"), store).ship()
    found: dict[str, list[bytes]] = {}
    for key in sorted(entry.key for entry in store.list("audit/")):
        found.setdefault(key.split("/")[1], []).extend(store.get(key).data.splitlines(keepends=True))
    assert sorted(chain.verify(lines, signer.check).records for lines in found.values()) == [5, 7]


def test_a_log_is_read_without_a_pilotd(
    tmp_path: pathlib.Path, signer: Signer, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with writing(tmp_path, signer) as writer:
        for subject in ("host", SUBJECT):
            writer.tell(subject, RECORD)

    def read_by(*words: str) -> tuple[int, list[bytes]]:
        return main.main(["audit", "--state-dir", str(tmp_path), *words]), capfdbinary.readouterr().out.splitlines(True)

    assert read_by() == (0, [b"host\n", f"{SUBJECT}\n".encode()])
    status, lines = read_by("host")
    assert (status, chain.verify(lines, signer.check).records) == (0, 3)
    assert read_by("sprites/none") == read_by("../identity") == (1, [])
    (tmp_path / "audit/host/head").write_bytes(b"{}")
    assert read_by("host") == (1, [])


_TELLING = """
import sys
from pilot.host.audit.journal import Bounds
from pilot.host.audit.records import Decision, Record
from pilot.host.audit.signing import Signer
from pilot.host.audit.writer import Writer
from pilot.wire.audit import Kind
root = sys.argv[1]
writer = Writer(root + "/audit", Signer(root + "/identity", bytes(32)), Bounds(4000, 4))
while True:
    for _ in range(20):
        writer.tell("sprites/0123", Record(Kind.EXEC, "openSession", Decision.ALLOWED, 0, detail={"path": "x" * 50}))
    print(writer.part("sprites/0123").last, flush=True)
"""


def test_what_was_written_when_its_writer_is_killed_is_there(tmp_path: pathlib.Path, signer: Signer) -> None:
    """kill -9 at any moment, again and again: each log that is found goes on, whole, with all that was written."""
    for turns in range(1, 6):
        with subprocess.Popen([sys.executable, "-c", _TELLING, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(turns):
                last = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read().split(b"\n")[:-1]
            last = int(rest[-1]) if rest else last
        with writing(tmp_path, signer) as writer:
            found = read(writer)
            opened = found[-1]
            assert (opened["what"], opened["detail"]["was_closed"]) == ("opened", False)
            assert "head" not in opened["detail"]
            assert "missing" not in opened["detail"]
            assert opened["seq"] > last
