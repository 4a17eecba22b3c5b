"""The agent is killed in the middle of operations: the short form of `make agent-kills` (docs/reference/chaos.md)."""

from __future__ import annotations

import pathlib

import pytest
from tests.faults import agent_kills

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns", "space")


def test_nothing_is_lost_or_told_twice(tmp_path: pathlib.Path) -> None:
    """A dozen of operations takes seconds: the deaths are what it is about, and each is a start of Python."""
    result = agent_kills.run(tmp_path, 15, seed=4)
    assert result.wrong == []
    assert result.kills > 0
    assert sum(result.operations.values()) == 15
