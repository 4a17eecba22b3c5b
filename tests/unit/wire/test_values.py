"""Small values of the wire: durations, ranges, dial lines, errors as statuses."""

from __future__ import annotations

import h11
import pytest

from pilot import errors
from pilot.wire import dial, duration, faults, http


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("2.5s", 2.5),
        ("250ms", 0.25),
        ("1h", 3600.0),
        ("10", 10.0),
        (".5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration.parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "-1s", "1s junk", "1 s", "١s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(errors.PilotError, match="invalid duration"):
        duration.parse_duration_s(text)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-9", (0, 10)), ("bytes=90-", (90, 10)), ("bytes=-5", (95, 5)), ("bytes=50-5000", (50, 50)),
        ("bytes=-500", (0, 100)), ("bytes=0-1,5-6", None), ("lines=1-2", None), ("bytes=-", None), ("", None),
    ],
)  # fmt: skip
def test_ranges(header: str, found: tuple[int, int] | None) -> None:
    assert http.parse_range(header, 100) == found


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=7-3", "bytes=-0"])
def test_ranges_that_cannot_be_met(header: str) -> None:
    with pytest.raises(faults.RangeNotSatisfiable):
        http.parse_range(header, 100)


def test_dial_lines() -> None:
    assert dial.parse_connect(dial.connect_line(10000)) == 10000
    dial.parse_answer(dial.ok_line(10000))
    with pytest.raises(errors.PeerError, match="refused: no such port"):
        dial.parse_answer(dial.error_line("no such\nport"))
    for line in [b"", b"HELLO\n", b"OK 1"]:
        with pytest.raises(errors.PeerError):
            dial.parse_answer(line)
    for line in [b"", b"CONNECT\n", b"CONNECT x\n", b"CONNECT -1\n", b"GET / HTTP/1.1\n", b"CONNECT 99999999999\n"]:
        with pytest.raises(errors.PeerError):
            dial.parse_connect(line)


def test_requests_decode_paths_and_queries() -> None:
    event = h11.Request(method="GET", target="/v1/exec/a%20b?cmd=%C3%A4&cmd=-l&tty=true&rows=", headers=[("Host", "x")])
    request = http.parse_request(event)
    assert (request.path, request.query["cmd"], request.flag("tty")) == ("/v1/exec/a b", ["ä", "-l"], True)
    assert request.number("rows", 24, 1, 1000) == 24
    with pytest.raises(faults.InvalidRequest):
        http.parse_request(h11.Request(method="GET", target="/%ff", headers=[("Host", "x")]))
    with pytest.raises(faults.InvalidRequest):
        request.number("cmd", 1, 1, 2)
