"""What the Machines API may ask of what runs in a Machine. Its agent is asked: each call takes as long as that."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from ... import errors
from ...machine.pilot_api import PilotApi
from ...wire import faults, graph, operations
from ..fly import checks as fly_checks
from ..fly import config as configs
from ..fly.checks import Found
from ..fsm.engine import Ended, Engine
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_requests import Limit
from ..store import machines as rows
from ..store.fly import Machine

LEAST_BYTES = 64 << 20


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

    def api(self, row: Machine) -> PilotApi:
        if row.state != "started":
            raise errors.StateError(f"machine not running, currently {row.state}")
        return PilotApi(self._host.substrate(row.id).dial_path(row.id))

    def signal(self, row: Machine, nonce: str | None, signal: str) -> None:
        """To the first process of each container that runs; `StateError` when none does."""
        self._check_lease(row, nonce)
        api = self.api(row)
        running = _running(api)
        if not running:
            raise errors.StateError("no container runs")
        for name in running:
            api.call(operations.KILL_CONTAINER, graph.SignalRequest(signal=signal), name=name)

    def every(self, row: Machine) -> list[Process]:
        """Of all containers that run."""
        api, found = self.api(row), []
        for name in _running(api):
            told = api.call(operations.LIST_PROCESSES, None, name=name)
            found += [Process(name, each) for each in told.processes]
        return found

    def checks(self, row: Machine) -> list[Found]:
        """What its checks have found. It fails for nothing that its agent does, or that happens to it meanwhile."""
        config = configs.parse(row.config)
        told = None
        if (config.checks or config.services) and row.state == "started":
            with contextlib.suppress(errors.PilotError):  # that nothing is known is what is told of them then
                told = self.api(row).call(operations.GET_GRAPH, None)
        return fly_checks.found(config, told)

    def memory(self, row: Machine) -> Memory:
        self.api(row)
        limit_bytes = rows.find(self._host.database, row.id).memory_bytes
        usage = self._host.substrate(row.id).usage(row.id)
        if usage is None:
            raise errors.StateError("machine not running")
        return Memory(limit_bytes, max(limit_bytes - usage.memory_bytes, 0))

    def limit(self, row: Machine, nonce: str | None, limit_bytes: int) -> Ended:
        """Until its next start. `InvalidRequest` for more than its config says."""
        self._check_lease(row, nonce)
        self.api(row)
        most_bytes = configs.size(configs.parse(row.config)).memory_bytes
        if not LEAST_BYTES <= limit_bytes <= most_bytes:
            raise faults.InvalidRequest(f"limit_mb: from {LEAST_BYTES >> 20} to the {most_bytes >> 20} of its config")
        return self._engine.start(requests.LIMIT, row.id, Limit(limit_bytes))


def _running(api: PilotApi) -> list[str]:
    """Names."""
    told = api.call(operations.GET_GRAPH, None)
    return [each.name for each in told.containers if each.status in ("running", "stopping")]
