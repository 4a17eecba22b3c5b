"""The book on the disk and the containers in the graph, kept the same."""

from __future__ import annotations

import asyncio
import logging
import os
import signal as signals
import time
from collections.abc import Callable, Collection

from ... import errors
from ...wire import timestamps
from ...wire.graph import GraphRequest, Stop
from ...wire.services import Service, ServiceRequest, ServiceState, ServiceStatus
from ..graph.deciding import Verdict
from ..graph.state import Node
from ..graph.supervisor import Supervisor
from ..session import open_process
from ..world import World
from . import book
from .book import Book, Entry

END_S = 5.0
Change = Callable[[Book], Book]
_log = logging.getLogger(__name__)

_STATUSES: dict[str, ServiceStatus] = {
    "waiting": "starting",
    "blocked": "failed",
    "starting": "starting",
    "running": "running",
    "stopping": "stopping",
    "removing": "stopping",
    "backing_off": "failed",
    "exited": "failed",
    "stopped": "stopped",
}


class Keeper:
    """On the running loop. `WorldNotRunning` while no disk is there to read."""

    def __init__(self, world: World, supervisor: Supervisor, disk: str) -> None:
        self.supervisor = supervisor
        self._world = world
        self._directory = os.path.join(disk, "pilot")
        self._changing = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None
        self._unfit: dict[str, str] = {}
        self.http_port: int | None = None

    # ---- what there is ----------------------------------------------------------------------------------------------

    async def book(self) -> Book:
        self._world.container()
        return await asyncio.to_thread(book.read, self._directory)

    async def every(self) -> list[Service]:
        found = await self.book()
        return [self._service(name, found.services[name]) for name in sorted(found.services)]

    async def service(self, name: str) -> Service:
        return self._service(name, (await self.book()).entry(name))

    def node(self, entry: Entry) -> tuple[Node, Verdict | None]:
        """What is known of it, and why."""
        view, decision = self.supervisor.decision()
        return view.nodes.get(entry.container, Node()), decision.verdicts.get(entry.container)

    # ---- what is asked ----------------------------------------------------------------------------------------------

    async def put(self, name: str, wanted: ServiceRequest) -> Entry:
        """Made or replaced; to run from now on. `SpecError` for what cannot be."""

        def change(found: Book) -> Book:
            made = found.with_service(name, wanted)
            self.supervisor.check_container(made.container(name))
            return made

        entry = (await self._change(change)).entry(name)
        self._require_fit(name)
        self.supervisor.release(entry.container)
        return entry

    async def delete(self, name: str) -> None:
        await self._change(lambda found: found.without(name))

    async def start(self, name: str) -> Entry:
        entry = (await self._change(lambda found: found.stopping(name, False))).entry(name)
        self._require_fit(name)
        self.supervisor.release(entry.container)
        return entry

    async def stop(self, name: str, timeout_s: float | None) -> Entry:
        """To stay so. `Conflict` when it does not run."""
        entry = (await self.book()).entry(name)
        node, verdict = self.node(entry)
        if node.process is None and (verdict is None or verdict.status in ("stopped", "exited")):
            raise errors.Conflict(f"service not running: {name}")
        entry = (await self._change(lambda found: found.stopping(name, True))).entry(name)
        how = None if timeout_s is None else Stop(timeout_s=timeout_s)
        self.supervisor.hold(entry.container, how)
        return entry

    async def restart(self, name: str) -> Entry:
        entry = (await self._change(lambda found: found.stopping(name, False))).entry(name)
        self._require_fit(name)
        self.supervisor.again(entry.container)
        return entry

    async def signal(self, name: str, number: int) -> None:
        """`Conflict` when it does not run."""
        node, _ = self.node((await self.book()).entry(name))
        pid_fd = -1 if node.process is None else open_process(node.process.pid, node.process.start_time)
        if pid_fd < 0:
            raise errors.Conflict(f"service not running: {name}")
        try:
            signals.pidfd_send_signal(pid_fd, number)
        finally:
            os.close(pid_fd)

    # ---- the world's life -------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """After a former agent: the graph has what it wanted; what the disk says is looked at again."""
        if self._world.state == "running":
            self._restoring = asyncio.create_task(self.begin(), name="services")

    async def begin(self) -> None:
        """The world runs: what its disk has is wanted. What cannot be read keeps no world from running."""
        try:
            async with self._changing:
                found = await self.book()
                self._want(found)
        except (errors.PilotError, OSError) as error:
            _log.error("services are not started: %s", error)

    async def end(self) -> None:
        """The world is about to go: they are asked to end first, and have END_S for it."""
        async with self._changing:
            self._want(Book())
        try:
            async with asyncio.timeout(END_S):
                while any(book.is_ours(name) for name in self.supervisor.view().nodes):
                    await asyncio.shield(self.supervisor.changed.next())
        except TimeoutError:
            _log.warning("services have not ended within %s s, they are killed", END_S)

    async def _change(self, change: Change) -> Book:
        """What the graph refuses is not written: it would be refused with each change of any other from then on."""
        async with self._changing:
            changed = change(await self.book())
            self.supervisor.check(self._request(changed, changed.unfit(self.supervisor.check_container)))
            await asyncio.to_thread(book.write, self._directory, changed)
            self._want(changed)
        return changed

    def _want(self, found: Book) -> None:
        """Of the graph, beside what others want of it; what is stopped is held before it could be started."""
        self.http_port = found.http_port
        self._unfit = found.unfit(self.supervisor.check_container)
        for name, why in self._unfit.items():
            _log.error("service %s cannot be started: %s", name, why)
        self.supervisor.apply(self._request(found, self._unfit))
        for name, entry in found.services.items():
            if entry.stopped and name not in self._unfit and not self.node(entry)[0].held:
                self.supervisor.hold(entry.container, None)

    def _request(self, found: Book, unfit: Collection[str]) -> GraphRequest:
        wanted = self.supervisor.wanted
        others = [each for name, each in wanted.containers.items() if not book.is_ours(name)]
        ours = [found.container(name) for name in found.services if name not in unfit]
        return GraphRequest(containers=[*others, *ours], volumes=list(wanted.volumes))

    def _require_fit(self, name: str) -> None:
        if name in self._unfit:
            raise errors.Conflict(f"service {name} cannot be started: {self._unfit[name]}")

    # ---- as it is told ----------------------------------------------------------------------------------------------

    def _service(self, name: str, entry: Entry) -> Service:
        wanted = entry.wanted
        return Service(
            name=name,
            cmd=wanted.cmd,
            args=wanted.args,
            env=wanted.env,
            dir=wanted.dir,
            needs=wanted.needs,
            http_port=wanted.http_port,
            state=self._state(name, entry),
        )

    def _state(self, name: str, entry: Entry) -> ServiceState:
        node, verdict = self.node(entry)
        status = _STATUSES[verdict.status] if verdict is not None else "stopped"
        if name in self._unfit:
            return ServiceState(name=name, status="failed", error=self._unfit[name])
        is_well = status in ("running", "stopped", "stopping") or verdict is None
        backs_off = verdict is not None and verdict.status == "backing_off"
        return ServiceState(
            name=name,
            status=status,
            pid=None if node.process is None else node.process.pid,
            started_at=_wall(node.started) if node.process is not None else None,
            error=None if is_well or verdict is None else verdict.why,
            restart_count=max(0, node.starts - 1),
            next_restart_at=_wall(verdict.wake_at) if backs_off and verdict is not None else None,
        )


def _wall(moment_s: float | None) -> str | None:
    return None if moment_s is None else timestamps.of_s(time.time() - (time.monotonic() - moment_s))
