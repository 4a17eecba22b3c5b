"""`create`: from a bundle to a container whose process waits at the start barrier, or to nothing at all.

    Record (pid 0) and lock ─► cgroup ─► descriptors ─► launch ─┬ idmap, hooks
                                                                 └ release: limits, Record (pid) ─► created

Each thing that is made is undone in reverse when a later one fails. If we are killed in between: the process sees the
end of its channel and ends; the Record names the cgroup, so that `delete --force` finds it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..ids import ContainerId
from ..kernel import cgroup_devices, inroot, launcher, mounts
from ..kernel import process as kernel_process
from ..kernel.cgroups import Cgroup
from ..kernel.hierarchies import Hierarchies
from ..plan import cgroup as cgroup_plan
from ..plan import create as create_plan
from ..plan import identity
from ..plan.abi import Namespace
from ..plan.cgroup import Placement
from ..plan.facts import CgroupMount, HostFacts
from ..plan.identity import NO_PROCESS, Ending
from ..plan.plan import CGROUP, LISTENER, ROOT, Plan, clean
from ..spec import parse, state
from ..spec.config import Spec
from ..spec.process import Process
from ..spec.state import State, Status
from . import environment, filters, hooks, namespaces, shared_root, steps
from .barriers import CreateBarriers
from .container import rootfs_path
from .descriptors import Descriptors, closed_numbers, opened_directory
from .execute import taken
from .openings import opened
from .store import Record, Store
from .values import Spawned, Stdio, Terminal

if TYPE_CHECKING:
    from .criu import CriuOptions
    from .rdt import CacheClass


class Request(msgspec.Struct, frozen=True):
    """What `Runtime.create` was asked."""

    id: ContainerId
    bundle: str
    spec: Spec
    stdio: Stdio
    terminal: Terminal | None = None
    console_socket: str | None = None
    pass_fds: tuple[int | None, ...] = ()
    no_pivot: bool = False
    no_new_keyring: bool = False
    idmap_root: bool = False
    creator: str = ""
    config: str = ""
    on_plan: Callable[[Plan], None] | None = None
    keeps_failed: bool = False

    @property
    def wants_terminal(self) -> bool:
        return self.terminal is not None or bool(self.spec.process and self.spec.process.terminal)


class Host(msgspec.Struct, frozen=True):
    """Where it is created."""

    store: Store
    facts: HostFacts
    hierarchies: Hierarchies
    cgroup_driver: str
    runner: hooks.Runner


def create(request: Request, host: Host) -> tuple[Record, Spawned]:
    """Make the container. After an error nothing of it is left; if it `keeps_failed`, one that stopped."""
    with _begun(request, host) as (record, cgroup, undo):
        try:
            return _launch(request, host, cgroup, record, undo)
        except errors.StepError:
            if request.keeps_failed:
                undo.pop_all()
            raise


def restore(request: Request, host: Host, options: CriuOptions) -> tuple[Record, Spawned]:
    """Make a container whose processes are those of criu's images; they run. After an error nothing of it is left."""
    from . import criu  # for those alone who have it

    with _begun(request, host) as (record, cgroup, undo):
        rootfs = rootfs_path(request.bundle, request.spec)
        fifo = host.store.fifo(request.id)
        pid_file = f"{fifo}.pid"
        criu.run(criu.plan_restore(request.spec, request.bundle, rootfs, pid_file, options), options)
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        spawned = Spawned(pid, kernel_process.start_time(pid), os.pidfd_open(pid))
        undo.callback(spawned.close)
        undo.callback(signal.pidfd_send_signal, spawned.pid_fd, signal.SIGKILL)
        cache_class = _cache_class(request, undo)
        _limit(cgroup, request.spec, host)
        # It was started before it was written down: nobody waits at its barrier.
        os.unlink(fifo)
        restored = msgspec.structs.replace(record, pid=pid, start_time=spawned.start_time)
        host.store.write(restored)
        criu.resume(pid, cgroup, cache_class)
        return restored, spawned


