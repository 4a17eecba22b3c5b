"""A bare machine, driven by `pilot machine` alone: start, run, ps, logs, exec, events, stop."""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Iterator

import pytest
from tests.support import agents, busybox, underinit

from pilot import errors
from pilot.bare import main
from pilot.machine.pilot_api import PilotApi

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns", "space")

EXAMPLE = underinit.ROOT / "examples" / "graph.yaml"


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    place = tmp_path / "machine"
    yield place
    print((place / "machines" / "machine" / "console.log").read_text())
    assert main.main(["stop", str(place)]) == 0
    assert os.listdir(place) == []


def _machine(dial: str, *words: str) -> int:
    return main.main(["--dial", dial, *words])


def test_the_whole_way(directory: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = busybox.make_rootfs(tmp_path)
    (root / "etc" / "mine").write_text("of the host's root")
    for _ in range(2):  # the second time it is there already
        assert main.main(["start", str(directory), "--root", f"debian={root}"]) == 0
    dial = str(directory / "dial.sock")
    assert capfd.readouterr().out.splitlines() == [dial, dial]
    assert _machine(dial, "run", str(EXAMPLE)) == 0
    rows = [line.split()[:3] for line in capfd.readouterr().out.splitlines()[1:]]
    assert rows == [["greet", "exited", "it"], ["show", "running", "(healthy)"]]
    assert _machine(dial, "logs", "show") == 0
    assert capfd.readouterr().out == "hello from greet\n"
    assert _machine(dial, "exec", "--container", "show", "--", "sh", "-c", "stat -c %u /etc/mine; exit 5") == 5
    assert capfd.readouterr().out == "0\n", "what is root's here is root's there"
    network = "ls /sys/class/net; wc -l </proc/net/route"
    assert _machine(dial, "exec", "--container", "show", "--", "sh", "-c", network) == 0
    assert capfd.readouterr().out == "lo\n1\n", "it has no network but itself"
    assert _machine(dial, "ps") == 0
    listed = capfd.readouterr().out
    assert "greet" in listed
    assert "show" in listed
    assert _machine(dial, "events") == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    of_greet = [event["type"] for event in told if event.get("container") == "greet"]
    assert of_greet == ["container.started", "container.ended"]
    (root / "etc" / "mine").unlink()  # the host's files stay the host's


def test_what_is_wrong_is_said_in_a_line(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.HostError, match="no such file"):
        main.main(["start", str(directory), "--root", f"none={tmp_path}/none"])
    dial = str(directory / "dial.sock")
    cycle = tmp_path / "cycle.json"
    one = {"root": "x", "command": ["true"], "depends_on": [{"name": "two"}]}
    cycle.write_text(json.dumps({"containers": {"one": one, "two": {**one, "depends_on": [{"name": "one"}]}}}))
    with pytest.raises(errors.PilotError, match="one → two → one"):
        _machine(dial, "run", str(cycle))
    cycle.write_text(json.dumps({"containers": {"one": {"command": 5}}}))
    with pytest.raises(errors.SpecError, match=r"\$\.containers\[0\]\.command"):
        _machine(dial, "run", str(cycle))
    with pytest.raises(errors.NotFound):
        _machine(dial, "logs", "nobody")


def test_nothing_is_lost_when_the_agent_is_killed(
    directory: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a user namespace, where the machine may do less: lines, ends and events over deaths of the agent."""
    root = busybox.make_rootfs(tmp_path)
    assert main.main(["start", str(directory), "--root", f"debian={root}"]) == 0
    dial = str(directory / "dial.sock")
    count = ["sh", "-c", "n=0; while :; do echo $n; n=$((n+1)); sleep 0.02; done"]
    restart = {"first_delay_s": 0.05, "most_delay_s": 0.05}
    graph = {"count": {"root": "debian", "command": count, "stop": {"signal": "KILL"}},
             "crash": {"root": "debian", "command": ["sh", "-c", "exit 4"], "restart": restart}}  # fmt: skip
    wanted = tmp_path / "graph.json"
    wanted.write_text(json.dumps({"containers": graph}))
    assert _machine(dial, "run", "--timeout", "0", str(wanted)) == 1  # one of them is not well
    numbers: list[int] = []
    for turn in range(1, 5):
        while len(numbers) < 10 * turn:
            capfd.readouterr()
            assert _machine(dial, "logs", "count") == 0
            numbers = [int(line) for line in capfd.readouterr().out.splitlines()]
            time.sleep(0.02)
        if turn < 4:
            assert agents.kill_agent()
            _until_answered(dial)
    assert numbers == list(range(len(numbers)))
    assert _machine(dial, "events") == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    ends = [event["exit"] for event in told if event["type"] == "container.ended"]
    assert ends == list(range(1, len(ends) + 1))
    assert len([event for event in told if event["type"] == "agent.started"]) == 4
    assert len([event for event in told if event.get("container") == "count"]) == 1, "it was started once"


def _until_answered(dial: str) -> None:
    while True:
        try:
            PilotApi(dial).status()
        except errors.PeerError:
            continue  # it was killed in the middle of it
        return
