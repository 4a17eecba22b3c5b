"""What a process in a container of the graph is run as: of a check, of a session, of a container within another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from ... import errors
from ...spec.process import Process
from ...wire.graph import Container
from .. import rootfs
from ..containers import naming
from ..containers.registry import Registry
from ..world import World
from ..world_rights import STANDARD
from .instance import Instances
from .nodes import Nodes


class Processes:
    """`wanted`: the containers that are wanted now, by name. Root directories are looked at through the kernel's own
    name for them, so that what a container has made of its files is met there and nowhere else."""

    def __init__(
        self, registry: Registry, instances: Instances, world: World, wanted: Callable[[], Mapping[str, Container]]
    ) -> None:
        self._registry = registry
        self._instances = instances
        self._world = world
        self._wanted = wanted

    def of_session(
        self, made: Container, arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool
    ) -> Process:
        """A command that somebody runs in one of its own root: as its own user, in its own environment."""
        pid = self._registry.find(made.name).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.command(made, root, arguments, env, cwd, tty=tty)

    def of_check(self, made: Container) -> Process:
        """As the container's own first process, but for its command."""
        if made.within is not None:
            return self.within(made)
        pid = self._registry.find(made.name).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.process(made, root, {}, made.user)

    def within(self, container: Container) -> Process:
        """In the world as its sessions are, else as the container that it is in."""
        assert container.within is not None
        user, rights = container.user, STANDARD
        if container.within == naming.WORLD:
            environment, user = self._world.environment(), user or self._world.person().name
            rights = self._world.rights()
        else:
            host = self._host(container.within)
            environment, user = self._instances.told(host), user or host.user
        pid = self._registry.find(container.within).pid
        with rootfs.Root.open(f"/proc/{pid}/root") as root:
            return self._instances.process(container, root, environment, user, rights)

    def home(self, container: Container) -> tuple[str, dict[str, str]]:
        """The container of whose root it is, and the environment that it is given there."""
        if container.within is None:
            return container.name, container.environment
        given = self._world.given() if container.within == naming.WORLD else self._host(container.within).environment
        return container.within, {**given, **container.environment}

    def environments(self, nodes: Nodes) -> dict[str, list[Mapping[str, str]]]:
        """What processes are given in each root, of those that run or are about to."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for _, node in nodes.items():
            if node.made is not None and (node.process is not None or node.starting):
                with contextlib.suppress(errors.NotFound):  # what it is in is not wanted any more, and it ends with it
                    home, environment = self.home(node.made)
                    found.setdefault(home, []).append(environment)
        return found

    def _host(self, name: str) -> Container:
        try:
            return self._wanted()[name]
        except KeyError:
            raise errors.NotFound(f"there is no container {name!r}") from None