@contextlib.contextmanager
def _begun(request: Request, host: Host) -> Iterator[tuple[Record, Cgroup, contextlib.ExitStack]]:
    """A container without a process: its directory, locked, and its cgroup. An error undoes all in reverse."""
    config = parse.format_spec(request.spec)
    placement = _place(request, host)
    record = Record(
        id=request.id,
        bundle=request.bundle,
        created=format_time(time.time_ns()),
        owner=_user_name(),
        unit=placement.unit.name if placement and placement.unit else "",
        creator=request.creator,
        config=request.config,
        cgroup=host.hierarchies.paths(placement.path, relative=placement.relative) if placement else {},
    )
    with host.store.added(record, config), contextlib.ExitStack() as undo:
        undo.callback(host.store.remove, request.id)
        _require_usable(Cgroup(record.cgroup))
        with _unit(placement, request, undo):
            cgroup = _make_cgroup(placement, request, host)
            undo.callback(cgroup.delete)
            record = msgspec.structs.replace(record, cgroup=cgroup.paths)
            owner = cgroup_plan.plan_owner(request.spec, host.facts)
            if owner is not None:
                cgroup.delegate(owner, -1)
            undo.callback(_run_poststop, request, host.runner)
            yield record, cgroup, undo
        undo.pop_all()


def _place(request: Request, host: Host) -> Placement | None:
    """Where its cgroup is to be; None for a container without one."""
    linux = request.spec.linux
    if host.cgroup_driver == "disabled":
        cgroup_plan.require_none(linux.resources)
        return None
    return cgroup_plan.plan_placement(linux.cgroups_path, request.id, host.cgroup_driver, host.facts.is_rootless)


def _run_poststop(request: Request, runner: hooks.Runner) -> None:
    """The specification: what was begun and failed is stopped, and what follows on a stop follows."""
    document = state.format_hook_state(request.id, Status.STOPPED, 0, request.bundle, request.spec.annotations)
    runner.run_all_and_warn("poststop", request.spec.hooks.poststop, document)


def _require_usable(cgroup: Cgroup) -> None:
    """The cgroup is the container's own: others who live in it would be killed and frozen with it.

    And nothing starts in one that is frozen: whoever waited for its first step would wait in vain.
    """
    present = len(set(cgroup.occupants()))
    if present:
        raise errors.Conflict(f"container's cgroup is not empty: {present} process(es) found")
    frozen = cgroup.find_frozen()
    if frozen is not None:
        raise errors.StateError(f"container's cgroup unexpectedly frozen: {frozen}", hint="thaw it first")


@contextlib.contextmanager
def _unit(placement: Placement | None, request: Request, undo: contextlib.ExitStack) -> Iterator[None]:
    """With the systemd driver, the unit whose cgroup it is; its holder keeps it until the process is in."""
    unit = placement.unit if placement else None
    if unit is None:
        yield
        return
    from ..kernel import systemd  # needs jeepney, which only this driver does
    from ..plan import systemd as systemd_plan

    def properties(pids: tuple[int, ...]) -> list[systemd_plan.Property]:
        spec = request.spec
        return systemd_plan.plan_properties(unit, request.id, spec.linux.resources, pids, spec.annotations)

    with systemd.started(unit.name, properties):
        undo.callback(systemd.stop, unit.name)
        yield


def _make_cgroup(placement: Placement | None, request: Request, host: Host) -> Cgroup:
    if placement is None:
        return Cgroup({})
    # As in runc: where a cgroup is named, it is that one or none.
    is_named = bool(request.spec.linux.cgroups_path)
    return Cgroup.create(
        host.hierarchies,
        placement.path,
        relative=placement.relative,
        skip_denied=host.facts.is_rootless and not is_named,
    )


