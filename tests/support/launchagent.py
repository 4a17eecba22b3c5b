"""An agent under a real pilot-init that launches Programs as init's children, and writes down how they ended.

`python -m tests.support.launchagent RESULT`: RESULT gets one JSON document, then init is asked to end everything.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pilot import errors
from pilot.kernel import initlink, launcher, waiter
from pilot.plan import steps
from pilot.plan.abi import Namespace
from pilot.plan.program import Program


def _shell(script: str) -> steps.Execute:
    return steps.Execute(("/bin/sh",), ("sh", "-c", script), ())


PROGRAMS = {
    "exit": Program((_shell("exit 3"),)),
    "signal": Program((_shell("kill -9 $$"),)),
    "second stage": Program((steps.Spawn(Namespace.PID), steps.Barrier("b"), _shell("exit 4"))),
}


def _launch(program: Program, records: waiter.InitRecords) -> list[object]:
    parents = []

    def on_barrier(name: str, process: launcher.Spawned) -> None:
        parents.append(_parent(process.pid))

    spawned = launcher.launch(program, descriptors={}, waiter=records, on_barrier=on_barrier, timeout_s=30)
    status = records.wait(spawned, 30)
    os.close(spawned.pid_fd)
    return [status.code, status.signal, parents]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main() -> None:
    link = initlink.InitLink.from_environment()
    records = waiter.InitRecords(link)
    found: dict[str, object] = {name: _launch(program, records) for name, program in PROGRAMS.items()}
    try:
        launcher.launch(Program((steps.ChangeDirectory("/not/there"),)), descriptors={}, waiter=records)
    except errors.StepError as error:
        found["refused"] = str(error)
    found["left"] = [record.pid for record in link.read_records()]
    Path(sys.argv[1]).write_text(json.dumps(found))
    link.shutdown()


if __name__ == "__main__":
    main()
