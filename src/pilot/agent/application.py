"""All parts of the agent, wired together for one machine; a test makes one without a process of its own."""

from __future__ import annotations

import dataclasses
import os

import msgspec

from ..server.response import Response, of_error
from ..server.routing import Router
from . import document, freezer
from .checkpoints.server import Server as CheckpointsServer
from .containers import naming
from .containers.api import ContainersApi
from .containers.registry import Registry
from .containers.verbs import VerbsApi
from .descriptors import Descriptors
from .disks import DisksApi
from .events import Events, EventsApi
from .exec_api import ExecApi
from .facts_api import FactsApi
from .fs_api import FsApi, error_answer
from .fs_watch import FsWatch
from .graph.api import GraphApi
from .graph.supervisor import Supervisor
from .identity.broker import Broker
from .identity.clouds import Environment
from .identity.own_token import OwnToken
from .inside.door import Door
from .inside.rows import fly_rows, rows
from .inside.tasks import Tasks
from .key_files import KeyFiles
from .legacy.switch import Switch
from .listener import Listener
from .log_files import LogFiles
from .machine import Machine
from .machine_api import AGENT_STATE, AgentState, MachineApi
from .metrics_api import MetricsApi
from .out_of_memory import OutOfMemory
from .outward import Outward, by_socket
from .policy import PolicyApi
from .ports_api import PortsApi
from .proxy_api import ProxyApi
from .record_budget import RecordBudget, most_bytes
from .requests import Requests
from .routes import routes
from .services.api import ServicesApi
from .services.keeper import Keeper
from .sessions import Sessions
from .upgrade_api import UpgradeApi
from .view.server import Server as ViewServer
from .view.shown import Shown
from .world import World
from .world_limits import Size


def answer_error(path: str, error: BaseException) -> Response:
    """fs calls have an error shape of their own."""
    return error_answer(error) if path.startswith("/v1/fs/") else of_error(error)


class Application:
    """The agent without its process. Make it on the running loop."""

    def __init__(self, machine: Machine) -> None:
        state = _next_state(machine)
        self._restarts = state.restarts
        self.machine = dataclasses.replace(machine, boot_id=state.boot_id)
        self.descriptors = Descriptors(machine.link)
        self._budget = budget = RecordBudget(most_bytes(machine.memory_bytes))
        self.events = Events(machine.link)
        out_of_memory = OutOfMemory(self.events)
        self.sessions = Sessions(self.machine, budget, out_of_memory)
        self.registry = Registry(self.machine, self.events)
        self.world = World(self.machine, self.registry, self.sessions, self.descriptors, out_of_memory)
        self.graph = Supervisor(self.machine, self.registry, self.sessions, self.world, budget, self.events)
        self.services = Keeper(self.world, self.graph, self.machine.paths.disk)
        self.tasks = Tasks(machine.link)
        self.outward = Outward(by_socket(self.machine.paths.outward))
        services = ServicesApi(self.services)
        own_token = OwnToken(self.outward)
        inside, fly = rows(services, self.tasks, self.outward), fly_rows(self.tasks, self.outward, own_token)
        self.door = Door(machine.link, self.machine.paths.inside, inside, fly, answer_error)
        self.broker = Broker(self.outward, self.machine.paths, self.events, self._environments)
        self.keys = KeyFiles(machine.link, self.machine.paths.run, self.outward, own_token)
        self.world.before_start = self.broker.before_use
        self.graph.before_start = self._before_container
        shown = Shown(lambda: self.world.container().pid)
        self.view = ViewServer(machine.link, self.machine.paths.run, shown.text)
        self.checkpoints = CheckpointsServer(machine.link, self.machine.paths.run, self.outward, self.descriptors)
        self.log_files = LogFiles(machine.link, self.machine.paths.run, self.services, self.events)
        self.world.enter = self.checkpoints.enter
        self.world.binds = lambda: [*self.checkpoints.binds(), *self.log_files.binds()]
        self.facts = FactsApi(machine.memory_bytes, machine.isolation)
        self.world.on_fit = self._fit
        self.machine_api = MachineApi(self.machine, self.sessions, self.world, self.services, self.tasks, state)
        self.machine_api.believers = (self.world.believe, self.graph.believe, self.broker.freshen)
        self.legacy = Switch(self.machine, self.graph, self.registry, self.sessions)
        self.upgrade = UpgradeApi(self.machine.paths)
        self.policy = PolicyApi(machine.link)
        modules = (
            self.machine_api,
            self.legacy,
            self.upgrade,
            self.policy,
            ContainersApi(self.registry),
            GraphApi(self.graph),
            services,
            VerbsApi(self.registry),
            EventsApi(self.events),
            self.facts,
            MetricsApi(self.registry, lambda: self.facts.memory_bytes),
            DisksApi(self.machine.paths, self.descriptors),
            ExecApi(self.sessions, self.world, self.registry, self.graph, self.broker.before_use, machine.runtime),
            FsApi(self.world),
            FsWatch(self.world),
            PortsApi(self.world),
            ProxyApi(self.world),
        )
        self.requests = Requests(machine.link, answer_error)
        ours = [self.requests.once(route) for route in routes(modules)]
        self.router = Router(ours)
        self.listener = Listener(self.router, self.descriptors, answer_error, self.world.networks, self.policy.check)
        self.legacy.front = lambda theirs: self.listener.front(Router([*theirs, *ours]))

    async def _before_container(self, container: str, environment: Environment) -> None:
        if container != naming.WORLD:
            self.keys.ensure_open()
        await self.broker.before_use(container, environment)

    def _environments(self) -> dict[str, list[Environment]]:
        """What processes are given in each container that runs, or is about to."""
        found = self.graph.environments()
        if self.world.state in ("starting", "running"):
            found.setdefault(naming.WORLD, []).append(self.world.given())
        return found

    def _fit(self, size: Size) -> None:
        """The machine has another size since the world was last held to it."""
        self.facts.memory_bytes = size.memory_bytes
        self._budget.resize(most_bytes(size.memory_bytes))

    async def close(self) -> None:
        """Leave everything to the next agent."""
        await self.door.close()
        await self.broker.close()
        await self.legacy.close()
        await self.graph.close()
        await self.world.leave()
        self.view.close()  # not before: of the world's files some are the view's, and who reads them would wait
        self.keys.close()
        self.checkpoints.close()
        self.log_files.close()
        self.sessions.close()
        self.events.close()
        self.requests.close()

    def restore(self) -> None:
        """Take over what a former agent left: descriptors, the world, sessions."""
        freezer.thaw_left_over(self.machine.paths.disk)
        self.policy.restore()
        self.requests.restore()
        self.events.restore()
        self.events.add("agent.started", restarts=self._restarts)
        self.tasks.restore()
        self.door.open()
        self.descriptors.restore()
        self.registry.restore()
        self.world.restore()
        if self.machine.isolation == "container":
            self.view.open()  # a virtual machine's kernel says of itself what is so
            self.checkpoints.open()  # nor is its disk ever mounted by the host
        self.log_files.open()
        self.keys.restore()
        self.sessions.restore()
        self.graph.restore()
        self.services.restore()
        self.legacy.restore()
        self.broker.open()


def _next_state(machine: Machine) -> AgentState:
    """Written at once, so that the next agent counts this one."""
    state = AgentState(boot_id=machine.boot_id)
    if AGENT_STATE in machine.link.inherited:
        fd = machine.link.take(AGENT_STATE)
        former = document.read(fd, AgentState)
        os.close(fd)
        state = msgspec.structs.replace(former, restarts=former.restarts + 1)
    document.write(machine.link, AGENT_STATE, state)
    return state
