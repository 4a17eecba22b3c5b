"""Commands of a sprite's clients are in its world, whatever their query says."""

from __future__ import annotations

import pytest

from pilot.host.relay import worlds
from pilot.wire import faults, operations
from pilot.wire.permissions import Permission

OF_COMMANDS = [row for row in operations.OPERATIONS if row.permission is Permission.EXEC]


@pytest.mark.parametrize("row", OF_COMMANDS, ids=lambda row: row.id)
@pytest.mark.parametrize(
    "query", ["", "cmd=true", "container=world&cmd=true", "%63ontainer=world", "cmd=%26container%3Dweb"]
)
def test_the_world_is_named_first(row: operations.AnyOperation, query: str) -> None:
    asked = worlds.query_for(row, query)
    assert asked.startswith("container=world")
    assert asked.endswith(query)


@pytest.mark.parametrize("row", OF_COMMANDS, ids=lambda row: row.id)
@pytest.mark.parametrize(
    "query", ["container=web", "cmd=x&container=web", "%63ontainer=web", "container=world&container=web", "container="]
)
def test_another_container_is_refused(row: operations.AnyOperation, query: str) -> None:
    with pytest.raises(faults.PermissionDenied):
        worlds.query_for(row, query)


def test_other_calls_are_asked_as_they_are() -> None:
    assert worlds.query_for(operations.READ_FILE, "path=/x&container=web") == "path=/x&container=web"