def _launch(
    request: Request, host: Host, cgroup: Cgroup, record: Record, undo: contextlib.ExitStack
) -> tuple[Record, Spawned]:
    """Plan, open, clone, and meet the process at its barriers; at the last of them the Record gets its pid."""
    spec, linux = request.spec, request.spec.linux
    process_ = _process(spec)
    for warning in (*identity.find_warnings(process_, host.facts), *identity.find_oddities(linux)):
        host.runner.on_warning(warning)
    written = [record]

    def state_document(pid: int, status: Status) -> bytes:
        return state.format_hook_state(request.id, status, pid, request.bundle, spec.annotations)

    cache_class = _cache_class(request, undo)

    def complete(process: launcher.Spawned) -> None:
        if cache_class is not None:
            cache_class.assign(process.pid)
        if linux.seccomp is not None and LISTENER in process.descriptors:
            document = State(id=request.id, status=Status.CREATING, pid=process.pid, bundle=request.bundle)
            filters.send_listener(linux.seccomp, process.descriptors[LISTENER], process.pid, document)
        # As late as this, so that a limit on processes or memory does not count what set the container up.
        _limit(cgroup, spec, host)
        written[0] = msgspec.structs.replace(written[0], pid=process.pid, start_time=process.start_time)
        host.store.write(written[0])

    _grant_real_time(cgroup, spec, host)
    namespaces.check_mappings(linux)
    namespaces.check_sysctls(linux)
    with Descriptors() as descriptors:
        plan = create_plan.plan_create(spec, host.facts, _options(request, host, cgroup, descriptors))
        if request.on_plan is not None:
            request.on_plan(plan)
        by_slot = {**descriptors.enter_context(opened(plan.openings)), **descriptors.by_slot}
        if shared_root.is_shared(spec):
            written[0] = _note_root(by_slot[ROOT], request, host, record, undo)
        inner_pid = 1 if Namespace.PID in plan.new_namespaces else None
        barriers = descriptors.enter_context(
            CreateBarriers(plan, spec.hooks, host.runner, state_document, inner_pid, complete)
        )
        with steps.named(process_):
            process = launcher.launch(plan.program, descriptors=by_slot, waiter=host.runner.waiter, on_barrier=barriers)
    return written[0], taken(process)


def _note_root(
    root_fd: int, request: Request, host: Host, record: Record, undo: contextlib.ExitStack
) -> Record:  # fmt: skip
    """Write down, before there is one, what will be mounted where others see it."""
    noted = msgspec.structs.replace(record, root_mount=shared_root.mount_id(root_fd))
    host.store.write(noted)
    undo.callback(shared_root.unmount, rootfs_path(request.bundle, request.spec), noted.root_mount)
    return noted


def _cache_class(request: Request, undo: contextlib.ExitStack) -> CacheClass | None:
    """The group of resctrl that `intelRdt` asks for, ready to be joined."""
    asked = request.spec.linux.intel_rdt
    if asked is None:
        return None
    from . import rdt  # few processors have it

    found = rdt.find_class(asked, request.id)
    undo.callback(found.remove)
    found.prepare()
    return found


def _grant_real_time(cgroup: Cgroup, spec: Spec, host: Host) -> None:
    """With real-time group scheduling a cgroup has no such time at first, and its processes may not ask for any."""
    resources = spec.linux.resources
    if resources is not None and resources.cpu is not None and resources.cpu.realtime_runtime:
        writes = cgroup_plan.plan_update(resources, host.facts)
        cgroup.apply([write for write in writes if write.file.startswith("cpu.rt_")])


def _limit(cgroup: Cgroup, spec: Spec, host: Host) -> None:
    if not cgroup.paths or (host.facts.is_rootless and spec.linux.resources is None):
        _require_no_limits(spec, host)
        return  # nothing is asked, and device rules are root's
    limits = cgroup_plan.plan_limits(spec.linux.resources, host.facts)
    cgroup.apply(limits.writes)
    if limits.device_program is not None:
        cgroup_devices.attach(cgroup.paths[""], limits.device_program)


