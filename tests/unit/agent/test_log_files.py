"""What a service has said, as lines of a file."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.agent import log_files
from pilot.agent.graph import log as logs
from pilot.agent.log_text import MOST_BYTES, LogText
from pilot.agent.mounted import Request
from pilot.agent.record_budget import RecordBudget
from pilot.wire.graph import LogPiece
from tests.support.fake_machine import FakeLink


def _piece(time: int, text: str | None, stream: Any = "stdout", base64: str | None = None) -> LogPiece:
    return LogPiece(time=f"T{time}", stream=stream, offset=0, text=text, base64=base64)


def _render(*pieces: LogPiece) -> bytes:
    text = LogText()
    for piece in pieces:
        text.add([piece])
    return text.end()


def test_lines_have_the_time_of_their_first_byte_and_are_whole() -> None:
    pieces = [
        _piece(1, "one\ntw"), _piece(2, "wrong\n", "stderr"), _piece(3, "o\n\nthr"), _piece(4, "ee"),
    ]  # fmt: skip
    assert _render(*pieces).decode().splitlines() == [
        "T1 one", "T2 [stderr] wrong", "T1 two", "T3 ", "T3 three",
    ]  # fmt: skip


def test_a_character_in_two_pieces_is_one_and_what_is_no_text_is_shown() -> None:
    pieces = [_piece(1, None, base64="w7w="), _piece(2, None, base64="ww=="), _piece(3, None, base64="vP8K")]
    assert _render(*pieces).decode() == "T1 üü\ufffd\n"


def test_of_a_long_log_the_end_is_shown() -> None:
    shown = _render(_piece(1, "".join(f"{number}\n" for number in range(300_000))))
    assert len(shown) <= MOST_BYTES
    assert (shown.startswith(b"T1 "), shown.endswith(b"T1 299999\n")) == (True, True)
    assert _render() == b""


@pytest.mark.parametrize("ends", ["", "\n"])
def test_of_a_line_that_is_longer_than_a_file_the_end_is_shown(ends: str) -> None:
    """As a progress bar writes it: whatever was said before, and after it."""
    pieces = [_piece(number, f"{number:08}\r" + "é" * 16_000) for number in range(2, 2 + 2 * MOST_BYTES // 32_000)]
    shown = _render(_piece(1, "before\n"), *pieces, _piece(9999, f"99%{ends}"))
    assert MOST_BYTES - 4 <= len(shown) <= MOST_BYTES
    assert shown.endswith(b"99%\n")
    assert shown.startswith(b"T2 "), "of the line before it there is no room for anything"
    assert "\ufffd" not in shown.decode()


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("a\né", max_size=9)), max_size=20))
def test_whatever_the_pieces_are_each_line_is_there_once(told: list[tuple[str, str]]) -> None:
    shown = _render(*(_piece(1, text, stream) for stream, text in told)).decode()
    for stream, before in (("stdout", "T1 "), ("stderr", "T1 [stderr] ")):
        said = "".join(text for each, text in told if each == stream)
        lines = said.removesuffix("\n").split("\n") if said else []
        mine = [line for line in shown.split("\n")[:-1] if line.startswith("T1 [") == (stream == "stderr")]
        assert mine == [before + line for line in lines]


def test_a_log_is_read_as_far_as_it_went_though_it_grows_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """And others have their turn between its pieces."""
    turns = 0

    async def scene() -> bytes:
        nonlocal turns
        log = logs.Log(FakeLink(), "one", RecordBudget(1 << 30), {})
        out, err = log.open_pipes()
        for _ in range(5000):
            for fd in (out, err):
                os.write(fd, b"x\n")
            log.drain()
            monkeypatch.setattr(logs, "SAME_MARK_NS", 0)
        read, most = log.read, 0

        def reading(place: logs.Place) -> list[LogPiece]:
            nonlocal most
            os.write(out, b"more\n")
            log.drain()
            pieces = read(place)
            most = max(most, len(pieces))
            return pieces

        monkeypatch.setattr(log, "read", reading)

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        async with asyncio.timeout(60):
            text = await log_files._text_of(log)
        other.cancel()
        assert most <= logs.READ_BYTES / 256
        for fd in (out, err):
            os.close(fd)
        log.close()
        return text

    assert asyncio.run(scene()).count(b" x\n") == 10000
    assert turns > 5


def test_texts_that_are_open_are_bounded_in_bytes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        made = log_files.LogFiles(cast(Any, FakeLink()), str(tmp_path), cast(Any, None), cast(Any, None))
        most = log_files.MOST_HELD_BYTES // MOST_BYTES
        monkeypatch.setattr(made, "_text", lambda _: asyncio.sleep(0, bytes(MOST_BYTES)))
        opened = Request(0, 0, 16, memoryview(b""))
        results = await asyncio.gather(*(made._open(opened) for _ in range(most + 3)), return_exceptions=True)
        refused = [each.errno for each in results if isinstance(each, OSError)]
        assert refused == [errno.ENFILE] * 3
        assert len(made._texts) == most

    asyncio.run(scene())
