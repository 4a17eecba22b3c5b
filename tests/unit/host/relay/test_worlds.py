"""Commands of a sprite's clients are in its world, whatever their query says."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from pilot.host.relay import worlds
from pilot.wire import duration, faults, operations
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


WITH_TERMINALS = (operations.OPEN_SESSION, operations.ATTACH_SESSION)


@pytest.mark.parametrize("row", WITH_TERMINALS, ids=lambda row: row.id)
@pytest.mark.parametrize("query", ["", "tty=true", "detach_after=9h", "%64etach_after=9h&detach_after=0"])
def test_how_long_a_terminal_may_be_quiet_is_said_before_what_the_client_says(
    row: operations.AnyOperation, query: str
) -> None:
    asked = worlds.query_for(row, query, 900.0)
    assert asked.startswith("container=world&detach_after=900000ms")
    assert asked.endswith(query)
    assert parse_qs(asked)["detach_after"][0] == "900000ms", "the machine takes the first"
    assert duration.parse_duration_s("900000ms") == 900
    for seconds in (0.001, 1e9):
        said = parse_qs(worlds.query_for(row, query, seconds))["detach_after"][0]
        assert duration.parse_duration_s(said) == seconds
    assert parse_qs(worlds.query_for(row, query, 1e-9))["detach_after"][0] == "1ms", "not 0, which is never"


@pytest.mark.parametrize("row", OF_COMMANDS, ids=lambda row: row.id)
def test_nothing_is_said_of_it_where_it_is_off_or_there_is_no_terminal(row: operations.AnyOperation) -> None:
    assert worlds.query_for(row, "", 0.0) == "container=world"
    if row not in WITH_TERMINALS:
        assert worlds.query_for(row, "", 900.0) == "container=world"


def test_other_calls_are_asked_as_they_are() -> None:
    assert worlds.query_for(operations.READ_FILE, "path=/x&container=web") == "path=/x&container=web"
