"""`pilot machine`: status, ps and exec through the contract alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from pilot import errors
from pilot.machine import main
from pilot.wire import faults
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
