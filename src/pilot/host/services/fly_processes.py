"""What the Machines API may ask of what runs in a Machine.

Its agent is asked, which may say nothing: whatever asks it has a deadline, and threads apart from all else (`ask`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

from ... import errors
from ...machine.pilot_api import GRACE_S, PilotApi
from ...wire import faults, graph, operations
from ..fly import checks as fly_checks
from ..fly import config as configs
from ..fly import containers
from ..fly.checks import Found
from ..fsm.engine import Ended, Engine
from ..operations import fly_logs
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_requests import Limit
from ..store import fly
from ..store import machines as rows
from ..store.fly import Machine
from . import fly_exec
from .threads import Threads

LEAST_BYTES = 64 << 20
ASKED_S = operations.QUICK_S + GRACE_S  # all that is asked of a Machine's agent for one call
CHECKS_S = 2.0  # to find out what the checks of all that are listed have found
_MOST, _MOST_OF_AN_APP = 64, 16
_MOST_COMMANDS, _MOST_COMMANDS_OF_AN_APP = 128, 32  # which last
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Process:
    container: str
    row: graph.ProcessRow


@dataclasses.dataclass(frozen=True)
class Memory:
    limit_bytes: int
    available_bytes: int


class FlyProcesses:
    """`StateError` for a Machine that does not run, in all of them. `check_lease`: whether it may be changed."""

    def __init__(self, host: Host, engine: Engine, check_lease: Callable[[Machine, str | None], None]) -> None:
        self._host = host
        self._engine = engine
        self._check_lease = check_lease
        self._asking = Threads("ask a machine", _MOST, _MOST_OF_AN_APP)
        self._commands = Threads("exec", _MOST_COMMANDS, _MOST_COMMANDS_OF_AN_APP)
        self._checking = Threads("ask for checks", _MOST, _MOST_OF_AN_APP)

    async def ask(self, row: Machine, work: Callable[[], T]) -> T:
        """What `work`, which waits for that machine's agent, returns. `Exhausted` when its app has too much of it."""
        return await self._asking.at_once(row.app, work)

    async def run(self, row: Machine, command: fly_exec.Command) -> fly_exec.Result:
        """As `fly_exec.run`; a use of the Machine. `Exhausted` when its app has as many under way as it may."""
        return await self._commands.at_once(row.app, lambda: self._run(row, command))

    def _run(self, row: Machine, command: fly_exec.Command) -> fly_exec.Result:
        with self._host.uses.using(row.id):  # counted before it is asked whether it runs, as `Places` has it
            return fly_exec.run(self.dial_path(fly.by_id(self._host.database, row.id)), command)

    def api(self, row: Machine, end_s: float | None = None) -> PilotApi:
        """Of its agent, until then; of itself for `ASKED_S`."""
        return PilotApi(self.dial_path(row), time.monotonic() + ASKED_S if end_s is None else end_s)

    def last_logs(self, row: Machine) -> list[fly_logs.Line]:
        """Of one that is stopped, or has failed: what its containers wrote last. `StateError` for another."""
        if row.state not in ("stopped", "failed"):
            self._check_runs(row)
        return fly_logs.read(self._host, row.id)

    def dial_path(self, row: Machine) -> str:
        """Of its agent."""
        self._check_runs(row)
        return self._host.substrate(row.id).dial_path(row.id)

    def _check_runs(self, row: Machine) -> None:
        if row.state != "started":
            raise errors.StateError(f"machine not running, currently {row.state}")

    def signal(self, row: Machine, nonce: str | None, signal: str) -> None:
        """To the first process of each container that runs; `StateError` when none does. For `ask`."""
        self._check_lease(row, nonce)
        api = self.api(row)
        running = _running(api, row)
        if not running:
            raise errors.StateError("no container runs")
        for name in running:
            api.call(operations.KILL_CONTAINER, graph.SignalRequest(signal=signal), name=name)

    def every(self, row: Machine) -> list[Process]:
        """Of all containers that run. For `ask`."""
        api, found = self.api(row), []
        for name in _running(api, row):
            told = api.call(operations.LIST_PROCESSES, None, name=name)
            found += [Process(name, each) for each in told.processes]
        return found

    async def checks(self, row: Machine, end_s: float) -> list[Found]:
        """What its checks have found, by then. It fails for nothing that its agent does, or that happens to it."""
        config = configs.parse(row.config)
        told = None
        if (config.checks or config.services) and row.state == "started":
            # That nothing is known is what is told of them else.
            with contextlib.suppress(errors.PilotError, TimeoutError):
                async with asyncio.timeout(end_s - time.monotonic()):
                    told = await self._checking.in_turn(row.app, lambda: self._graph(row, end_s))
        return fly_checks.found(config, told)

    def _graph(self, row: Machine, end_s: float) -> graph.GraphStatus:
        return self.api(row, end_s).call(operations.GET_GRAPH, None)

    def memory(self, row: Machine) -> Memory:
        self._check_runs(row)
        limit_bytes = rows.find(self._host.database, row.id).memory_bytes
        usage = self._host.substrate(row.id).usage(row.id)
        if usage is None:
            raise errors.StateError("machine not running")
        return Memory(limit_bytes, max(limit_bytes - usage.memory_bytes, 0))

    def limit(self, row: Machine, nonce: str | None, limit_bytes: int) -> Ended:
        """Until its next start. `InvalidRequest` for more than its config says."""
        self._check_lease(row, nonce)
        self._check_runs(row)
        most_bytes = configs.size(configs.parse(row.config)).memory_bytes
        if not LEAST_BYTES <= limit_bytes <= most_bytes:
            raise faults.InvalidRequest(f"limit_mb: from {LEAST_BYTES >> 20} to the {most_bytes >> 20} of its config")
        return self._engine.start(requests.LIMIT, row.id, Limit(limit_bytes))


def _running(api: PilotApi, row: Machine) -> list[str]:
    """Of its own containers, which no machine can make more."""
    told = api.call(operations.GET_GRAPH, None)
    running = {each.name for each in told.containers if each.status in ("running", "stopping")}
    return [name for name in containers.names(configs.parse(row.config)) if name in running]
