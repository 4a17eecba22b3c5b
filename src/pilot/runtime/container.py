"""One container: what can be asked of it, and what can be done to it after `create`.

Status is derived each time, from the process (pid and start time), the start FIFO and the freezer. Operations that
change something hold the container's lock; questions do not.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import signal as signal_
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..ids import ContainerId
from ..kernel.cgroups import Cgroup
from ..plan import cgroup as cgroup_plan
from ..plan.abi import Namespace
from ..plan.facts import HostFacts
from ..spec import parse, state
from ..spec.config import Spec
from ..spec.linux import IntelRdt, NamespaceType
from ..spec.process import Process
from ..spec.resources import Resources
from ..spec.state import State, Status
from . import hooks, liveness, shared_root
from .store import Record, Store
from .values import Spawned, Stdio, Terminal

if TYPE_CHECKING:
    from ..kernel.cgroup_stats import Stats
    from .criu import CriuOptions
    from .rdt import CacheClass

_KILL_TIMEOUT_S = 10.0
_START_TIMEOUT_S = 60.0
_CANNOT_START = {Status.RUNNING: "cannot start an already running container"}
# By these a process is asked to end.
_ENDING = frozenset({signal_.SIGHUP, signal_.SIGINT, signal_.SIGQUIT, signal_.SIGTERM})
_UNREAPED = "the kernel keeps it until every process that was started by exec has been waited for"


class _PoststartError(errors.HostError):
    """A poststart hook failed."""


def _no_class(rdt: IntelRdt) -> str:
    """Why other schemata mean nothing to a container that is in no class of service, in runc's words."""
    if os.path.isdir("/sys/fs/resctrl/info"):
        return "updating a non-existent Intel RDT configuration is not supported"
    if rdt.l3_cache_schema:
        return "Intel RDT/CAT: l3 cache schema is not enabled"
    return "Intel RDT/MBA: memory bandwidth schema is not enabled"


