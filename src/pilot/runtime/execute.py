"""`exec`: another process in a running container."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from .. import errors
from ..kernel import launcher
from ..kernel import process as kernel_process
from ..kernel.cgroups import Cgroup
from ..kernel.waiter import Waiter
from ..plan import exec as exec_plan
from ..plan.facts import HostFacts
from ..plan.identity import Ending, Filter
from ..plan.plan import CGROUP, LISTENER, MASTER, PIDFD, Plan
from ..spec.linux import Linux
from ..spec.process import Process
from ..spec.state import State, Status
from . import barriers, environment, filters, liveness, namespaces, steps
from .descriptors import Descriptors, closed_numbers, opened_directory
from .values import Spawned, Stdio, Terminal

_NOWHERE = "here"
_STOPPED = "cannot exec in a stopped container"


class Target(msgspec.Struct, frozen=True):
    """The container: its first process by pid and start time, the cgroup to join, what holds for all its processes."""

    id: str
    pid: int
    start_time: int
    cgroup: Cgroup
    linux: Linux
    state: State
    on_process: Callable[[int], None] | None = None  # called with the pid before it executes


def here() -> Target:
    """No container: what the caller is in."""
    pid = os.getpid()
    state = State(id=_NOWHERE, status=Status.RUNNING, pid=pid, bundle="/")
    return Target(_NOWHERE, pid, kernel_process.start_time(pid), Cgroup({}), Linux(), state)


class Request(msgspec.Struct, frozen=True):
    """What is to be run, and with which descriptors; `before_start` is called just before it is."""

    process: Process
    stdio: Stdio
    terminal: Terminal | None
    console_socket: str | None
    pass_fds: tuple[int | None, ...]
    no_new_keyring: bool
    before_start: Callable[[Spawned], None] | None
    executable: str | None = None

    @property
    def wants_terminal(self) -> bool:
        return self.process.terminal or self.terminal is not None


def execute(target: Target, request: Request, cache_directory: str | None, facts: HostFacts, waiter: Waiter) -> Spawned:
    """Run it; returns when it has executed. StepError names what was refused."""
    compiled = filters.compile_filter(target.linux.seccomp, cache_directory)
    with Descriptors() as descriptors, _running(target) as pid_fd:
        descriptors.by_slot[PIDFD] = pid_fd
        options = _options(target, request, compiled, descriptors)
        plan = exec_plan.plan_exec(request.process, facts, options)
        with steps.named(request.process, request.executable):
            spawned = launcher.launch(
                plan.program, descriptors=descriptors.by_slot, waiter=waiter, on_barrier=_barrier(target, request, plan)
            )
    return taken(spawned)


@contextlib.contextmanager
def _running(target: Target) -> Iterator[int]:
    """A pidfd of the container's first process. What fails because that ends meanwhile (no namespace to look at, no
    cgroup to join, no memory for a process of a dead pid namespace) is told as what it is: StateError.
    """
    with liveness.opened_process(target.pid, target.start_time) as pid_fd:
        if pid_fd is None:
            raise errors.StateError(_STOPPED)
        try:
            yield pid_fd
        except (errors.PilotError, OSError) as error:
            if isinstance(error, errors.PeerError) or not liveness.is_ending(target.pid, pid_fd):
                raise
            raise errors.StateError(f"{_STOPPED}, which it has become meanwhile") from error


def taken(process: launcher.Spawned) -> Spawned:
    """The launcher's value as the runtime's, once nothing can fail any more: a listener that was sent is closed."""
    if LISTENER in process.descriptors:
        os.close(process.descriptors[LISTENER])
    return as_spawned(process)


def as_spawned(process: launcher.Spawned) -> Spawned:
    """The launcher's value as the runtime's: same descriptors, same owner."""
    return Spawned(process.pid, process.start_time, process.pid_fd, process.descriptors.get(MASTER))


def _barrier(target: Target, request: Request, plan: Plan) -> launcher.OnBarrier:
    def prepare(_: str, process: launcher.Spawned) -> None:
        for limit in plan.limits:
            barriers.set_limit(process.pid, limit)
        if target.on_process is not None:
            target.on_process(process.pid)
        listener_fd = process.descriptors.get(LISTENER)
        if listener_fd is not None and target.linux.seccomp is not None:
            filters.send_listener(target.linux.seccomp, listener_fd, process.pid, target.state)
        if request.before_start is not None:
            request.before_start(as_spawned(process))

    return prepare


def _options(
    target: Target, request: Request, compiled: Filter | None, descriptors: Descriptors
) -> exec_plan.ExecOptions:
    chown: tuple[int, ...] = ()
    if request.wants_terminal:
        descriptors.add_passed(request.pass_fds)
    else:
        chown = descriptors.add_stdio(request.stdio, request.pass_fds)
    if request.console_socket:
        descriptors.add_console_socket(request.console_socket)
    procs, in_v2 = descriptors.add_cgroup(target.cgroup)
    with opened_directory(f"/proc/{target.pid}/root") as root_fd:
        variables = environment.complete_environment(request.process, root_fd)
    rows, columns = steps.terminal_size(request.process, request.terminal)
    return exec_plan.ExecOptions(
        id=target.id,
        joined=namespaces.probe_different(target.pid),
        ending=Ending(
            variables,
            3 + len(request.pass_fds),
            request.wants_terminal,
            chown,
            compiled,
            request.executable,
            closed_numbers(request.pass_fds),
        ),
        cgroup_procs=procs,
        cgroup_directory=CGROUP if in_v2 else None,
        rows=rows,
        columns=columns,
        console_socket=request.console_socket is not None,
        no_new_keyring=request.no_new_keyring,
        linux=target.linux,
        before_start=any((request.before_start, target.on_process, compiled is not None and compiled.wants_listener)),
    )
