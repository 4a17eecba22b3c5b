"""When a terminal's client is let go of, by the test's clock."""

from __future__ import annotations

import asyncio
import types
from typing import cast

import pytest

from pilot.agent import quiet
from pilot.agent.session import Session
from pilot.server.call import WebSocket
from pilot.wire import exec_frames, faults, http, websocket


class Terminal:
    """A session that is used at these times. `pause` takes the time to where it is asked to, and no further."""

    def __init__(self, *used_at_s: float) -> None:
        self.touched_s = 100.0
        self.now_s = 100.0
        self.kept_at_s: float | None = None
        self._used_at_s = list(used_at_s)

    async def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
        while self._used_at_s and self._used_at_s[0] <= self.now_s:
            self.touched_s = self._used_at_s.pop(0)

    def keep(self) -> None:
        self.kept_at_s = self.now_s


def _let_go_at(terminal: Terminal, limit_s: float) -> float | None:
    watch = quiet.Quiet(cast(Session, terminal), limit_s, lambda: terminal.now_s, terminal.pause)
    asyncio.run(watch.wait())
    return terminal.kept_at_s


@pytest.mark.parametrize(
    ("used_at_s", "at_s"),
    [
        ((), 1000.0),
        ((101.0,), 1001.0),
        ((999.0,), 1899.0),
        ((1000.5,), 1000.0),  # too late
        (tuple(float(each) for each in range(160, 100_000, 60)), 99_940.0 + 900),  # a line a minute
    ],
)
def test_it_is_let_go_of_when_it_was_not_used_for_so_long(used_at_s: tuple[float, ...], at_s: float) -> None:
    assert _let_go_at(Terminal(*used_at_s), 900.0) == at_s


def test_nothing_is_watched_without_a_limit_a_terminal_or_a_command_that_runs() -> None:
    def session(*, tty: bool) -> Session:
        made = Session.__new__(Session)
        made.meta = types.SimpleNamespace(tty=tty)  # type: ignore[assignment]
        return made

    assert quiet.of(session(tty=True), None) is None
    assert quiet.of(session(tty=False), 900.0) is None
    assert quiet.of(object(), 900.0) is None
    assert quiet.of(session(tty=True), 900.0) is not None


@pytest.mark.parametrize(
    ("text", "limit_s"), [(None, None), ("", None), ("0", None), ("0s", None), ("900000ms", 900.0), ("15m", 900.0)]
)
def test_the_limit_is_a_duration_and_none_is_never(text: str | None, limit_s: float | None) -> None:
    assert quiet.limit_s(_request(text)) == limit_s


def test_a_limit_beyond_all_bounds_is_one_that_can_be_waited_for() -> None:
    assert quiet.limit_s(_request("9" * 400)) == quiet.MOST_S


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e3", "15 m"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(faults.InvalidRequest, match="detach_after: invalid duration"):
        quiet.limit_s(_request(text))


class Heard:
    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []

    async def close(self, code: int, reason: str) -> None:
        self.said.append((code, reason))


@pytest.mark.parametrize(
    ("limit_s", "told"), [(900.0, "15 min"), (60.0, "1 min"), (90.0, "90 s"), (0.5, "0.5 s"), (1e9, "1e+09 s")]
)
def test_the_goodbye_fits_a_close_frame_whole(limit_s: float, told: str) -> None:
    terminal, heard = Terminal(), Heard()
    terminal.meta = types.SimpleNamespace(id="1234567890")  # type: ignore[attr-defined]
    asyncio.run(quiet.Quiet(cast(Session, terminal), limit_s).tell(cast(WebSocket, heard)))
    reason = f"detached: no input or output for {told}; attach to session 1234567890 to go on"
    assert heard.said == [(exec_frames.CLOSE_DETACHED, reason)]
    frames = websocket.WebSocket(websocket.Side.SERVER)
    frames.close(*heard.said[0])
    assert reason.encode() in frames.take_output()


def _request(text: str | None) -> http.Request:
    return http.Request("GET", "/v1/exec", "/v1/exec", {} if text is None else {quiet.PARAMETER: [text]}, {})