class Container:
    """A container that exists, or did when it was loaded: after `delete` by anybody, methods raise `NotFound`."""

    def __init__(
        self, store: Store, record: Record, spec: Spec, facts: Callable[[], HostFacts], runner: hooks.Runner
    ) -> None:
        self._store = store
        self._record = record
        self._facts = facts
        self._runner = runner
        self.spec = spec

    @property
    def id(self) -> ContainerId:
        return ContainerId(self._record.id)

    @property
    def bundle(self) -> str:
        return self._record.bundle

    @property
    def pid(self) -> int:
        """Of the container's first process; 0 when it has none any more."""
        return self._record.pid if self._is_alive() else 0

    @property
    def created(self) -> str:
        """When, as RFC 3339."""
        return self._record.created

    @property
    def owner(self) -> str:
        """Name of the user who created it."""
        return self._record.owner

    @property
    def creator(self) -> str:
        """What its creator gave to know it by, when it has to be undone."""
        return self._record.creator

    @property
    def cgroup(self) -> Cgroup:
        return Cgroup(self._record.cgroup)

    @property
    def rootfs(self) -> str:
        return rootfs_path(self.bundle, self.spec)

    def read_process(self) -> Process:
        """What `exec` starts from. As in runc that is config.json's process as it is now; where that file has gone, or
        the Spec came from none, the process that the container was created with. SpecError, which names the file.
        """
        process = self._read_spec().process or self.spec.process
        if process is None:
            raise errors.SpecError("$.process", "missing: there is nothing to execute another like")
        return process

    def _read_spec(self) -> Spec:
        try:
            return parse.read_spec(self.bundle, self._record.config) if self._record.config else self.spec
        except errors.NotFound:
            return self.spec

    # ---- questions --------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """What it is now."""
        if self._record.pid == 0:
            return Status.CREATING if self._store.is_busy(self.id) else Status.STOPPED
        if not self._is_alive():
            return Status.STOPPED
        if self.cgroup.frozen():
            return Status.PAUSED
        return Status.CREATED if _waits_for_start(self._store.fifo(self.id)) else Status.RUNNING

    def state(self) -> State:
        """The state document."""
        status = self.status()
        return State(
            id=self.id,
            status=status,
            pid=0 if status is Status.STOPPED else self._record.pid,
            bundle=self.bundle,
            rootfs=self.rootfs,
            created=self.created,
            owner=self.owner,
            annotations=self.spec.annotations or msgspec.UNSET,
        )

    def processes(self) -> list[int]:
        """Pids of all processes in its cgroup; of a container without one, of its first process."""
        if not self._record.cgroup:
            return [self.pid] if self.pid else []
        return self.cgroup.pids()

    def stats(self) -> Stats:
        """What it has used."""
        return self._limited("statistics").stats()

    def other_namespaces(self) -> Namespace:
        """Those in which it differs from us, for setns(2) with its pidfd; but for its pid namespace, which a process
        cannot enter itself."""
        from . import namespaces  # for the agent alone

        return namespaces.probe_different(self._record.pid) & ~Namespace.PID

    def cgroup_descriptors(self) -> list[int]:
        """A process of one thread that writes "0" into each is under the container's limits. The caller closes them."""
        return self.cgroup.joinable(self._record.pid).join_descriptors()

    # ---- lifecycle --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the process of a created container go; returns when it has executed (or ended before).

        StateError when it is not `created`. Errors of poststart hooks: HostError, and the container is stopped and
        deleted, as the specification's lifecycle has it.
        """
        try:
            self._start()
        except _PoststartError as error:
            self.delete(force=True)
            raise errors.HostError(str(error)) from error

    def _start(self) -> None:
        with self._store.locked(self.id):
            # Who creates it held the lock until now: a container that was `creating` when it was loaded is created.
            self._record = self._store.read(self.id)
            status = self.status()
            if status is Status.STOPPED:
                raise errors.StateError("cannot start a container that has stopped")
            if status is not Status.CREATED:
                raise errors.StateError(
                    _CANNOT_START.get(status, f"cannot start a container in the {status.value} state")
                )
            if self.spec.process is None:
                raise errors.SpecError("$.process", "process property must not be empty")
            self._open_start_barrier()
            self._run_poststart()

    def kill(self, signal: int, all: bool = False) -> None:
        """Send a signal to the first process, or to every process of the container.

        Where the container shares a pid namespace SIGKILL always goes to all, whether or not the first is among them
        still: nothing else would end the rest. StateError when there is nobody; with `all` that is as it should be.
        """
        if signal in _ENDING and self._owns_pids() and self._end_created():
            return
        everyone = all or (signal == signal_.SIGKILL and not self._owns_pids())
        with liveness.opened_process(self._record.pid, self._record.start_time) as pid_fd:
            if pid_fd is None and not (everyone and self.processes()):
                if not all:
                    raise errors.StateError("container not running")
            elif everyone and self._record.cgroup:
                self.cgroup.kill(signal)
            elif pid_fd is not None:
                _send(pid_fd, signal)
                if signal == signal_.SIGKILL and self.cgroup.frozen():
                    self.cgroup.thaw()  # a frozen process of cgroup v1 dies only when it is thawed

    def _end_created(self) -> bool:
        """End what waits to be started. The first process of a pid namespace hears of no signal that it handles not
        (pid_namespaces(7)), so whoever asks it to end would wait for ever; in runc it handles these."""
        if self.status() is not Status.CREATED:
            return False
        with self._store.locked(self.id):
            if self.status() is not Status.CREATED:
                return False  # it has been started meanwhile, and may handle it
            self.kill(signal_.SIGKILL)
            return True

    def delete(self, force: bool = False) -> None:
        """Remove everything of a stopped container, then run poststop hooks; idempotent after a crash.

        `force` kills it first. StateError when it runs.
        """
        with self._store.locked(self.id):
            status = self.status()
            # We hold the lock, so that nobody creates it any more: it never came to be.
            if status not in {Status.STOPPED, Status.CREATED, Status.CREATING} and not force:
                raise errors.StateError(f"cannot delete container {self.id} that is not stopped: {status.value}")
            self._kill_everything()
            self._delete_cgroup()
            self._remove_cache_class()
            if self._record.root_mount:
                shared_root.unmount(self.rootfs, self._record.root_mount)
            state_ = state.format_hook_state(self.id, Status.STOPPED, 0, self.bundle, self.spec.annotations)
            self._store.remove(self.id)
            self._runner.run_all_and_warn("poststop", self.spec.hooks.poststop, state_)

    def pause(self) -> None:
        """Freeze all processes."""
        with self._store.locked(self.id):
            status = self.status()
            if status not in {Status.RUNNING, Status.CREATED}:
                raise errors.StateError(f"container not running: {status.value}")
            self._limited("a freezer").freeze()

    def resume(self) -> None:
        """Thaw what `pause` froze."""
        with self._store.locked(self.id):
            if self.status() is not Status.PAUSED:
                raise errors.StateError("container not paused")
            self.cgroup.thaw()

    def update(self, resources: Resources, rdt: IntelRdt | None = None) -> None:
        """Change limits of a container that has a process; `rdt` has other schemata for the class it is in."""
        with self._store.locked(self.id):
            if not self._is_alive():
                raise errors.StateError("container not running")
            cgroup = self._limited("limits")
            resources = cgroup_plan.complete(resources, cgroup.current())
            writes = cgroup_plan.plan_update(resources, self._facts())
            self._tell_systemd(resources)
            cgroup.apply(writes)
            if rdt is not None:
                if self._cache_class is None:
                    raise errors.StateError(_no_class(rdt))
                self._cache_class.change(rdt)

    def checkpoint(self, options: CriuOptions) -> None:
        """Write its processes to images, by criu; they end with it unless they are to be left running. HostError."""
        from . import criu  # for those alone who have it

        with self._store.locked(self.id):
            status = self.status()
            if status not in {Status.RUNNING, Status.PAUSED}:
                raise errors.StateError(f"Container cannot be checkpointed in {status.value} state")  # runc's words
            criu.run(criu.plan_dump(self.spec, self._record.pid, self.rootfs, options), options)

    def exec(
        self,
        process: Process,
        stdio: Stdio,
        *,
        terminal: Terminal | None = None,
        console_socket: str | None = None,
        pass_fds: Sequence[int | None] = (),
        cgroup: Mapping[str, str] | None = None,
        no_new_keyring: bool = False,
        before_start: Callable[[Spawned], None] | None = None,
        ignore_paused: bool = False,
        executable: str | None = None,
    ) -> Spawned:
        """Start another process in the container; returns when it has executed. StateError when it does not run.

        `cgroup` has paths below the container's cgroup, by controller (see `Cgroup.below`). `before_start` is called
        when the process (and its pty) is there and has executed nothing of its own yet; what it raises ends it.
        `executable`: a program other than argv[0], which then is only the name that the process goes by.
        """
        status = self.status()
        if status in {Status.STOPPED, Status.CREATING}:
            raise errors.StateError(f"cannot exec in a {status.value} container")
        if status is Status.PAUSED and not ignore_paused:
            raise errors.StateError("cannot exec in a paused container", hint="use --ignore-paused to override")
        state_ = State(id=self.id, status=status, pid=self._record.pid, bundle=self.bundle)
        from ..plan import identity
        from . import execute  # planning takes a while to load, and most commands need none

        target = execute.Target(
            self.id,
            self._record.pid,
            self._record.start_time,
            self._exec_cgroup(cgroup),
            self.spec.linux,
            state_,
            None if self._cache_class is None else self._cache_class.assign,
        )
        process = identity.complete_process(process, self.spec.process)
        identity.check_mapped(process.user, self.spec.linux)
        for warning in identity.find_warnings(process, self._facts()):
            self._runner.on_warning(warning)
        request = execute.Request(
            process, stdio, terminal, console_socket, tuple(pass_fds), no_new_keyring, before_start, executable
        )
        return execute.execute(target, request, self._store.seccomp_cache, self._facts(), self._runner.waiter)

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _is_alive(self) -> bool:
        return liveness.is_alive(self._record.pid, self._record.start_time)

    def _limited(self, wanted: str) -> Cgroup:
        """The cgroup, for what there is only with one."""
        if not self._record.cgroup:
            raise errors.StateError(f"the container has no cgroup, and so no {wanted.removeprefix('a ')}")
        return self.cgroup

    def _owns_pids(self) -> bool:
        return any(n.type is NamespaceType.PID and not n.path for n in self.spec.linux.namespaces)

    def _exec_cgroup(self, below: Mapping[str, str] | None) -> Cgroup:
        if not below:
            return self.cgroup.joinable(self._record.pid)
        return self._limited("cgroup below it").below(below)

    def _open_start_barrier(self) -> None:
        """One byte, then wait until nobody holds the FIFO any more: exec closes it, and so does death."""
        path = self._store.fifo(self.id)
        fifo_fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fifo_fd, b"0")
            # From here on it is not `created` any more, even if we die.
            os.unlink(path)
            _await_no_reader(fifo_fd, time.monotonic() + _START_TIMEOUT_S)
        finally:
            os.close(fifo_fd)

    def _tell_systemd(self, resources: Resources) -> None:
        """It would set limits back to what it knows the next time that it reloads."""
        if self._record.unit:
            from ..kernel import systemd  # needs jeepney, which only this driver does
            from ..plan import systemd as systemd_plan

            systemd.set_properties(self._record.unit, systemd_plan.plan_limits(resources))

    @functools.cached_property
    def _cache_class(self) -> CacheClass | None:
        asked = self.spec.linux.intel_rdt
        if asked is None:
            return None
        from . import rdt  # few processors have it

        return rdt.find_class(asked, self.id)

    def _remove_cache_class(self) -> None:
        try:
            if self._cache_class is not None:
                self._cache_class.remove()
        except errors.HostError:
            return  # resctrl is not mounted any more, and its groups are gone with it

    def _delete_cgroup(self) -> None:
        if self._record.unit:
            from ..kernel import systemd  # needs jeepney, which only this driver does

            systemd.stop(self._record.unit)
        self.cgroup.delete()

    def _run_poststart(self) -> None:
        if not self.spec.hooks.poststart:
            return
        pid = self._record.pid
        document = state.format_hook_state(self.id, Status.RUNNING, pid, self.bundle, self.spec.annotations)
        try:
            self._runner.run_all("poststart", self.spec.hooks.poststart, document)
        except errors.PilotError as error:
            raise _PoststartError(str(error)) from error

    def _kill_everything(self) -> None:
        with liveness.opened_process(self._record.pid, self._record.start_time) as pid_fd:
            if pid_fd is not None:
                with contextlib.suppress(errors.StateError):
                    _send(pid_fd, signal_.SIGKILL)
            if self.cgroup.exists():
                self.cgroup.kill(signal_.SIGKILL, _KILL_TIMEOUT_S)
            if pid_fd is not None and not liveness.has_ended(pid_fd, _KILL_TIMEOUT_S):
                raise errors.HostError(
                    f"kill process {self._record.pid}: it has not ended after {_KILL_TIMEOUT_S:.0f} s", hint=_UNREAPED
                )


def _send(pid_fd: int, signal: int) -> None:
    """StateError when the process has ended since it was looked for."""
    try:
        signal_.pidfd_send_signal(pid_fd, signal)
    except ProcessLookupError as error:
        raise errors.StateError("container not running") from error


def rootfs_path(bundle: str, spec: Spec) -> str:
    """The rootfs as an absolute path without links."""
    assert spec.root is not None  # checked when it was parsed
    return os.path.realpath(os.path.join(bundle, spec.root.path))


def load_container(store: Store, id: ContainerId, facts: Callable[[], HostFacts], runner: hooks.Runner) -> Container:
    """The container of that id; `NotFound`."""
    record = store.read(id)
    return Container(store, record, parse.parse_spec(store.read_config(id)), facts, runner)


def _waits_for_start(fifo: str) -> bool:
    """The process holds its FIFO open until exec."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.ENOENT}:
            return False
        raise
    return True


def _await_no_reader(fifo_fd: int, deadline: float) -> None:
    """poll(2) reports POLLERR on the writing end of a FIFO without readers."""
    poll = select.poll()
    poll.register(fifo_fd, 0)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise errors.HostError("start: the process has not executed in time (a startContainer hook may still run)")
