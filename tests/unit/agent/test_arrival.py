"""Whether a start that a former agent had begun has come about, and what is told of one that was short."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from pilot.agent.events import Events
from pilot.agent.graph import arrival
from pilot.agent.graph.state import Process
from tests.support.fake_machine import FakeLink


@pytest.mark.parametrize(
    ("status", "came"), [("created", False), ("running", True), ("paused", True), ("stopped", True), (None, False)]
)
def test_one_that_has_ended_was_started(status: str | None, came: bool) -> None:
    """It waits at its barrier whoever dies: so it is `created` as long as nobody has started it."""
    instances = mock.MagicMock()
    instances.find.return_value = None if status is None else mock.MagicMock(status=lambda: status)
    assert asyncio.run(arrival.came_up(instances, "job", None, Process(4194304, 1))) is came


def test_the_start_of_one_that_has_ended_is_told_once() -> None:
    link = FakeLink()
    events = Events(link)
    events.restore()
    try:
        events.add_start_of_ended("job", 7)
        events.add("container.ended", "job", pid=7, exit_code=3, exit=1)
        # The agent has died before it wrote down that it had told so.
        events.add_start_of_ended("job", 7)
        events.add("container.ended", "job", pid=7, exit_code=3, exit=1)
        events.add_start_of_ended("job", 8)
        told = [(event.type, event.pid) for event in events.since(0)]
    finally:
        events.close()
        link.close()
    assert told == [("container.started", 7), ("container.ended", 7), ("container.started", 8)]
