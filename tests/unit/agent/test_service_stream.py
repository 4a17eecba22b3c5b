"""What a service has said, as text: whole characters and lines, however its log was cut into pieces."""

from __future__ import annotations

import asyncio
import base64
import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.agent.graph.state import Node
from pilot.agent.output import Changed
from pilot.agent.services import api
from pilot.agent.services.stream import Telling, Watch
from pilot.server.call import Call
from pilot.wire.graph import LogPiece, Output
from pilot.wire.services import ServiceEvent

TIME = "2026-01-02T03:04:05.000000Z"


def piece(data: bytes, stream: Output = "stdout", dropped: int = 0) -> LogPiece:
    """As the log tells it: what is no text by itself is base64."""
    try:
        return LogPiece(time=TIME, stream=stream, offset=0, text=data.decode(), dropped=dropped)
    except UnicodeDecodeError:
        return LogPiece(time=TIME, stream=stream, offset=0, base64=base64.b64encode(data).decode(), dropped=dropped)


def told(telling: Telling, *pieces: LogPiece) -> str:
    events = [event for each in pieces if (event := telling.event(each)) is not None]
    assert all(event.data for event in events), "none that says nothing"
    return "".join(event.data or "" for event in events)


@given(text=st.text(max_size=50), cuts=st.lists(st.integers(0, 200), max_size=20))
def test_text_is_the_same_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode(errors="replace")
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [piece(data[begin:end]) for begin, end in itertools.pairwise(places)]
    assert told(Telling(), *pieces) == data.decode()


def test_the_streams_are_two_texts() -> None:
    parts = [piece(b"\xe2\x82"), piece(b"\xc3", "stderr"), piece(b"\xac"), piece(b"\xa9", "stderr")]
    assert told(Telling(), *parts) == "€é"


def test_what_is_no_text_is_shown_as_far_as_it_is() -> None:
    assert told(Telling(), piece(b"a\xffb"), piece(b"\xe2"), piece(b"c")) == "a\ufffdb\ufffdc"


def test_what_was_given_up_does_not_begin_a_character() -> None:
    assert told(Telling(), piece(b"\xe2\x82"), piece(b"later", dropped=100)) == "later"


@pytest.mark.parametrize(
    ("said", "lines", "left"),
    [
        (["a\nb\n", "c\n"], 2, "b\nc\n"),
        (["a\n", "10 %\r20 %\r30 %\n"], 1, "10 %\r20 %\r30 %\n"),
        (["a\n", "b\x0c\x85\u2028c\n"], 1, "b\x0c\x85\u2028c\n"),
        (["a\nb"], 1, "b"),
        (["a\n"], 0, ""),
    ],
)
def test_the_last_lines_are_those_that_tail_would_show(said: list[str], lines: int, left: str) -> None:
    events = [ServiceEvent(type="stdout", timestamp=0, data=each) for each in said]
    assert "".join(each.data or "" for each in api._last(events, lines)) == left


class _Leaves(Call):
    """A client that goes when it has heard nothing for a moment."""

    def __init__(self) -> None:
        self.request = cast(Any, SimpleNamespace(path="/v1/services/web/logs"))
        self.left = asyncio.Event()

    async def wait_gone(self) -> None:
        await self.left.wait()


def test_who_has_gone_is_told_no_more_of_a_service_that_says_nothing() -> None:
    async def follow() -> None:
        log = SimpleNamespace(changed=Changed(), place=lambda _since: None, read=lambda _place: [])
        supervisor = SimpleNamespace(changed=Changed(), log=lambda _name: log)
        keeper = cast(Any, SimpleNamespace(supervisor=supervisor, node=lambda _entry: (Node(), None)))
        call = _Leaves()
        watch = Watch(keeper, "web", cast(Any, SimpleNamespace(container="web")))
        following = asyncio.ensure_future(anext(aiter(api._logs(call, watch, None, api.MOST_S))))
        await asyncio.sleep(0)
        call.left.set()
        async with asyncio.timeout(30):
            await following

    with pytest.raises(errors.PeerError):
        asyncio.run(follow())
