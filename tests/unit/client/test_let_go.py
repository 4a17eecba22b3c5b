"""A server that lets go of a quiet terminal's client, and what else ends a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from pilot import errors
from pilot.client import execution, websocket
from pilot.client.account import Account
from pilot.wire import exec_frames
from pilot.wire.websocket import Side
from pilot.wire.websocket import WebSocket as Frames

INFO = exec_frames.SessionInfo(session_id="7", command="cat", created=1, cols=80, rows=24, is_owner=True, tty=True)
QUIET = "detached: no input or output for 15 min; attach to session 7 to go on"
Ending = Callable[..., int]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ending]:
    """Run a command whose server says this and closes so; its exit status."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(websocket, "connect", lambda *_: websocket.WebSocket(ours, b""))

    def end(code: int, reason: str, *said: str | bytes, terminal: bool = True, **more: Any) -> int:
        frames = Frames(Side.SERVER)
        for each in said:
            frames.send(each)
        frames.close(code, reason)
        theirs.sendall(frames.take_output())
        return execution.run(cast(Account, None), "web", execution.Command(["cat"], terminal=terminal, **more))

    with theirs:
        yield end


@pytest.mark.parametrize(("more", "status"), [({"detachable": True}, 0), ({"session": "7"}, 0), ({}, 1)])
def test_it_is_a_detach_that_says_why_and_how_to_go_on(
    ending: Ending, capsys: pytest.CaptureFixture[str], more: dict[str, Any], status: int
) -> None:
    """A success only for whoever did not wait for the command's end, which is not known."""
    assert ending(exec_frames.CLOSE_DETACHED, QUIET, exec_frames.text(INFO), **more) == status
    told = "detached: no input or output for 15 min; it runs on: sprite attach -s web 7\n"
    assert capsys.readouterr().err.removeprefix("\n") == told


def test_an_exit_that_was_said_before_counts(ending: Ending) -> None:
    exit = exec_frames.text(exec_frames.Exit(3))
    assert ending(exec_frames.CLOSE_DETACHED, QUIET, exec_frames.text(INFO), exit) == 3


@pytest.mark.parametrize(
    ("code", "reason", "terminal"),
    [
        (exec_frames.CLOSE_DETACHED, "", True),  # as proxies say that they go away
        (exec_frames.CLOSE_DETACHED, "going away", True),
        (1011, QUIET, True),
        (exec_frames.CLOSE_DETACHED, QUIET, False),
    ],
)
def test_any_other_end_before_the_exit_is_an_error(ending: Ending, code: int, reason: str, terminal: bool) -> None:
    said = [exec_frames.text(INFO)] if terminal else []
    with pytest.raises(errors.PeerError, match=reason or "ended before"):
        ending(code, reason, *said, terminal=terminal)
