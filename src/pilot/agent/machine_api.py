"""Endpoints of the machine itself: version, status, adoption, the world, freezing, shutdown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Literal

import msgspec

import pilot

from ..server import response
from ..server.call import Call
from ..wire import faults, schema
from . import adoption, document
from .freezer import Freezer
from .machine import Machine
from .sessions import Sessions
from .world import World

AGENT_STATE = "agent/state"


class AgentState(msgspec.Struct, frozen=True, kw_only=True):
    """What a new agent must know of the former ones."""

    boot_id: str
    restarts: int = 0
    name: str | None = None
    environment: dict[str, str] = {}


_FEATURES = {
    "container": ["world", "exec", "fs", "proxy", "descriptors"],
    "vm": ["world", "exec", "fs", "proxy", "freeze", "clock", "entropy"],
}


class MachineApi:
    """What is told and done about the machine."""

    def __init__(self, machine: Machine, sessions: Sessions, world: World, state: AgentState) -> None:
        self._machine = machine
        self._sessions = sessions
        self._world = world
        self._freezer = Freezer(machine.paths.disk)
        self._agent = state
        world.default_environment = state.environment
        self.state: Literal["booting", "ready", "draining"] = "ready"
        self.on_shutdown: Callable[[bool], None] = lambda _reboot: None

    async def version(self, _call: Call) -> response.Response:
        """GET /v1/version."""
        return response.json(schema.Version(version=pilot.__version__, features=_FEATURES[self._machine.isolation]))

    async def status(self, _call: Call) -> response.Response:
        """GET /v1/status."""
        return response.json(
            schema.Status(
                state=self.state,
                boot_id=self._agent.boot_id,
                isolation=self._machine.isolation,
                world=self._world.state,
                world_error=self._world.error,
                sessions=len(self._sessions),
                agent_restarts=self._agent.restarts,
                name=self._agent.name,
            )
        )

    async def adopt(self, call: Call) -> response.Response:
        """POST /v1/adopt."""
        request = await call.json(schema.AdoptRequest)
        answer = await asyncio.to_thread(adoption.adopt, self._machine, request)
        # A clone has its template's until it gets a name, and entropy to make one of its own from.
        boot_id = str(uuid.uuid4()) if self._agent.name is None else self._agent.boot_id
        self._agent = msgspec.structs.replace(
            self._agent, boot_id=boot_id, name=request.name, environment=dict(request.environment)
        )
        document.write(self._machine.link, AGENT_STATE, self._agent)
        self._world.default_environment = self._agent.environment
        return response.json(answer)

    async def start_world(self, call: Call) -> response.Response:
        """PUT /v1/world."""
        request = await call.json(schema.WorldRequest)
        await self._world.start(request)
        return response.json(self._world.answer())

    async def stop_world(self, _call: Call) -> response.Response:
        """DELETE /v1/world."""
        if self._freezer.frozen:
            await self._freezer.thaw()
        await self._world.stop()
        return response.json(self._world.answer())

    async def freeze(self, call: Call) -> response.Response:
        """POST /v1/world/freeze."""
        request = await call.json(schema.FreezeRequest, default=schema.FreezeRequest())
        self._require_vm()
        self._world.container()
        await self._freezer.freeze(request.deadline_ms)
        return response.json(schema.FreezeAnswer(frozen=True))

    async def thaw(self, _call: Call) -> response.Response:
        """POST /v1/world/thaw."""
        self._require_vm()
        held = await self._freezer.thaw()
        return response.json(
            schema.FreezeAnswer(frozen=False, held=held, frozen_ms=self._freezer.held_ms if held else 0)
        )

    async def shutdown(self, call: Call) -> response.Response:
        """POST /v1/shutdown: the answer goes out first."""
        request = await call.json(schema.ShutdownRequest, default=schema.ShutdownRequest())
        self.state = "draining"
        asyncio.get_running_loop().call_later(0.05, self.on_shutdown, request.reboot)
        return response.Response(202)

    def _require_vm(self) -> None:
        if self._machine.isolation != "vm":
            raise faults.Unsupported("freeze the world: the host owns a container's filesystem and freezes it")
