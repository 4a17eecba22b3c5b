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
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ... import errors
from ...kernel import process as kernel_process
from ...spec import process as spec_process
from ...wire import faults
from ...wire.graph import Check, Container, GraphRequest, Limits, Stop, Volume
from .. import document, rootfs
from ..containers import naming
from ..containers.registry import Registry
from ..events import Events
from ..machine import Machine, status_of
from ..record_budget import RecordBudget
from ..session import open_process
from ..sessions import Sessions
from ..world import World
from . import checking, deciding, health, probing, state
from .deciding import Decision, View
from .instance import Instances
from .log import Log
from .state import Node, Process

_WANTED = "graph/wanted"
# A machine that is to end waits no longer for containers that do not: init and the kernel end what is left.
DRAIN_S = 5.0
# Long enough for the kernel to let go of a process that waits for an agent that has died.
_EXECUTED_S = 2.0
_RETRY_S = 1.0
_Kind = TypeVar("_Kind")
_log = logging.getLogger(__name__)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    generation: int = 0
    containers: dict[str, Container] = {}
    volumes: tuple[Volume, ...] = ()


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
        self._world = world
        self._budget = budget
        self._events = events
        self._instances = Instances(machine)
        self._nodes: dict[str, Node] = {}
        self._logs: dict[str, Log] = {}
        self._busy: set[str] = set()
        self._probing: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._closed = False
        self._turns: asyncio.Task[None] | None = None
        self.changed = registry.changed  # who runs elsewhere is a change for us as well

    # ---- what is wanted ---------------------------------------------------------------------------------------------

    def apply(self, request: GraphRequest) -> None:
        """Want this, and nothing else. What is so already stays untouched."""
        self._require_generation(request.if_generation)
        checking.check_graph(request.containers, request.volumes, os.path.realpath(self._machine.paths.run))
        self._want({container.name: container for container in request.containers}, tuple(request.volumes))

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
        self._set(name, state.held(self._wanted_node(name), stop))

    def release(self, name: str) -> None:
        """To run, whether it was held, has ended or was given up."""
        self._set(name, state.released(self._wanted_node(name)))

    def again(self, name: str) -> None:
        """To be ended and started."""
        self._set(name, state.again(self._wanted_node(name)))

    # ---- what is so -------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """All that decisions are made of, now."""
        ours = self._nodes.keys() | self.wanted.containers.keys()
        return View(
            wanted=self.wanted.containers,
            nodes=dict(self._nodes),
            now=time.monotonic(),
            busy=frozenset(self._busy),
            probing=frozenset(self._probing),
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
        made = self._node(name).made
        if made is None or made.within is not None:
            raise errors.NotFound(f"no container runs that is called {name!r}")
        pid = self._registry.find(name).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.command(made, root, arguments, env, cwd, tty=tty)

    def log(self, name: str) -> Log:
        """What it has written; `NotFound` when it never was started."""
        found = self._logs.get(name)
        if found is None:
            if name in self.wanted.containers:
                return self._log_of(name)
            raise errors.NotFound(f"there is no container {name!r}")
        return found

    # ---- the agent's life -------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Take over what a former agent left, and go on."""
        inherited = self._machine.link.inherited
        if _WANTED in inherited:
            self.wanted = self._read(_WANTED, Wanted)
        logs: dict[str, dict[str, int]] = {}
        for full_name in list(inherited):
            match naming.parse_store_name(full_name):
                case name, ("node",):
                    self._nodes[name] = self._read(full_name, Node)
                case name, ("log", part):
                    logs.setdefault(name, {})[part] = self._machine.link.take(full_name)
        for name, descriptors in logs.items():
            self._logs[name] = Log(self._machine.link, name, self._budget, descriptors)
            self._logs[name].log_bytes = self._log_bytes(name)
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
                while any(node.process is not None for node in self._nodes.values()) or self._busy:
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
        for log in self._logs.values():
            log.close()

    # ---- turns ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            change = self.changed.next()
            try:
                self._take_up()
                decision = deciding.decide(self.view())
                for action in decision.actions:
                    self._carry_out(action)
                self._settle_volumes()
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
                self._spawn(self._probe(name, check), f"check {check.name} of {name}")
                self._probing.add((name, check.name))
            case deciding.Start(name):
                self._begin(name, self._start(name))
            case deciding.Stop(name, cause):
                self._events.add("container.stopping", name, message=deciding.WHY[cause])
                self._set(name, state.asked_to_stop(self._nodes[name], cause, time.monotonic()))
                self._signal(name, self._instances.stop_signal(self._nodes[name]))
            case deciding.Kill(name):
                self._set(name, state.killed(self._nodes[name]))
                self._signal(name, signals.SIGKILL)
            case deciding.Clean(name):
                self._begin(name, self._clean(name))
            case deciding.Limit(name, limits):
                self._begin(name, self._limit(name, limits))
            case deciding.Forget(name):
                self._forget(name)

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
        self._set(name, state.begun(self._node(name), wanted))
        log = self._log_of(name)
        log.drain()
        output = log.open_pipes()
        try:
            await self._make(wanted, output)
        except (errors.PilotError, OSError) as error:
            self._events.add("container.not_started", name, message=str(error))
            self._set(name, state.failed_to_start(self._nodes[name], str(error), time.monotonic()))
            return
        finally:
            for fd in output:
                os.close(fd)
        self._set(name, state.came_up(self._nodes[name]))
        self._watch(name)

    async def _make(self, wanted: Container, output: tuple[int, int]) -> None:
        loop = asyncio.get_running_loop()

        def on_created(pid: int, start_time: int) -> None:
            """In the thread that makes it, which waits until it is written down."""
            written: concurrent.futures.Future[None] = concurrent.futures.Future()

            def write() -> None:
                try:
                    process = Process(pid, start_time)
                    self._set(wanted.name, state.created(self._nodes[wanted.name], process, time.monotonic()))
                    written.set_result(None)
                except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                    written.set_exception(error)

            loop.call_soon_threadsafe(write)
            written.result()

        for mount in wanted.mounts:
            for volume in self.wanted.volumes:
                if volume.name == mount.volume:
                    await asyncio.to_thread(self._instances.ensure_volume, volume)
        if wanted.within is None:
            await asyncio.to_thread(self._instances.start, wanted, output, on_created)
        else:
            host = self._registry.find(wanted.within)
            process = await asyncio.to_thread(self._process_within, wanted)
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
        node = self._nodes.get(name)
        if node is None or node.process != process:
            return  # told twice
        if name in self._logs:
            self._logs[name].drain()
        if node.made is not None and node.made.within is not None and not self._lives(node.made.within):
            self._set(name, state.lost_its_host(node))
        else:
            self._set(name, state.ended_with(node, exit_code, time.monotonic()))

    def _lives(self, host: str) -> bool:
        """Whether the container that it was in goes on: the kernel ends all that is in one before its first process."""
        pid = self._registry.pid(host)
        return pid is not None and not kernel_process.is_exiting(pid)

    async def _limit(self, name: str, limits: Limits) -> None:
        """First in the kernel, then in the document: to set them twice does no harm."""
        await asyncio.to_thread(self._instances.limit, name, limits)
        self._set(name, state.limited(self._nodes[name], limits))

    async def _clean(self, name: str) -> None:
        made = self._nodes[name].made
        if made is None or made.within is None:
            await self._sessions.end_all(name)
            await asyncio.to_thread(self._instances.clean, name)
        self._set(name, state.cleaned(self._nodes[name]))

    def _forget(self, name: str) -> None:
        log = self._logs.pop(name, None)
        if log is not None:
            log.forget()
        del self._nodes[name]
        self._machine.link.drop(naming.store_name(name, "node"))
        self.changed.notify()

    def _signal(self, name: str, number: int) -> None:
        try:
            self._instances.signal(self._nodes[name], number)
        except OSError as error:
            _log.error("signal container %s: %s", name, error)

    async def _probe(self, name: str, check: Check) -> None:
        node = self._nodes[name]
        try:
            message = await self._ask(name, node, check)
            now = self._nodes.get(name)
            if now is not None and now.process == node.process and now.runs:
                after = state.probed(now, check, message is None, message or "", time.monotonic())
                self._note_probe(name, now, after, check)
        finally:
            self._probing.discard((name, check.name))
            self.changed.notify()

    async def _ask(self, name: str, node: Node, check: Check) -> str | None:
        inside = None
        if check.exec is not None:
            assert node.made is not None
            try:
                process = await asyncio.to_thread(self._process_in, node.made)
                inside = probing.Inside(self._registry.find(node.made.within or name), process)
            except (errors.PilotError, OSError) as error:
                return str(error)
        where = self._registry.pid((node.made and node.made.within) or name)
        return await probing.ask(check, inside, self._machine.exits, os.getpid() if where is None else where)

    def _note_probe(self, name: str, before: Node, after: Node, check: Check) -> None:
        """Written down only where it says something new: a check that passes again and again costs nothing."""
        self._tell_health(name, before, after)
        old, new = before.probed.get(check.name, state.Probed()), after.probed[check.name]
        if (old.passed, old.failures) == (new.passed, new.failures):
            self._nodes[name] = after
        else:
            self._set(name, after)

    def _tell_health(self, name: str, before: Node, after: Node) -> None:
        wanted = self.wanted.containers.get(name)
        if wanted is None:
            return
        was, found = health.health_of(wanted, before), health.health_of(wanted, after)
        if was != found:
            failed = next((after.probed[check.name].message for check in health.failing(wanted, after)), None)
            self._events.add("container.health", name, pid=_pid(after), health=found, message=failed)

    def _process_in(self, made: Container) -> spec_process.Process:
        if made.within is not None:
            return self._process_within(made)
        pid = self._registry.find(made.name).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.process(made, root, {}, made.user)

    def _process_within(self, wanted: Container) -> spec_process.Process:
        """In the world as its sessions are, else as the container that it is in."""
        assert wanted.within is not None
        user = wanted.user
        if wanted.within == naming.WORLD:
            environment, user = self._world.environment(), user or self._world.person().name
        else:
            host = self.wanted.containers[wanted.within]
            environment, user = host.environment, user or host.user
        pid = self._registry.find(wanted.within).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.process(wanted, root, environment, user)

    # ---- after a former agent ---------------------------------------------------------------------------------------

    async def _resume(self, name: str) -> None:
        """One that had a process: what has become of it."""
        node = self._nodes[name]
        assert node.process is not None
        process = node.process
        if node.starting and not await self._came_up(name, process):
            self._set(name, state.never_came_up(node))
            return
        if node.starting:
            self._set(name, state.came_up(node))
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

    async def _came_up(self, name: str, process: Process) -> bool:
        """Whether it executes what it was made for: one that does not ends, since nobody holds its barrier."""
        made = self._nodes[name].made
        if made is None or made.within is None:
            container = await asyncio.to_thread(self._instances.find, name)
            return container is not None and status_of(container) in ("running", "paused")
        deadline = time.monotonic() + _EXECUTED_S
        while (pid_fd := open_process(process.pid, process.start_time)) >= 0:
            os.close(pid_fd)
            if _executes_another(process.pid) or time.monotonic() > deadline:
                return True
            await asyncio.sleep(0.01)
        return False

    # ---- documents --------------------------------------------------------------------------------------------------

    def _require_generation(self, wanted: int | None) -> None:
        if wanted is not None and wanted != self.wanted.generation:
            raise errors.StateError(f"generation {wanted} is not wanted any more: {self.wanted.generation} is")

    def _want(self, containers: Mapping[str, Container], volumes: tuple[Volume, ...]) -> None:
        if self._draining:
            raise faults.Unavailable("the machine is ending")
        if (dict(containers), volumes) == (self.wanted.containers, self.wanted.volumes):
            return
        wanted = Wanted(generation=self.wanted.generation + 1, containers=dict(containers), volumes=volumes)
        if len(msgspec.json.encode(wanted)) > document.MAX_BYTES:
            raise faults.TooLarge(f"the graph is larger than {document.MAX_BYTES} bytes")
        self._events.add("graph.changed", generation=wanted.generation)
        document.write(self._machine.link, _WANTED, wanted)
        self.wanted = wanted
        for name in self._logs:
            self._logs[name].log_bytes = self._log_bytes(name)
        self.changed.notify()

    def _set(self, name: str, node: Node) -> None:
        document.write(self._machine.link, naming.store_name(name, "node"), node)
        self._nodes[name] = node
        self.changed.notify()

    def _node(self, name: str) -> Node:
        return self._nodes.get(name, Node())

    def _wanted_node(self, name: str) -> Node:
        if name not in self.wanted.containers:
            raise errors.NotFound(f"there is no container {name!r}")
        return self._node(name)

    def _log_of(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(self._machine.link, name, self._budget, {})
            self._logs[name].log_bytes = self._log_bytes(name)
        return self._logs[name]

    def _log_bytes(self, name: str) -> int:
        wanted = self.wanted.containers.get(name)
        return 1 << 20 if wanted is None else wanted.log_bytes

    def _settle_volumes(self) -> None:
        """Those that nobody wants any more go; new ones are made when the first container wants them."""
        left = self._instances.volumes() - {volume.name for volume in self.wanted.volumes}
        for name in left:
            try:
                self._instances.remove_volume(name)
            except OSError as error:
                _log.error("remove volume %s: %s", name, error)

    def _read(self, full_name: str, kind: type[_Kind]) -> _Kind:
        fd = self._machine.link.take(full_name)
        try:
            return document.read(fd, kind)
        finally:
            os.close(fd)


def _pid(node: Node) -> int | None:
    return None if node.process is None else node.process.pid


def _executes_another(pid: int) -> bool:
    """Whether its program is another one than ours, which it had when it was cloned."""
    try:
        return not os.path.samestat(os.stat(f"/proc/{pid}/exe"), os.stat("/proc/self/exe"))
    except OSError:
        return False  # it has ended, or is about to
