"""What docs/reference/audit.md shows for who trusts nothing of ours: run as it stands there, on logs of the real
journal, and told apart from ours by nothing."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from pilot.host.audit import reading
from pilot.host.audit.journal import Bounds, Journal
from pilot.host.audit.records import Decision, Record
from pilot.host.audit.signing import Signer
from pilot.host.audit.writer import Part
from pilot.wire import chain
from pilot.wire.audit import Kind

PAGE = pathlib.Path(__file__).parents[4] / "docs/reference/audit.md"
Lines = list[bytes]


@pytest.fixture
def program(tmp_path: pathlib.Path) -> pathlib.Path:
    (text,) = re.findall(r"^```\n(#!/usr/bin/env python3\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    place = tmp_path / "check_log.py"
    place.write_text(text)
    return place


@pytest.fixture
def signer(tmp_path: pathlib.Path) -> Signer:
    made = Signer(str(tmp_path / "identity"), bytes(32))
    (tmp_path / "host.pem").write_text(made.public_pem)
    return made


def _lines(tmp_path: pathlib.Path, signer: Signer, bounds: Bounds | None = None) -> Lines:
    journal = Journal(str(tmp_path / "log"), "sprites/0123", signer, bounds)
    for number in range(20):
        journal.append(Record(Kind.EXEC, "openSession", Decision.ALLOWED, number, detail={"cmd": 'say "hash"'}))
    part = Part(tuple(journal.paths(0)), journal.last.seq, journal.head())
    return b"".join(reading.pieces(part, 0)).splitlines(keepends=True)


def _check(program: pathlib.Path, lines: Sequence[bytes]) -> subprocess.CompletedProcess[str]:
    """With Python's standard library alone: -I and -S take away everything else."""
    log = program.with_name("log.ndjson")
    log.write_bytes(b"".join(lines))
    words = [sys.executable, "-ISE", *map(str, (program, log, program.with_name("host.pem")))]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("bounds", [None, Bounds(file_bytes=2000, files=3)], ids=["whole", "rotated"])
def test_a_log_as_it_was_written(
    program: pathlib.Path, signer: Signer, tmp_path: pathlib.Path, bounds: Bounds | None
) -> None:
    lines = _lines(tmp_path, signer, bounds)
    verdict = chain.verify(lines, signer.check)
    done = _check(program, lines)
    said = f"{verdict.records} records of sprites/0123, from {verdict.first}: as they were written\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def _flipped(lines: Lines) -> Lines:
    return [*lines[:5], lines[5].replace(b"allowed", b"refused"), *lines[6:]]


def _of_another(lines: Lines) -> Lines:
    return [*lines[:-1], lines[-1].replace(b"sprites/0123", b"sprites/0124")]


_CHANGES: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "a word": (_flipped, "record 6"),
    "one is missing": (lambda lines: [*lines[:5], *lines[6:]], "record 6"),
    "two are exchanged": (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], "record 6"),
    "the beginning": (lambda lines: lines[1:], "record 1"),
    "the end": (lambda lines: [*lines[:-2], lines[-1]], "record 21"),
    "one too many": (lambda lines: [*lines[:-1], lines[-2], lines[-1]], "record 22"),
    "no head": (lambda lines: lines[:-1], "the head"),
    "another subject": (_of_another, "the signature of the head"),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_what_was_changed_is_named_by_both(
    program: pathlib.Path, signer: Signer, tmp_path: pathlib.Path, change: str
) -> None:
    make, told = _CHANGES[change]
    lines = make(_lines(tmp_path, signer))
    with pytest.raises(chain.Broken):
        chain.verify(lines, signer.check)
    done = _check(program, lines)
    assert (done.returncode, done.stderr) == (1, f"{told}: this is not what was written\n")
