"""A virtual machine's life by the pilot API: containers of a Debian, another agent, deaths of it, a clean end; and then
every promise of the contract.

As `tests/kernel/test_whole_machine.py`; here nobody outside can kill the agent, so the newer one dies by itself.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.test_whole_machine import (
    NAMES,
    NEWER,
    Told,
    ends_told,
    in_terminal,
    settled,
    until_gone,
    wanted,
)
from tests.support import agents, mortal
from tests.support.pilotd import Pilotd

from pilot import errors
from pilot.conformance import main
from pilot.host.vmm.qemu import background
from pilot.machine.pilot_api import PilotApi
from pilot.wire import operations, schema

pytestmark = [
    pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space", "vm-tests"),
    pytest.mark.timeout(2400),
]
_DEATHS = 2


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("whole")
        made.run("true", check=True)
        yield made
        made.destroy()


def dial_of(pilotd: Pilotd) -> str:
    """Of its one machine, which runs."""
    (path,) = (pilotd.state / "machines").glob("*/dial.sock")
    return str(path)


def test_the_whole_life(pilotd: Pilotd, sprite: Any, tmp_path: Path) -> None:
    dial = dial_of(pilotd)
    place, api = Path(dial).parent, PilotApi(dial)
    api.call(operations.APPLY_GRAPH, wanted(mortal.ROOT))
    rows = settled(api)
    assert {name: row.restarts for name, row in rows.items()} == {"db": 0, "app": 1, "tail": 0}
    each_has_a_terminal(dial)
    # Another agent takes over, dies, and dies again.
    told = Told(dial)
    told.until(20)
    mortal.bring(sprite, api, tmp_path, NEWER, mean_s=1)
    told.until(20)
    assert agents.until_version(api, NEWER) == NEWER
    before = api.status().agent_restarts
    for _ in range(_DEATHS):
        die(api, told)
        told.until(20)
    assert agents.until_version(api, NEWER) == NEWER
    numbers = [int(line) for line in told.text.split(b"\n")[:-1]]
    assert numbers == list(range(len(numbers))), "no line was lost or told twice"
    assert [event.seq for event in told.events] == list(range(1, len(told.events) + 1))
    started = [event.restarts for event in told.events if event.type == "agent.started"]
    assert started == list(range(before + _DEATHS + 1))
    ours = sorted(str(each.container) for each in told.events if each.type == "container.started")
    assert [name for name in ours if name in NAMES] == ["app", "app", "db", "tail"], "nothing was started anew"
    assert {row.name: row.pid for row in api.call(operations.GET_GRAPH, None).containers} == {
        name: row.pid for name, row in rows.items()
    }
    each_has_a_terminal(dial)
    # The end: what has ended is told until it is acknowledged, and then the machine goes.
    ends = ends_told(api)
    assert ends == {"db": [(137, 9)], "app": [(3, None), (137, 9)], "tail": [(137, 9)]}
    assert [row.name for row in api.call(operations.LIST_CONTAINERS, None).containers] == ["world"]
    api.call(operations.SHUTDOWN, schema.ShutdownRequest())
    until_gone(api)
    assert background.wait_ended(str(place), 60), "the machine has gone by itself"
    console = (place / "console.log").read_text(errors="replace")
    assert "did not die" not in console, "all processes have ended"
    assert "sync has not ended" not in console


def test_it_is_woken_and_keeps_every_promise(pilotd: Pilotd, sprite: Any, capfd: pytest.CaptureFixture[str]) -> None:
    sprite.run("true", check=True)
    capfd.readouterr()
    status = main.main(["--dial", dial_of(pilotd), "--name", "whole", "--complete", "--json", "--timeout", "120"])
    document = json.loads(capfd.readouterr().out)
    assert [row for row in document["results"] if row["outcome"] == "unmet"] == []
    assert (document["isolation"], document["score"], status) == ("vm", 100, 0)


def die(api: PilotApi, told: Told) -> None:
    """One death of the agent, and its successor. That it is wanted is said again as long as nobody has answered, and
    no agent has come since: the one that was told may have died before it could answer."""
    seen, is_wanted = restarts(told), False
    while restarts(told) == seen:
        if not is_wanted:
            with contextlib.suppress(errors.PeerError):
                mortal.want_one(api)
                is_wanted = True
        told.until(1)


def restarts(told: Told) -> int:
    return max(event.restarts or 0 for event in told.events if event.type == "agent.started")


def each_has_a_terminal(dial: str) -> None:
    for name in NAMES:
        assert in_terminal(dial, name).split() == ["/dev/pts/0", "33", "99", "debian", name]
