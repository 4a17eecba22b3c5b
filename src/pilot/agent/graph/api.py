"""Endpoints of the graph: what is wanted, what is so and why, and what containers write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec

from ... import errors
from ...server import response
from ...server.call import Call
from ...server.routing import Route, answering
from ...wire import faults, graph, http, operations, timestamps
from .. import signal_names
from ..containers import naming
from ..decimals import parse_decimal
from . import checking, deciding, health, refiling, state
from .deciding import Decision, Verdict, View
from .log import Log, Place
from .supervisor import Supervisor

_WAIT_S = 20.0


class GraphApi:
    """What a host wants of containers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def routes(self) -> list[Route]:
        return [
            answering(operations.APPLY_GRAPH, self.apply),
            answering(operations.GET_GRAPH, self.get),
            Route(operations.PUT_CONTAINER, self.put),
            Route(operations.GET_CONTAINER, self.container),
            Route(operations.DELETE_CONTAINER, self.delete),
            Route(operations.START_CONTAINER, self.start),
            Route(operations.STOP_CONTAINER, self.stop),
            Route(operations.RESTART_CONTAINER, self.restart),
            Route(operations.PUT_CONTAINER_FILES, self.files),
            Route(operations.CONTAINER_LOGS, self.logs),
        ]

    async def apply(self, request: graph.GraphRequest) -> graph.GraphStatus:
        """Want this, and nothing else; the answer does not wait for it."""
        self._supervisor.apply(request)
        return self._graph()

    async def get(self, _: None) -> graph.GraphStatus:
        """What is so of each, and why."""
        return self._graph()

    async def put(self, call: Call) -> response.Response:
        """Want this one."""
        spec = await call.asked(operations.PUT_CONTAINER)
        name = _name(call)
        self._supervisor.put(graph.Container(name=name, **msgspec.structs.asdict(spec)))
        return self._answer(name)

    async def container(self, call: Call) -> response.Response:
        """One of them. With `settled` it waits until nothing is under way with it, for at most so many seconds."""
        name = _name(call)
        if wait_s := call.request.number("settled", 0, 0, int(_WAIT_S)):
            await self._settled(name, wait_s)
        return self._answer(name)

    async def delete(self, call: Call) -> response.Response:
        """Do not want it any more; idempotent."""
        name = _name(call)
        if name == naming.WORLD:
            raise errors.StateError("container: the world is none of the graph")
        self._supervisor.remove(name)
        return response.Response(operations.DELETE_CONTAINER.status)

    async def start(self, call: Call) -> response.Response:
        """To run, whatever its restart policy says of how it ended."""
        self._supervisor.release(_name(call))
        return self._answer(_name(call))

    async def stop(self, call: Call) -> response.Response:
        """To be stopped, and to stay so."""
        request = await call.asked(operations.STOP_CONTAINER)
        self._supervisor.hold(_name(call), self._how(_name(call), request))
        return self._answer(_name(call))

    async def restart(self, call: Call) -> response.Response:
        """To be stopped, if it runs, and started."""
        self._supervisor.again(_name(call))
        return self._answer(_name(call))

    async def files(self, call: Call) -> response.Response:
        """Other content for its files with a version: seen by what runs, whole, and by what is started later."""
        request, name = await call.asked(operations.PUT_CONTAINER_FILES), _name(call)
        before = self._supervisor.wanted.containers.get(name)
        if before is None:
            raise errors.NotFound(f"there is no container {name!r}")
        renewed = refiling.renewed(before, request.files)
        if renewed != before:
            self._supervisor.put(renewed)
        return self._answer(name)

    async def logs(self, call: Call) -> response.Response:
        """Lines of JSON: what is kept, and with `follow` what comes."""
        log = self._supervisor.log(_name(call))
        place = _place(log, call.request)
        if call.request.flag("follow"):
            return response.ndjson(_followed(call, log, place))
        return response.ndjson(_kept(log, place))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _how(self, name: str, request: graph.StopRequest) -> graph.Stop | None:
        if request.signal is None and request.timeout_s is None:
            return None
        wanted = self._supervisor.wanted.containers.get(name)
        base = graph.Stop() if wanted is None else wanted.stop
        if request.signal is not None:
            signal_names.parse_signal(request.signal)
        if request.timeout_s is not None and not 0 <= request.timeout_s <= checking.MOST_S:
            raise faults.InvalidRequest(f"timeout_s: {request.timeout_s:g} is not from 0 to {checking.MOST_S:g}")
        timeout_s = base.timeout_s if request.timeout_s is None else request.timeout_s
        return graph.Stop(signal=request.signal or base.signal, timeout_s=timeout_s)

    def _graph(self) -> graph.GraphStatus:
        view, decision = self._supervisor.decision()
        rows = [_status(name, view, decision.verdicts[name]) for name in decision.verdicts]
        settled = deciding.is_settled(view, decision)
        return graph.GraphStatus(generation=self._supervisor.wanted.generation, settled=settled, containers=rows)

    def _answer(self, name: str) -> response.Response:
        view, decision = self._supervisor.decision()
        if name not in decision.verdicts:
            raise errors.NotFound(f"there is no container {name!r}")
        return response.json(_status(name, view, decision.verdicts[name]))

    async def _settled(self, name: str, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                while not _is_settled(name, *self._supervisor.decision()):
                    await asyncio.shield(self._supervisor.changed.next())
        except TimeoutError:
            pass  # what is so then is told


def _is_settled(name: str, view: View, decision: Decision) -> bool:
    if name not in decision.verdicts:
        return True
    row = _status(name, view, decision.verdicts[name])
    return deciding.is_lasting(row.status) and row.health != "starting" and name not in view.busy


def _name(call: Call) -> str:
    return naming.check_name(call.parameters["name"])


def _status(name: str, view: View, verdict: Verdict) -> graph.ContainerStatus:
    node, wanted = view.nodes.get(name, state.Node()), view.wanted.get(name)
    found: graph.Health = "none"
    checks: list[graph.CheckStatus] = []
    if wanted is not None and node.process is not None:
        found = health.health_of(wanted, node)
        checks = [_check(check, node.probed.get(check.name, state.Probed())) for check in wanted.checks]
    return graph.ContainerStatus(
        name=name,
        status=verdict.status,
        why=verdict.why,
        waits_for=list(verdict.waits_for),
        health=found,
        checks=checks,
        pid=None if node.process is None else node.process.pid,
        started=_wall(node.started, view.now),
        ended=_wall(node.ended, view.now),
        exit_code=node.exit_code,
        error=node.error,
        restarts=max(0, node.starts - 1),
        next_start=_wall(verdict.wake_at, view.now) if verdict.status == "backing_off" else None,
    )


def _check(check: graph.Check, probed: state.Probed) -> graph.CheckStatus:
    return graph.CheckStatus(
        name=check.name,
        kind=check.kind,
        status="passing" if probed.passed else "failing" if health.is_failing(check, probed) else "unknown",
        failures=probed.failures,
        message=probed.message,
    )


def _wall(moment: float | None, now: float) -> str | None:
    return None if moment is None else timestamps.of_s(time.time() - (now - moment))


def _place(log: Log, request: http.Request) -> Place:
    """`since`: seconds of Unix time. `stdout`, `stderr`: the offset of the first byte that is wanted."""
    offsets: dict[graph.Output, int] = {}
    for stream in ("stdout", "stderr"):
        if text := request.first(stream):
            number = parse_decimal(text)
            if number is None:
                raise faults.InvalidRequest(f"{stream}: {text!r} is no offset")
            offsets[stream] = number
    return log.place(_since_ns(request.first("since")), offsets)


def _since_ns(text: str) -> int:
    try:
        return int(float(text or "0") * 1e9)
    except (ValueError, OverflowError) as error:
        raise faults.InvalidRequest(f"since: {text!r} are no seconds of Unix time") from error


async def _kept(log: Log, place: Place) -> AsyncIterator[graph.LogPiece]:
    while pieces := log.read(place):
        for piece in pieces:
            yield piece


async def _followed(call: Call, log: Log, place: Place) -> AsyncIterator[graph.LogPiece]:
    """Until the client has gone, or the container is forgotten."""
    async with call.leaving() as gone:
        while True:
            change = log.changed.next()
            async for piece in _kept(log, place):
                yield piece
            if log.closed:
                return
            await asyncio.wait([gone, asyncio.ensure_future(asyncio.shield(change))], return_when="FIRST_COMPLETED")
            if gone.done():
                raise errors.PeerError("logs: the client has gone")
