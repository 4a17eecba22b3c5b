"""The life of a machine with a run.json: its main process is begun, ends, is told of, and the machine ends after it.

    new ─► begun: containers wanted ─► ended: how, written down ─► told (or LINGER_S) ─► the machine ends

Each arrow is a document in init's store (`Kept`): the next agent goes on from it. How the main process ended is in the
registry's record as well, until somebody acknowledges it by the pilot API: that is another one's to forget.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

import msgspec

import pilot

from ... import errors
from ...kernel import cgroup_oom, hierarchies
from ...wire import graph, legacy
from ...wire.graph import Output
from ...wire.run_file import RunFile
from .. import document, network, rootfs, signal_names
from ..containers.exits import Exit
from ..containers.registry import Registry
from ..graph.supervisor import Supervisor
from ..machine import Machine
from . import console, places, planning
from .console import Copier
from .planning import APP, MAIN

STORE_NAME = "agent/run"
# A host that has not asked by then will not, and what it is told last is that the machine has ended.
LINGER_S = 30.0
# A shell's code for what it could not run.
COULD_NOT_RUN = 127
_UNWANTED = "its host has taken it out of the graph"
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The document. `offsets`: so much of the main process's output is on the console."""

    run: RunFile
    begun: bool = False
    exit: legacy.ExitCode | None = None
    told: bool = False
    offsets: dict[Output, int] = {}


