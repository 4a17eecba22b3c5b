"""Endpoints of one container that runs, by its name, the user's world among them: signals, pause, what it uses, wait.

Stopping for good and starting are the graph's (`agent/graph`): one that is killed here has ended by itself.
"""

from __future__ import annotations

import asyncio
import os

from ... import errors
from ...kernel import cgroup_stats, process
from ...server import response
from ...server.call import Call
from ...server.routing import Route
from ...wire import faults, graph, operations, schema, timestamps
from .. import signal_names
from ..decimals import parse_decimal
from ..machine import Inner, status_of
from . import naming
from .exits import Exit
from .registry import Registry

MOST_WAIT_S = 50
_NO_LIMIT = 1 << 62
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")


class VerbsApi:
    """What is done to a container, and asked of it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def routes(self) -> list[Route]:
        return [
            Route(operations.KILL_CONTAINER, self.kill),
            Route(operations.PAUSE_CONTAINER, self.pause),
            Route(operations.RESUME_CONTAINER, self.resume),
            Route(operations.GET_STATS, self.stats),
            Route(operations.LIST_PROCESSES, self.processes),
            Route(operations.WAIT_CONTAINER, self.wait),
        ]

    async def kill(self, call: Call) -> response.Response:
        """Send a signal."""
        request = await call.asked(operations.KILL_CONTAINER)
        number, name = signal_names.parse_signal(request.signal), _name(call)
        if self._registry.is_within(name):
            self._registry.signal(name, number)
        else:
            await asyncio.to_thread(self._registry.find(name).kill, number, request.all)
        return response.Response(204)

    async def pause(self, call: Call) -> response.Response:
        """Freeze all of its processes; idempotent."""
        await asyncio.to_thread(_pause, self._find(call))
        return response.Response(204)

    async def resume(self, call: Call) -> response.Response:
        """Let them go on; idempotent."""
        await asyncio.to_thread(_resume, self._find(call))
        return response.Response(204)

    async def stats(self, call: Call) -> response.Response:
        """What it has used."""
        container = self._find(call)
        return response.json(plan_stats(await asyncio.to_thread(container.stats)))

    async def processes(self, call: Call) -> response.Response:
        """Its processes."""
        container = self._find(call)
        rows = await asyncio.to_thread(_rows, container)
        return response.json(graph.ProcessList(processes=rows))

    async def wait(self, call: Call) -> response.Response:
        """The oldest end that is kept and comes after the exit `after`: at once, or when there is one."""
        name = _name(call)
        after = parse_decimal(call.request.first("after", "0"))
        if after is None:
            raise faults.InvalidRequest(f"after: {call.request.first('after')!r} is no number of an exit")
        wait_s = call.request.number("timeout", MOST_WAIT_S, 0, MOST_WAIT_S)
        self._require_known(name)
        try:
            async with asyncio.timeout(wait_s):
                while (found := self._exit_after(name, after)) is None:
                    await asyncio.shield(self._registry.changed.next())
        except TimeoutError as error:
            raise faults.DeadlineExceeded(f"wait for {name}: it has not ended within {wait_s} s") from error
        return response.json(row_of(found))

    def _find(self, call: Call) -> Inner:
        name = _name(call)
        if self._registry.is_within(name):
            raise errors.StateError(f"{name} is a process in another container, and has no cgroup of its own")
        return self._registry.find(name)

    def _require_known(self, name: str) -> None:
        if self._registry.pid(name) is None and not self._registry.exits.of(name):
            raise errors.NotFound(f"no container runs, or has ended, that is called {name!r}")

    def _exit_after(self, name: str, seq: int) -> Exit | None:
        return next((each for each in self._registry.exits.of(name) if each.seq > seq), None)


def row_of(exit_: Exit) -> schema.ContainerExit:
    """As it is told."""
    ended = timestamps.of_s(exit_.ended)
    return schema.ContainerExit(
        seq=exit_.seq, pid=exit_.pid, exit_code=exit_.exit_code, ended=ended, signal=exit_.signal
    )  # fmt: skip


def plan_stats(stats: cgroup_stats.Stats) -> graph.ContainerStats:
    """The runtime's document, in fewer words."""
    memory, pids = stats.memory, stats.pids
    return graph.ContainerStats(
        cpu_ns=stats.cpu.usage.total,
        memory_bytes=memory.usage.usage,
        memory_peak_bytes=memory.usage.max,
        processes=pids.current,
        throttled_ns=stats.cpu.throttling.throttled_time,
        memory_limit_bytes=memory.usage.limit if 0 < memory.usage.limit < _NO_LIMIT else None,
        processes_limit=pids.limit or None,
        cpu_pressure=_pressure(stats.cpu.psi),
        memory_pressure=_pressure(memory.psi),
        io_pressure=_pressure(stats.blkio.psi),
    )


def _pressure(psi: object) -> graph.Pressure | None:
    if not isinstance(psi, cgroup_stats.Psi) or psi.some is None:
        return None
    full = psi.full or cgroup_stats.Pressure(avg10=0.0, avg60=0.0, avg300=0.0, total=0)
    return graph.Pressure(
        some_avg10=psi.some.avg10, some_avg60=psi.some.avg60, full_avg10=full.avg10, full_avg60=full.avg60
    )  # fmt: skip


def _name(call: Call) -> str:
    return naming.check_name(call.parameters["name"])


def _pause(container: Inner) -> None:
    if status_of(container) != "paused":
        container.pause()


def _resume(container: Inner) -> None:
    if status_of(container) == "paused":
        container.resume()


def _rows(container: Inner) -> list[graph.ProcessRow]:
    return [row for pid in container.processes() if (row := _row(pid)) is not None]


def _row(pid: int) -> graph.ProcessRow | None:
    """None when it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/status") as file:
            facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    command = b" ".join(words).decode(errors="replace") or f"[{facts['Name']}]"
    return graph.ProcessRow(
        pid=pid,
        inner_pid=int(facts["NSpid"].split()[-1]),
        uid=int(facts["Uid"].split()[0]),
        state=facts["State"].split()[0],
        command=command,
        memory_bytes=int(facts.get("VmRSS", "0 kB").split()[0]) << 10,
        cpu_s=process.cpu_ticks(pid) * _TICK_S,
    )
