"""Endpoints of the machine itself: version, status, adoption, the world, freezing, shutdown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec

import pilot

from .. import errors
from ..server.routing import Route, answering
from ..wire import faults, operations, schema
from . import adoption, document
from .freezer import Freezer
from .inside.tasks import Tasks
from .machine import Machine
from .services.keeper import Keeper
from .sessions import Sessions
from .world import World

AGENT_STATE = "agent/state"


class AgentState(msgspec.Struct, frozen=True, kw_only=True):
    """What a new agent must know of the former ones."""

    boot_id: str
    restarts: int = 0
    name: str | None = None
    environment: dict[str, str] = {}
    network: schema.NetworkCard | None = None


_EVERYWHERE = [
    "world", "exec", "fs", "proxy", "graph", "events", "request-ids", "upgrade", "run-file", "policy", "machine-exec",
]  # fmt: skip
_FEATURES = {
    "container": [*_EVERYWHERE, "descriptors"],
    "vm": [*_EVERYWHERE, "freeze", "clock", "entropy"],
}


async def _all_of(acts: Sequence[Callable[[], Awaitable[None]]]) -> list[str]:
    """Done one after the other, whatever comes of those before; why some were not."""
    problems = []
    for act in acts:
        try:
            await act()
        except (errors.PilotError, OSError) as error:
            problems.append(errors.told(error))
    return problems


class MachineApi:
    """What is told and done about the machine."""

    def __init__(
        self, machine: Machine, sessions: Sessions, world: World, services: Keeper, tasks: Tasks, state: AgentState
    ) -> None:
        self._machine = machine
        self._sessions = sessions
        self._world = world
        self._services = services
        self._tasks = tasks
        self._freezer = Freezer(machine.paths.disk)
        self._agent = state
        world.default_environment, world.network = state.environment, state.network
        self.state: Literal["booting", "ready", "draining"] = "ready"
        self.is_prepared = True
        self.believers: Sequence[Callable[[], Awaitable[None]]] = (world.believe,)
        self.on_shutdown: Callable[[bool], None] = lambda _reboot: None

    def routes(self) -> list[Route]:
        return [
            answering(operations.GET_VERSION, self.version),
            answering(operations.GET_STATUS, self.status),
            answering(operations.ADOPT, self.adopt),
            answering(operations.START_WORLD, self.start_world),
            answering(operations.STOP_WORLD, self.stop_world),
            answering(operations.FREEZE_WORLD, self.freeze),
            answering(operations.THAW_WORLD, self.thaw),
            answering(operations.SHUTDOWN, self.shutdown),
        ]

    async def version(self, _: None) -> schema.Version:
        """What this agent is."""
        return schema.Version(version=pilot.__version__, features=_FEATURES[self._machine.isolation])

    async def status(self, _: None) -> schema.Status:
        """State of machine, world and sessions."""
        return schema.Status(
            state=self.state,
            boot_id=self._agent.boot_id,
            isolation=self._machine.isolation,
            world=self._world.state,
            world_error=self._world.error,
            sessions=len(self._sessions),
            agent_restarts=self._agent.restarts,
            name=self._agent.name,
            tasks=self._tasks.active(),
            http_port=self._services.http_port,
            out_of_memory=self._world.out_of_memory.status(),
            privileges=self._world.privileges(),
            read_only=self._world.is_read_only(),
            prepared=self.is_prepared,
        )

    async def adopt(self, request: schema.AdoptRequest) -> schema.AdoptAnswer:
        """Take a name, and what goes with it, also the size that the machine has by now; idempotent."""
        answer = await asyncio.to_thread(adoption.adopt, self._machine, request)
        # A clone has its template's until it gets a name, and entropy to make one of its own from.
        boot_id = str(uuid.uuid4()) if self._agent.name is None else self._agent.boot_id
        self._agent = msgspec.structs.replace(
            self._agent,
            boot_id=boot_id,
            name=request.name,
            environment=dict(request.environment),
            network=request.network or self._agent.network,
        )
        document.write(self._machine.link, AGENT_STATE, self._agent)
        self._world.default_environment, self._world.network = self._agent.environment, self._agent.network
        if problems := await _all_of(self.believers):
            answer = msgspec.structs.replace(answer, refused={**answer.refused, "authority": "; ".join(problems)})
        if why := await self._world.fit():
            return msgspec.structs.replace(answer, refused={**answer.refused, "size": why})
        return answer

    async def start_world(self, request: schema.WorldRequest) -> schema.WorldAnswer:
        """Mount the disk and run the world; one that runs is renamed."""
        await self._world.start(request)
        await self._services.begin()
        return self._world.answer()

    async def stop_world(self, _: None) -> schema.WorldAnswer:
        """Nothing holds the disk afterwards; idempotent."""
        if self._freezer.frozen:
            await self._freezer.thaw()
        await self._services.end()
        await self._world.stop()
        return self._world.answer()

    async def freeze(self, request: schema.FreezeRequest) -> schema.FreezeAnswer:
        """Hold the writers of the world's filesystem; it thaws by itself at the deadline."""
        self._require_vm()
        self._world.container()
        await self._freezer.freeze(request.deadline_ms)
        return schema.FreezeAnswer(frozen=True)

    async def thaw(self, _: None) -> schema.FreezeAnswer:
        """Let writers go on."""
        self._require_vm()
        held = await self._freezer.thaw()
        return schema.FreezeAnswer(frozen=False, held=held, frozen_ms=self._freezer.held_ms if held else 0)

    async def shutdown(self, request: schema.ShutdownRequest) -> None:
        """End the machine, once the answer is out."""
        self.state = "draining"
        asyncio.get_running_loop().call_later(0.05, self.on_shutdown, request.reboot)

    def _require_vm(self) -> None:
        if self._machine.isolation != "vm":
            raise faults.Unsupported("freeze the world: the host owns a container's filesystem and freezes it")
