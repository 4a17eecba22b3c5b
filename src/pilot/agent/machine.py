"""What the agent stands on, as one value: init's store, the runtime, and where things are.

Tests make one with a runtime and a link of their own; the agent's process makes the real one (`process.py`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from ..kernel import waiter
from ..kernel.cgroup_stats import Stats
from ..runtime.values import Spawned, Stdio, Terminal
from ..spec.process import Process
from ..spec.resources import Resources
from ..spec.seccomp import Seccomp
from ..wire import outward


class Link(Protocol):
    """The part of `kernel.initlink.InitLink` that the agent uses."""

    @property
    def inherited(self) -> dict[str, int]: ...
    def take(self, name: str) -> int: ...
    def put(self, name: str, fd: int) -> None: ...
    def drop(self, name: str) -> None: ...
    def shutdown(self, *, reboot: bool = False) -> None: ...


class Exits(Protocol):
    """The part of `kernel.waiter.InitRecords` that the agent uses: a status is kept until it was written down."""

    def status(self, process: waiter.Process, timeout_s: float | None) -> waiter.ExitStatus: ...
    def acknowledge(self, process: waiter.Process) -> None: ...


class Executes(Protocol):
    """What a process can be started in."""

    def exec(self, process: Process, stdio: Stdio, *, terminal: Terminal | None = None,
             before_start: Callable[[Spawned], None] | None = None,
             executable: str | None = None) -> Spawned: ...  # fmt: skip


class Inner(Executes, Protocol):
    """The part of a `pilot.runtime.Container` that the agent uses."""

    @property
    def pid(self) -> int: ...
    def other_namespaces(self) -> int: ...
    def cgroup_descriptors(self) -> list[int]: ...
    def start(self) -> None: ...
    def status(self) -> object: ...
    def kill(self, signal: int, all: bool = False) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stats(self) -> Stats: ...
    def update(self, resources: Resources) -> None: ...
    def processes(self) -> list[int]: ...
    def delete(self, force: bool = False) -> None: ...


def status_of(container: Inner) -> str:
    """In the words of the runtime: created, running, paused, stopped."""
    status = container.status()
    return str(getattr(status, "value", status))


class Created(Protocol):
    """What creating a container gives."""

    @property
    def container(self) -> Inner: ...
    @property
    def process(self) -> Spawned: ...


class WorldRuntime(Protocol):
    """The part of `pilot.runtime.Runtime` that the agent uses."""

    def create(self, id: str, bundle: str, *, stdio: Stdio) -> Created: ...
    def load(self, id: str) -> Inner: ...
    def prepare(self, seccomp: Seccomp | None = None) -> None: ...
    def exec_here(self, process: Process, stdio: Stdio, *, terminal: Terminal | None = None,
                  before_start: Callable[[Spawned], None] | None = None,
                  executable: str | None = None) -> Spawned: ...  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where the agent finds and puts things (joints, 3)."""

    run: str = "/run"
    init: str = "/usr/lib/pilot/bin/pilot-init"
    run_file: str = "/fly/run.json"

    @property
    def disk(self) -> str:
        return os.path.join(self.run, "disk")

    @property
    def rootfs(self) -> str:
        return os.path.join(self.run, "disk", "rootfs")

    @property
    def shown(self) -> str:
        """Where `run` is once more, read-only (`agent.shown`)."""
        return os.path.join(self.run, "shown")

    @property
    def policy(self) -> str:
        """A directory that the world sees read-only at /.sprite/policy."""
        return os.path.join(self.run, "policy")

    @property
    def inside(self) -> str:
        """A directory whose files the world sees below /.sprite (`inside.door`)."""
        return os.path.join(self.run, "inside")

    @property
    def outward(self) -> str:
        """A directory of the host's, with the socket that it is asked at; where there is no multiplexer."""
        return outward.directory_in(self.run)

    @property
    def bundle(self) -> str:
        return os.path.join(self.run, "world")


@dataclasses.dataclass(frozen=True)
class Machine:
    """The machine as its agent sees it. `memory_bytes` is all that it has, None where that cannot be told."""

    link: Link
    runtime: WorldRuntime
    exits: Exits
    isolation: Literal["container", "vm"]
    boot_id: str
    paths: Paths = Paths()
    memory_bytes: int | None = None


def probe_isolation(uid_map: str) -> Literal["container", "vm"]:
    """Text of /proc/self/uid_map → whether a user namespace (or the VM) protects the host."""
    return "vm" if uid_map.split() == ["0", "0", "4294967295"] else "container"


def put_all(link: Link, descriptors: Sequence[tuple[str, int]]) -> None:
    """Store all or none: what was stored is dropped again when one is refused."""
    stored = []
    try:
        for name, fd in descriptors:
            link.put(name, fd)
            stored.append(name)
    except BaseException:
        for name in stored:
            link.drop(name)
        raise
