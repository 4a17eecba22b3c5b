"""Messages of the command line: for a person, and as lines of a log."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from pilot import errors
from pilot.cli.log import Format, Log, format_line, parse_format
from pilot.cli.options import UsageError

_MOMENT = time.gmtime(0)


def test_lines() -> None:
    line = format_line(Format.TEXT, "error", 'no "x"\n', _MOMENT)
    assert line == 'time="1970-01-01T00:00:00Z" level=error msg="no \\"x\\"\\n"'
    row = json.loads(format_line(Format.JSON, "warning", "caf\u00e9 \udcff", _MOMENT))
    assert row == {"level": "warning", "msg": "caf\u00e9 \\udcff", "time": "1970-01-01T00:00:00Z"}


def test_formats() -> None:
    assert [parse_format(name) for name in ("", "text", "json")] == [Format.TEXT, Format.TEXT, Format.JSON]
    with pytest.raises(UsageError, match="invalid log-format: xml"):
        parse_format("xml")


def test_a_person_reads_words() -> None:
    stream = io.StringIO()
    log = Log(stream=stream)
    log.open()
    log.error("it failed")
    log.warning("it is old")
    log.debug("step 1")
    assert stream.getvalue() == "pilot: it failed\npilot: warning: it is old\n"


def test_lines_on_stderr_are_in_place_of_words() -> None:
    stream = io.StringIO()
    log = Log(format=Format.JSON, is_debug=True, lines=True, stream=stream)
    log.debug("step 1")
    log.error("it failed")
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(row["level"], row["msg"]) for row in rows] == [("debug", "step 1"), ("error", "it failed")]


def test_a_file_has_the_lines_and_a_person_the_words(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = Log(str(tmp_path / "log"), is_debug=True, lines=True, stream=stream)
    log.open()
    log.debug("step 1")
    log.error("it failed")
    assert stream.getvalue() == "pilot: it failed\n"
    assert [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()] == ["level=debug", "level=error"]


def test_a_log_that_nobody_can_write(tmp_path: Path) -> None:
    with pytest.raises(errors.HostError, match=r"write log .*: no such file or directory"):
        Log(str(tmp_path / "none" / "log")).open()