class Life:
    """One per machine. On the running loop."""

    def __init__(self, machine: Machine, graph: Supervisor, registry: Registry, kept: Kept) -> None:
        """`kept` is new, or a former agent's; it is written down at once."""
        self.on_end: Callable[[], None] = lambda: None
        self._machine = machine
        self._graph = graph
        self._registry = registry
        self._directory = os.path.join(machine.paths.run, "legacy")
        self._told = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._set(kept)

    @property
    def run(self) -> RunFile:
        """What was wanted."""
        return self._kept.run

    @property
    def ended(self) -> bool:
        """The main process has, or could not be run."""
        return self._kept.exit is not None

    def start(self) -> None:
        """Go on from where the last agent was."""
        self._task = asyncio.create_task(self._live(), name="main process")

    async def exit_code(self) -> legacy.ExitCode:
        """How the main process ended, once it has."""
        await self._ended.wait()
        assert self._kept.exit is not None
        return self._kept.exit

    def told(self) -> None:
        """Somebody has it."""
        if not self._kept.told:
            self._set(msgspec.structs.replace(self._kept, told=True))

    def signal(self, number: int) -> None:
        """To the main process and its group; `NotFound` when it does not run."""
        self._graph.signal(MAIN, number)

    async def clean(self) -> None:
        """The containers have ended: nothing of theirs stays mounted."""
        for device in (mount.device_path for mount in self.run.mounts or ()):
            await console.say(f"Umounting {device}")
        for problem in await asyncio.to_thread(places.clean, self.run, self._directory):
            await console.say(problem, "ERROR")

    async def close(self) -> None:
        """Leave all to the next agent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # ---- its stations -----------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._go_on()
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - told here, once: nobody waits for it
            _log.exception("main process")

    async def _go_on(self) -> None:
        if not self._kept.begun:
            await self._begin()
        if self._kept.exit is None:
            await self._until_ended()
        self._ended.set()
        try:
            async with asyncio.timeout(LINGER_S):
                await self._told.wait()
        except TimeoutError:
            await console.say("nobody has asked for the exit code", "WARN")
        self.on_end()

    async def _begin(self) -> None:
        await console.say(f"Starting init (commit: {pilot.__version__})...")
        try:
            app, main = await asyncio.to_thread(self._prepare)
            self._graph.apply(graph.GraphRequest(containers=[app, main]))
        except (errors.PilotError, OSError) as error:
            await self._could_not_run(str(error))
            return
        words, user = " ".join(main.command), planning.user(self.run)
        await console.say(f"Preparing to run: `{words}` as {user}")
        self._set(msgspec.structs.replace(self._kept, begun=True))

    def _prepare(self) -> tuple[graph.Container, graph.Container]:
        run = self.run
        place = places.prepare(run, self._directory)
        with rootfs.Root.open(place.root) as root:
            person = planning.person(run, root.read_small("/etc/passwd"), root.read_small("/etc/group"))
        problems = places.give(run, self._directory, person.uid, person.gid)
        if (wanted := planning.network(run)) is not None:
            try:
                network.address(wanted)
            except OSError as error:
                problems.append(f"could not configure {network.CARD}: {error}")
        for problem in problems:
            _log.warning("%s", problem)
        with open(self._machine.paths.init, "rb") as reaper:
            return planning.containers(run, place, person, reaper.read())

    async def _until_ended(self) -> None:
        if MAIN not in self._graph.wanted.containers:
            await self._could_not_run(_UNWANTED)
            return
        copier = Copier(self._graph.log(MAIN), self._kept.offsets, self._note)
        over = asyncio.Event()
        following = asyncio.create_task(copier.follow(over), name="console")
        try:
            ended = await self._end()
            over.set()
            await following
        finally:
            following.cancel()
        if isinstance(ended, str):
            await self._could_not_run(ended)
        else:
            await self._note_end(ended)

    async def _end(self) -> Exit | str:
        """How it ended, or why it never ran. The end of its root is its own, too."""
        while True:
            change = self._registry.changed.next()
            for name in (MAIN, APP):
                if self._graph.has_ended(name) and (exits := self._registry.exits.of(name)):
                    return exits[-1]
            if (error := self._graph.error(MAIN) or self._graph.error(APP)) is not None:
                return error
            if MAIN not in self._graph.wanted.containers:
                return _UNWANTED
            await asyncio.shield(change)

    async def _note_end(self, ended: Exit) -> None:
        killed = await asyncio.to_thread(_killed_for_memory, self._registry.pid(APP))
        exit = legacy.ExitCode(code=ended.exit_code, oom_killed=killed > 0)
        await console.say(how_it_ended(ended))
        if killed:
            await console.say("Process appears to have been OOM killed!")
        await console.say("Starting clean up.")
        self._set(msgspec.structs.replace(self._kept, exit=exit))

    async def _could_not_run(self, why: str) -> None:
        await console.say(f"could not run the main process: {why}", "ERROR")
        exit = legacy.ExitCode(code=COULD_NOT_RUN, oom_killed=False)
        self._set(msgspec.structs.replace(self._kept, begun=True, exit=exit))

    # ---- documents --------------------------------------------------------------------------------------------------

    def _note(self, offsets: Mapping[Output, int]) -> None:
        self._set(msgspec.structs.replace(self._kept, offsets=dict(offsets)))

    def _set(self, kept: Kept) -> None:
        document.write(self._machine.link, STORE_NAME, kept)
        self._kept = kept
        if kept.told:
            self._told.set()


def how_it_ended(ended: Exit) -> str:
    """The line that parsers know."""
    if ended.signal is None:
        return f"Main child exited normally with code: {ended.exit_code}"
    dumped = "true" if ended.core_dumped else "false"
    return f"Main child exited with signal (with signal '{signal_names.name(ended.signal)}', core dumped? {dumped})"


def _killed_for_memory(pid: int | None) -> int:
    """So many processes of the container, since it was made. By its cgroup, not by what the kernel's log says."""
    if pid is None:
        return 0
    try:
        found = hierarchies.probe_hierarchies()
        paths = found.paths_of(pid)
        directory = paths.get("memory") or paths.get("")
        with cgroup_oom.watch(directory, is_v1="memory" in paths) as watched:
            return watched.read() or 0
    except (errors.HostError, OSError) as error:
        _log.warning("whether memory was short cannot be told: %s", error)
        return 0
