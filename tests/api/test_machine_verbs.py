"""`pilot machine`: status, ps and exec through the contract alone."""

from __future__ import annotations

import asyncio
import json
import pathlib

import pytest

from pilot import errors
from pilot.machine import graph_file, main
from pilot.wire import faults, graph
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


def _main(machine: FakeMachine, *words: str) -> int:
    async def test() -> int:
        async with machine.agent() as app:
            try:
                return await asyncio.to_thread(main.main, ["--dial", machine.dial_path, *words])
            finally:
                await app.sessions.end_all()

    return asyncio.run(test())


def test_status_and_ps(machine: FakeMachine, capfd: pytest.CaptureFixture[str]) -> None:
    assert _main(machine, "status") == 0
    assert json.loads(capfd.readouterr().out)["world"] == "running"
    assert _main(machine, "ps") == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert rows[0] == ["KIND", "NAME", "STATUS", "WHAT"]
    assert rows[1][:3] == ["container", "world", "running"]


def test_exec_has_the_output_and_the_status_of_the_command(
    machine: FakeMachine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _main(machine, "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7") == 7
    said = capfd.readouterr()
    assert (said.out, said.err) == ("out\n", "err\n")


def test_what_the_machine_refuses_is_the_error_that_was_meant(machine: FakeMachine) -> None:
    with pytest.raises(faults.CommandNotFound):
        _main(machine, "exec", "/no/such/program")
    with pytest.raises(errors.PeerError):
        main.main(["--dial", "/no/such.sock", "status"])


def test_a_graph_is_run_and_its_logs_and_events_are_told(
    machine: FakeMachine, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = tmp_path / "graph.yaml"
    wanted.write_text(
        "containers:\n"
        "  good: {within: world, cwd: /, command: [sh, -c, 'echo out; echo err >&2'], restart: {policy: 'no'}}\n"
        "  bad: {within: world, cwd: /, command: [sh, -c, 'exit 3'], restart: {policy: 'no'},\n"
        "        depends_on: [{name: good, condition: exited_successfully}]}\n"
    )
    dial = ["--dial", machine.dial_path]

    async def test() -> None:
        async with machine.agent() as app:
            table: list[str] = []
            while ["bad", "exited"] not in [line.split()[:2] for line in table]:  # it runs for a moment, which is well
                status = await asyncio.to_thread(main.main, [*dial, "run", str(wanted)])
                table = capfd.readouterr().out.splitlines()
            assert status == 1
            assert [line.split()[:2] for line in table[1:]] == [["bad", "exited"], ["good", "exited"]]
            assert "ended with code 3" in table[1]
            assert await asyncio.to_thread(main.main, [*dial, "logs", "good"]) == 0
            said = capfd.readouterr()
            assert (said.out, said.err) == ("out\n", "err\n")
            assert await asyncio.to_thread(main.main, [*dial, "events", "--since", "1"]) == 0
            told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
            assert [row["seq"] for row in told] == list(range(2, 2 + len(told)))
            assert [row["exit_code"] for row in told if row["type"] == "container.ended"] == [0, 3]
            await app.graph.drain()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"containers": [{"name": "a", "command": "x"}]}', "$.containers[0].command"),
        ('{"containers": [{"name": "a", "command": [], "root": {"path": "/x", "write": 1}}]}', "$.containers[0].root"),
        ('{"containers": ', "$"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_by_its_path(text: str, path: str) -> None:
    with pytest.raises(errors.SpecError) as refused:
        graph_file.parse(text.encode(), "graph.json")
    assert refused.value.path == path


def test_roots_and_names_may_be_written_short() -> None:
    text = b'{"containers": {"a": {"command": ["x"], "root": "debian"}}, "volumes": {"v": null}}'
    found = graph_file.parse(text, "graph.json")
    assert found.containers[0].root == graph.Root(path="/run/disks/debian")
    assert (found.containers[0].name, found.volumes[0].name) == ("a", "v")
