"""What a service has said, as lines of a file."""

from __future__ import annotations

from typing import Any

from pilot.agent import log_files
from pilot.wire.graph import LogPiece


def _piece(time: int, text: str | None, stream: Any = "stdout", base64: str | None = None) -> LogPiece:
    return LogPiece(time=f"T{time}", stream=stream, offset=0, text=text, base64=base64)


def test_lines_have_the_time_of_their_first_byte_and_are_whole() -> None:
    pieces = [
        _piece(1, "one\ntw"), _piece(2, "wrong\n", "stderr"), _piece(3, "o\n\nthr"), _piece(4, "ee"),
    ]  # fmt: skip
    assert log_files._render(pieces).decode().splitlines() == [
        "T1 one", "T2 [stderr] wrong", "T1 two", "T3 ", "T3 three",
    ]  # fmt: skip


def test_a_character_in_two_pieces_is_one_and_what_is_no_text_is_shown() -> None:
    pieces = [_piece(1, None, base64="w7w="), _piece(2, None, base64="ww=="), _piece(3, None, base64="vP8K")]
    assert log_files._render(pieces).decode() == "T1 üü\ufffd\n"


def test_of_a_long_log_the_end_is_shown() -> None:
    shown = log_files._render([_piece(1, "".join(f"{number}\n" for number in range(300_000)))])
    assert len(shown) <= log_files.MOST_BYTES
    assert (shown.startswith(b"T1 "), shown.endswith(b"T1 299999\n")) == (True, True)
    assert log_files._render([]) == b""