def _require_no_limits(spec: Spec, host: Host) -> None:
    """HostError: of a user who may make no cgroup, and wants limits, none is left out in silence."""
    resources = spec.linux.resources
    if resources is None or not host.facts.is_rootless:
        return
    for write in cgroup_plan.plan_update(resources, host.facts):
        raise errors.HostError(f"cannot set {write.controller} limit: container could not join or create cgroup")


def _options(request: Request, host: Host, cgroup: Cgroup, descriptors: Descriptors) -> create_plan.CreateOptions:
    process = _process(request.spec)
    chown: tuple[int, ...] = ()
    if request.wants_terminal:
        descriptors.add_passed(request.pass_fds)
    else:
        chown = descriptors.add_stdio(request.stdio, request.pass_fds)
    if request.console_socket:
        descriptors.add_console_socket(request.console_socket)
    descriptors.add_fifo(host.store.fifo(request.id))
    procs, in_v2 = descriptors.add_cgroup(cgroup)
    rootfs = rootfs_path(request.bundle, request.spec)
    with opened_directory(rootfs, "$.root.path: invalid rootfs:") as root_fd:
        variables = environment.complete_environment(process, root_fd)
        modes = _tmpfs_modes(request.spec, root_fd)
        dev_is_mounted = inroot.is_other_mount(root_fd, "dev")
    compiled = filters.compile_filter(request.spec.linux.seccomp, host.store.seccomp_cache)
    rows, columns = steps.terminal_size(process, request.terminal)
    return create_plan.CreateOptions(
        id=request.id,
        bundle=request.bundle,
        rootfs=rootfs,
        ending=Ending(
            variables,
            3 + len(request.pass_fds),
            request.wants_terminal,
            chown,
            compiled,
            closed=closed_numbers(request.pass_fds),
        ),
        cgroup_procs=procs,
        cgroup_directory=CGROUP if in_v2 else None,
        cgroup_paths=_cgroup_paths(cgroup, host),
        tmpfs_modes=modes,
        dev_is_mounted=dev_is_mounted,
        kernel_mounts=_kernel_mounts(rootfs) if request.no_pivot else (),
        rows=rows,
        columns=columns,
        console_socket=request.console_socket is not None,
        no_pivot=request.no_pivot,
        no_new_keyring=request.no_new_keyring,
        idmap_root=request.idmap_root,
        owned_by_joined_user=namespaces.probe_owned(request.spec.linux),
    )


def _process(spec: Spec) -> Process:
    """`process`; the specification lets it be absent until the container is to be started."""
    return NO_PROCESS if spec.process is None else spec.process


def _tmpfs_modes(spec: Spec, root_fd: int) -> dict[str, int]:
    """A tmpfs without a mode gets that of what it covers, as runc does it."""
    paths = (clean(mount.destination) for mount in spec.mounts if mount.type == "tmpfs")
    modes = {path: inroot.mode_in_root(root_fd, path) for path in paths}
    return {path: mode for path, mode in modes.items() if mode is not None}


def _kernel_mounts(rootfs: str) -> tuple[str, ...]:
    """Where a procfs or sysfs is mounted as a whole, outside of the rootfs; those within others first."""
    whole = (m for m in mounts.read_mountinfo() if m.fstype in {"proc", "sysfs"} and m.root == "/")
    return tuple(m.mount_point for m in reversed(list(whole)) if not f"{m.mount_point}/".startswith(f"{rootfs}/"))


def _cgroup_paths(cgroup: Cgroup, host: Host) -> tuple[tuple[CgroupMount, str], ...]:
    """Each hierarchy that the container has a cgroup in, with its directory."""
    rows = ((mount, cgroup.paths.get(next(iter(mount.controllers), ""))) for mount in host.hierarchies.mounts)
    return tuple((mount, path) for mount, path in rows if path is not None)


def format_time(time_ns: int) -> str:
    """Nanoseconds since 1970 → RFC 3339, in UTC."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09}Z"


def _user_name() -> str:
    """Who creates it, as runc's `owner`; the number, as runc writes it, where there is no passwd."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"#{os.getuid()}"
