"""Carries out what `deciding` says, and writes down what came of it: the acting part, without policy.

    in init's store    graph/wanted              what is wanted, and its generation
                       container/<name>/node     state.Node of each
                       container/<name>/log/...  what it writes (log)

    a start   begun ► (runtime makes it) ► created: pid written ► it executes ► came up
    a stop    asked to stop: written ► signal ► ... ► ended: exit noted (registry), written ► cleaned

A new agent asks the kernel what has become of each: what runs is watched again, what ended meanwhile has ended with the
code that init kept, and a start that was not known to have come about is undone and done again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import signal as signals
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from ... import errors
from ...kernel import process as kernel_process
from ...spec import process as spec_process
from ...wire import faults
from ...wire.graph import Container, GraphRequest, Limits, Stop, Volume
from ..containers.registry import Registry
from ..events import Events
from ..machine import Machine
from ..record_budget import RecordBudget
from ..session import open_process
from ..sessions import Sessions
from ..world import World
from . import arrival, checking, deciding, shown_files, state, turns
from . import wanted as wanted_document
from .deciding import Decision, View
from .instance import Instances
from .log import Log
from .logs import Logs
from .nodes import Nodes
from .prober import Prober
from .processes import Processes
from .state import Node, Process
from .wanted import Wanted

# A machine that is to end waits no longer for containers that do not: init and the kernel end what is left.
DRAIN_S = 5.0
_RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Supervisor:
    """One per machine. On the running loop."""

    def __init__(
        self,
        machine: Machine,
        registry: Registry,
        sessions: Sessions,
        world: World,
        budget: RecordBudget,
        events: Events,
    ) -> None:
        self.wanted = Wanted()
        self._machine = machine
        self._registry = registry
        self._sessions = sessions
        self._events = events
        self._instances = Instances(machine, world)
        self.changed = registry.changed  # who runs elsewhere is a change for us as well
        self._nodes = Nodes(machine.link, self.changed)
        self._logs = Logs(machine.link, budget)
        self._processes = Processes(registry, self._instances, world, lambda: self.wanted.containers)
        self._prober = Prober(
            self._nodes, lambda: self.wanted.containers, registry, self._processes, machine.exits, events
        )
        self.before_start: Callable[[str, Mapping[str, str]], Awaitable[None]] | None = None
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._making = turns.Turns()
        self._draining = False
        self._closed = False
        self._turns: asyncio.Task[None] | None = None

    # ---- what is wanted ---------------------------------------------------------------------------------------------

    def apply(self, request: GraphRequest) -> None:
        """Want this, and nothing else. What is so already stays untouched."""
        self.wanted.require(request.if_generation)
        self.check(request)
        self._want({container.name: container for container in request.containers}, tuple(request.volumes))

    def check(self, request: GraphRequest) -> None:
        """`SpecError` where it cannot be wanted."""
        checking.check_graph(request.containers, request.volumes, os.path.realpath(self._machine.paths.run))

    def check_container(self, container: Container) -> None:
        """By itself: `SpecError` where it cannot be wanted, whatever else is."""
        run = os.path.realpath(self._machine.paths.run)
        volumes = frozenset(volume.name for volume in self.wanted.volumes)
        checking.check_container(container, volumes, run, container.name)

    def put(self, container: Container) -> None:
        """Want this one, beside or in place of what is wanted."""
        containers = {**self.wanted.containers, container.name: container}
        run = os.path.realpath(self._machine.paths.run)
        checking.check_graph(list(containers.values()), self.wanted.volumes, run)
        self._want(containers, self.wanted.volumes)

    def remove(self, name: str) -> None:
        """Do not want it; nothing when it is not wanted. `StateError` where others need it."""
        needed = sorted(other.name for other in self.wanted.containers.values() if name in deciding.needs(other))
        if needed:
            raise errors.StateError(f"remove {name}: {', '.join(needed)} depends on it")
        containers = {key: value for key, value in self.wanted.containers.items() if key != name}
        self._want(containers, self.wanted.volumes)

    def hold(self, name: str, stop: Stop | None) -> None:
        """To stay stopped, until it is asked to start."""
        self._nodes.write(name, state.held(self._wanted_node(name), stop))

    def release(self, name: str) -> None:
        """To run, whether it was held, has ended or was given up."""
        self._nodes.write(name, state.released(self._wanted_node(name)))

    def again(self, name: str) -> None:
        """To be ended and started."""
        self._nodes.write(name, state.again(self._wanted_node(name)))

    # ---- what is so -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """All that decisions are made of, now."""
        nodes = dict(self._nodes.items())
        ours = nodes.keys() | self.wanted.containers.keys()
        return View(
            wanted=self.wanted.containers,
            nodes=nodes,
            now=time.monotonic(),
            busy=frozenset(self._busy),
            probing=frozenset(self._prober.under_way),
            elsewhere=frozenset(self._registry.running() - ours),
            draining=self._draining,
        )

    def decision(self) -> tuple[View, Decision]:
        """What would be done now, and why."""
        view = self.view()
        return view, deciding.decide(view)

    def session_process(
        self, name: str, arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool
    ) -> spec_process.Process:
        """A command that somebody runs in one of them: as its own user, in its own environment."""
        made = self._nodes.get(name).made
        if made is None or made.within is not None:
            raise errors.NotFound(f"no container runs that is called {name!r}")
        return self._processes.of_session(made, arguments, env, cwd, tty=tty)

    def environments(self) -> dict[str, list[Mapping[str, str]]]:
        """What processes are given in each root, of those that run or are about to."""
        return self._processes.environments(self._nodes)

    async def believe(self) -> None:
        """What begins in containers from now on believes what the machine's network says by now. `HostError`."""
        await asyncio.to_thread(self._instances.believe_all, [node for _, node in self._nodes.items()])

    def has_ended(self, name: str) -> bool:
        """It ran, and does not any more; all that it wrote is in its log."""
        node = self._nodes.get(name)
        return node.process is None and node.ended is not None

    def error(self, name: str) -> str | None:
        """What kept it from starting the last time."""
        return self._nodes.get(name).error

    def signal(self, name: str, number: int) -> None:
        """To its first process, and to the group of one within another; `NotFound` when it does not run."""
        node = self._nodes.get(name)
        if node.process is None:
            raise errors.NotFound(f"no container runs that is called {name!r}")
        self._instances.signal(node, number)

    def log(self, name: str) -> Log:
        """What it has written; `NotFound` when it never was started."""
        found = self._logs.of(name) if name in self.wanted.containers else self._logs.find(name)
        if found is None:
            raise errors.NotFound(f"there is no container {name!r}")
        return found

    # ---- the agent's life -------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take over what a former agent left, and go on."""
        self.wanted = wanted_document.read(self._machine.link)
        self._nodes.restore()
        self._logs.resize(self.wanted.containers)
        self._logs.restore()
        for name, node in list(self._nodes.items()):
            if node.process is not None:
                self._begin(name, self._resume(name))
        self._turns = asyncio.create_task(self._run(), name="graph")

    async def drain(self) -> None:
        """End all in their order, within DRAIN_S."""
        self._draining = True
        self.changed.notify()
        try:
            async with asyncio.timeout(DRAIN_S):
                while any(node.process is not None for _, node in self._nodes.items()) or self._busy:
                    await asyncio.shield(self.changed.next())
        except TimeoutError:
            _log.warning("containers have not ended within %s s", DRAIN_S)

    async def close(self) -> None:
        """Leave all to the next agent."""
        self._closed = True
        tasks = [*self._tasks, *([self._turns] if self._turns is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._logs.close()

    # ---- turns ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            change = self.changed.next()
            try:
                self._take_up()
                decision = deciding.decide(self.view())
                for action in decision.actions:
                    self._carry_out(action)
                self._instances.keep_volumes({volume.name for volume in self.wanted.volumes})
            except Exception:  # noqa: BLE001 - told here; one container's fault must not end the care for all others
                _log.exception("graph: a turn")
                await asyncio.sleep(_RETRY_S)
                continue
            if decision.actions:
                continue  # what is under way now may change what is to be said of others
            wait_s = None if decision.wake_at is None else max(0.0, decision.wake_at - time.monotonic())
            try:
                async with asyncio.timeout(wait_s):
                    await asyncio.shield(change)
            except TimeoutError:
                pass  # time has passed, which is a change as well

    def _take_up(self) -> None:
        """What runs and is watched by nobody, because that failed when it had come up."""
        for name, node in list(self._nodes.items()):
            if (
                node.process is not None
                and name not in self._busy
                and not self._registry.watches(name, node.process.pid)
            ):
                self._begin(name, self._resume(name))

    def _carry_out(self, action: deciding.Action) -> None:
        match action:
            case deciding.Probe(name, check):
                self._prober.under_way.add((name, check.name))
                self._spawn(self._prober.probe(name, check), f"check {check.name} of {name}")
            case deciding.Start(name):
                self._begin(name, self._start(name))
            case deciding.Stop(name, cause):
                self._events.add("container.stopping", name, message=deciding.WHY[cause])
                self._nodes.write(name, state.asked_to_stop(self._nodes[name], cause, time.monotonic()))
                self._signal(name, self._instances.stop_signal(self._nodes[name]))
            case deciding.Kill(name):
                self._nodes.write(name, state.killed(self._nodes[name]))
                self._signal(name, signals.SIGKILL)
            case deciding.Clean(name):
                self._begin(name, self._clean(name))
            case deciding.Limit(name, limits):
                self._begin(name, self._limit(name, limits))
            case deciding.Refile(name, wanted):
                self._begin(name, self._refile(name, wanted))
            case deciding.Forget(name):
                self._logs.forget(name)
                self._nodes.forget(name)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """The container's one thing that is under way."""
        self._busy.add(name)

        async def whole() -> None:
            try:
                await work
            except (errors.PilotError, OSError) as error:
                _log.error("container %s: %s", name, error)
                await asyncio.sleep(_RETRY_S)  # whatever it was is tried again
            finally:
                self._busy.discard(name)
                self.changed.notify()

        self._spawn(whole(), f"container {name}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        async def run() -> None:
            try:
                await work
            except Exception:  # noqa: BLE001 - told here, once: nobody waits for it
                _log.exception("%s", name)

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- actions ----------------------------------------------------------------------------------------------------

    async def _start(self, name: str) -> None:
        wanted = self.wanted.containers.get(name)
        if wanted is None:
            return  # not wanted any more, since it was decided
        self._nodes.write(name, state.begun(self._nodes.get(name), wanted))
        log = self._logs.of(name)
        log.drain()
        output = log.open_pipes()
        try:
            await self._make(wanted, output)
        except (errors.PilotError, OSError) as error:
            self._events.add("container.not_started", name, message=str(error))
            self._nodes.write(name, state.failed_to_start(self._nodes[name], str(error), time.monotonic()))
            return
        finally:
            for fd in output:
                os.close(fd)
        self._nodes.write(name, state.came_up(self._nodes[name]))
        self._watch(name)

    async def _make(self, wanted: Container, output: tuple[int, int]) -> None:
        loop, name = asyncio.get_running_loop(), wanted.name

        def on_created(pid: int, start_time: int) -> None:
            """In the thread that makes it, which waits until it is written down."""
            process, now = Process(pid, start_time), time.monotonic()
            _on_loop(loop, lambda: self._nodes.write(name, state.created(self._nodes[name], process, now)))

        if self.before_start is not None:
            await self.before_start(*self._processes.home(wanted))
        for mount in wanted.mounts:
            for volume in self.wanted.volumes:
                if volume.name == mount.volume:
                    await asyncio.to_thread(self._instances.ensure_volume, volume)
        async with self._making.one():
            if wanted.within is None:
                await asyncio.to_thread(self._instances.start, wanted, output, on_created)
            else:
                host = self._registry.find(wanted.within)
                process = await asyncio.to_thread(self._processes.within, wanted)
                await asyncio.to_thread(self._instances.start_within, host, process, output, on_created)

    def _watch(self, name: str) -> None:
        """It runs: be told of its end."""
        node = self._nodes[name]
        assert node.process is not None
        process = node.process

        def on_end(exit_code: int) -> None:
            self._on_end(name, process, exit_code)

        if node.made is not None and node.made.within is None:
            container = self._instances.find(name)
            if container is not None and container.pid == process.pid:
                self._registry.add(name, container, on_end, process.start_time)
                return
        self._registry.add_process(name, process.pid, process.start_time, on_end)

    def _on_end(self, name: str, process: Process, exit_code: int) -> None:
        node = self._nodes.find(name)
        if node is None or node.process != process:
            return  # told twice
        self._logs.drain(name)
        if node.made is not None and node.made.within is not None and not self._lives(node.made.within):
            self._nodes.write(name, state.lost_its_host(node))
        else:
            self._nodes.write(name, state.ended_with(node, exit_code, time.monotonic()))

    def _lives(self, host: str) -> bool:
        """Whether the container that it was in goes on: the kernel ends all that is in one before its first process."""
        pid = self._registry.pid(host)
        return pid is not None and not kernel_process.is_exiting(pid)

    async def _limit(self, name: str, limits: Limits) -> None:
        """First in the kernel, then in the document: to set them twice does no harm."""
        await asyncio.to_thread(self._instances.limit, name, limits)
        self._nodes.write(name, state.limited(self._nodes[name], limits))

    async def _refile(self, name: str, wanted: Container) -> None:
        """First what is seen, then the document: to show it twice does no harm."""
        shown = await asyncio.to_thread(self._instances.show_files, self._nodes[name], wanted)
        after = shown_files.seen(self._nodes[name], wanted, shown, time.monotonic())
        shown_files.tell(self._events, name, self._nodes[name], after)
        self._nodes.write(name, after)

    async def _clean(self, name: str) -> None:
        made = self._nodes[name].made
        if made is None or made.within is None:
            await self._sessions.end_all(name)
            await asyncio.to_thread(self._instances.clean, name)
        self._nodes.write(name, state.cleaned(self._nodes[name]))

    def _signal(self, name: str, number: int) -> None:
        try:
            self._instances.signal(self._nodes[name], number)
        except OSError as error:
            _log.error("signal container %s: %s", name, error)

    # ---- after a former agent ---------------------------------------------------------------------------------------

    async def _resume(self, name: str) -> None:
        """One that had a process: what has become of it."""
        node = self._nodes[name]
        assert node.process is not None
        process = node.process
        if node.starting and not await arrival.came_up(self._instances, name, node.made, process):
            self._nodes.write(name, state.never_came_up(node))
            return
        if node.starting:
            self._nodes.write(name, state.came_up(node))
        pid_fd = open_process(process.pid, process.start_time)
        if pid_fd < 0:
            code = await self._registry.ended(name, process.pid, process.start_time)
            self._on_end(name, process, code)
            return
        os.close(pid_fd)
        self._watch(name)
        if node.stopping is not None:
            # The former agent may have died before it had sent it.
            self._signal(name, signals.SIGKILL if node.killed else self._instances.stop_signal(node))

    # ---- documents --------------------------------------------------------------------------------------------------

    def _want(self, containers: Mapping[str, Container], volumes: tuple[Volume, ...]) -> None:
        if self._draining:
            raise faults.Unavailable("the machine is ending")
        if (dict(containers), volumes) == (self.wanted.containers, self.wanted.volumes):
            return
        wanted = self.wanted.next(dict(containers), volumes)
        self._events.add("graph.changed", generation=wanted.generation)
        wanted_document.write(self._machine.link, wanted)
        self.wanted = wanted
        self._logs.resize(self.wanted.containers)
        self.changed.notify()

    def _wanted_node(self, name: str) -> Node:
        if name not in self.wanted.containers:
            raise errors.NotFound(f"there is no container {name!r}")
        return self._nodes.get(name)


def _on_loop(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Done on the loop, for a thread that waits for it; what it raises is raised here."""
    done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def do() -> None:
        try:
            act()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    loop.call_soon_threadsafe(do)
    done.result()
