"""Machines that are containers of our own runtime: user-namespaced, on a root that all of them share.

    <state-dir>/machines/<id>/
        machine.json    what it was made from
        bundle/         the runtime's bundle: config.json for whoever looks; the spec is given as a value
        console.log     output of init and agent, all boots
        dial.sock       bound and listening before the machine starts, and inherited by it: no path leads out of it
        health.sock     the same, answered by init itself (wire/dial.py)
        out/            mounted in the machine, read-only, at /run/host: pilotd binds host.sock in it (wire/outward.py)
    <runtime root>/machine-<id>/    the runtime's own state; on /run, so a reboot of the host forgets what ran

A machine is nobody's child for long: it outlives pilotd, and is found again through the runtime's state (pid and start
time). pidfds, not pids, are waited for.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import shutil
import signal
import socket
from collections.abc import Callable, Sequence

from .... import errors, runtime
from ....ids import ContainerId, MachineId
from ....kernel import cgroups, fds, hierarchies, idmap, visit, waiter
from ....machine import dial, health, pilot_api
from ....spec.state import Status
from ....wire import dial as lines
from ....wire import outward as outward
from ....wire.schema import DiskReference
from .. import Disk, Isolation, Link, MachineSpec, MachineStatus, Usage, counters, spec_file
from . import attaching, processors
from . import spec as specs

log = logging.getLogger(__name__)

DISK = "disk"
START_S = 30.0
STOP_S = 10.0
KILL_S = 10.0
_DIAL = "dial.sock"
_HEALTH = "health.sock"
_LOG = "console.log"
_OUT = "out"
_WORLD = "world"  # its cgroup, in the machine's
_KEPT_PROCESSES = 512  # by the agent, for itself and init (`agent.world_limits`)
_STATUSES = {
    Status.RUNNING: MachineStatus.RUNNING,
    Status.PAUSED: MachineStatus.FROZEN,
}


class ContainerVmm:
    """A `Vmm`. `guest_root()` is asked at each start."""

    isolation = Isolation.CONTAINER
    mounts_in_guest = False

    def __init__(self, state_dir: str, tag: str, guest_root: Callable[[], str], runtime_root: str) -> None:
        self._machines = os.path.join(state_dir, "machines")
        self._group = f"/pilot-{tag}/machines"
        self._guest_root = guest_root
        self._waiter = waiter.OwnChildren()
        # Of a document that is ours: no operator can do anything about it.
        self._runtime = runtime.Runtime(runtime_root, waiter=self._waiter, on_warning=log.debug)
        _raise_own_files()
        self._children: dict[MachineId, int] = {}  # machines that this process started, and so has to reap

    def max_processes(self, spec: MachineSpec) -> int:
        return spec.pids

    def create(self, spec: MachineSpec) -> None:
        directory = self._path(spec.id)
        os.makedirs(os.path.join(directory, "bundle"), mode=0o700, exist_ok=True)
        spec_file.write(directory, spec)

    def start(
        self, machine: MachineId, disk: Disk | None = None, link: Link | None = None, drives: Sequence[Disk] = ()
    ) -> DiskReference | None:
        spec = spec_file.read(self._path(machine))
        if disk is None:
            self._start(spec, link)
            return None
        with attaching.begun(disk, spec.uid_base, specs.UID_COUNT) as mount:
            self._start(spec, link)
            return self._give(machine, mount())

    def rejoin(self, machine: MachineId, link: Link) -> None:
        link.join(self._runtime.load(_container_id(machine)).pid)

    def attach(self, machine: MachineId, disk: Disk) -> DiskReference:
        return self._give(machine, disk.mount(spec_file.read(self._path(machine)).uid_base, specs.UID_COUNT))

    def drive(self, number: int) -> DiskReference:
        raise errors.StateError(f"drive {number}: disks of a container are mounts that are sent to it")

    def grow_drive(self, machine: MachineId, number: int, size_bytes: int) -> None:
        self.grow_disk(machine, size_bytes)

    def grow_disk(self, machine: MachineId, size_bytes: int) -> None:
        """A volume that the host has mounted does not grow: it is detached first, and is whole when it is back."""
        if self.status(machine) in _STATUSES.values():
            raise errors.StateError(
                f"grow the disk of machine {machine}: the host has it mounted", hint="stop it first"
            )

    def resize(self, spec: MachineSpec) -> bool:
        if self.status(spec.id) not in _STATUSES.values():
            return False
        container = self._runtime.load(_container_id(spec.id))
        if spec.pids < spec_file.read(self._path(spec.id)).pids:
            _check_processes(container.stats().pids.current, spec)
        container.update(specs.limits(spec, runs=True))
        numbers = processors.pick(self._group, spec.id, spec.cpus)
        if numbers is not None:
            processors.move(self._group, spec.id, numbers)
        spec_file.write(self._path(spec.id), spec)
        return True

    def status(self, machine: MachineId) -> MachineStatus:
        try:
            container = self._runtime.load(_container_id(machine))
        except errors.NotFound:
            made = spec_file.exists(self._path(machine))
            return MachineStatus.STOPPED if made else MachineStatus.ABSENT
        status = _STATUSES.get(container.status(), MachineStatus.STOPPED)
        if status is MachineStatus.STOPPED:
            self._reap(machine)
        return status

    def usage(self, machine: MachineId) -> Usage | None:
        try:
            return counters.usage_of(self._runtime.load(_container_id(machine)).stats())
        except (errors.NotFound, errors.StateError):
            return None

    def freeze(self, machine: MachineId) -> None:
        if self.status(machine) is MachineStatus.RUNNING:
            self._runtime.load(_container_id(machine)).pause()

    def suspend(self, machine: MachineId) -> None:
        """Its processes are the host's: they stand still."""
        self.freeze(machine)

    def thaw(self, machine: MachineId) -> None:
        if self.status(machine) is MachineStatus.FROZEN:
            self._runtime.load(_container_id(machine)).resume()

    def stop(self, machine: MachineId) -> None:
        try:
            container = self._runtime.load(_container_id(machine))
        except errors.NotFound:
            return
        self.thaw(machine)  # it is asked first, and is to hear that
        pid_fd = _open_pid(container.pid)
        if pid_fd is not None:
            try:
                self._end(container, pid_fd)
            finally:
                os.close(pid_fd)
        self._reap(machine)
        self._remove_container(machine)

    def destroy(self, machine: MachineId) -> None:
        self.stop(machine)
        try:
            shutil.rmtree(self._path(machine))
        except FileNotFoundError:
            pass  # destroyed already

    def dial_path(self, machine: MachineId) -> str:
        return os.path.join(self._path(machine), _DIAL)

    def outward_path(self, machine: MachineId) -> str:
        return outward.socket_in(os.path.join(self._path(machine), _OUT))

    def ask(self, machine: MachineId) -> None:
        """init, at a door of its own."""
        health.ask(self.health_path(machine))

    def tcp_socket(self, machine: MachineId, family: socket.AddressFamily) -> socket.socket | None:
        """Made in the network namespace of the world, or else of the machine, which it stays in."""
        return self._socket(machine, lambda: _socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))

    def udp_socket(self, machine: MachineId) -> socket.socket | None:
        """As `tcp_socket`."""
        return self._socket(machine, lambda: _socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP))

    def _socket(self, machine: MachineId, make: Callable[[], socket.socket]) -> socket.socket:
        container = self._runtime.load(_container_id(machine))
        if (world_fd := self._open_world(machine)) is not None:
            try:
                return visit.visit_pidfd(world_fd, visit.Namespace.NETWORK, make)
            except OSError as error:
                raise errors.NotFound(f"the world of machine {machine} has just ended") from error
            finally:
                os.close(world_fd)
        pid_fd = _open_pid(container.pid)
        try:
            # Asked after its number is held: what has that number now is the machine, and stays what has it.
            if pid_fd is None or container.status().value not in ("running", "paused"):
                raise errors.NotFound(f"machine {machine} does not run")
            return visit.visit_pidfd(pid_fd, visit.Namespace.NETWORK, make)
        finally:
            if pid_fd is not None:
                os.close(pid_fd)

    def _open_world(self, machine: MachineId) -> int | None:
        """A pidfd of the first process of its world, of whose cgroup all are the machine's; None when it has none."""
        group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(f"{self._group}/{machine}/{_WORLD}"))
        for pid in group.pids():
            pid_fd = _open_pid(pid)
            if pid_fd is not None and _is_first_of_world(pid):
                return pid_fd
            if pid_fd is not None:
                os.close(pid_fd)
        return None

    def health_path(self, machine: MachineId) -> str:
        """Where init says that it and the agent are there, however busy the agent is (`machine.health`)."""
        return os.path.join(self._path(machine), _HEALTH)

    def _give(self, machine: MachineId, mount_fd: int) -> DiskReference:
        """To the agent. Takes the descriptor."""
        try:
            pilot_api.send_descriptor(self.dial_path(machine), DISK, mount_fd)
        finally:
            os.close(mount_fd)
        return DiskReference(descriptor=DISK)

    def _path(self, machine: MachineId) -> str:
        return os.path.join(self._machines, machine)

    def _start(self, spec: MachineSpec, link: Link | None) -> None:
        self.thaw(spec.id)
        if self.status(spec.id) is not MachineStatus.RUNNING:
            self._remove_container(spec.id)
            self._run(spec, link)
        # The listener takes the connection at once; the agent answers when it serves.
        dial.connect(self.dial_path(spec.id), lines.PORT_API, START_S).close()

    def _run(self, spec: MachineSpec, link: Link | None) -> None:
        directory = self._path(spec.id)
        _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        listeners = [_listen(self.dial_path(spec.id))]
        log_fd = os.open(os.path.join(directory, _LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        userns_fd = None
        try:
            userns_fd = _user_namespace(spec)
            userns = "" if userns_fd is None else f"/proc/self/fd/{userns_fd}"
            group = f"{self._group}/{spec.id}"
            devices = [path for path in specs.DEVICES if os.path.exists(path)]
            document = specs.machine_container(
                spec,
                self._guest_root(),
                group,
                max_files,
                userns,
                devices,
                self._ensure_out(directory),
                processors.pick(self._group, spec.id, spec.cpus),
            )
            listeners.append(_listen(self.health_path(spec.id)))
            created = self._runtime.create(
                _container_id(spec.id),
                os.path.join(directory, "bundle"),
                spec=document,
                stdio=runtime.Stdio(None, log_fd, log_fd),
                terminal=None,
                console_socket=None,
                pass_fds=(listeners[0].fileno(), log_fd, listeners[1].fileno()),
            )
        finally:
            os.close(log_fd)
            if userns_fd is not None:
                os.close(userns_fd)
            for listener in listeners:
                listener.close()
        created.process.close()
        self._children[spec.id] = created.process.pid
        # Below its limits the machine makes cgroups of its own. It waits at the start barrier meanwhile.
        created.container.cgroup.delegate(spec.uid_base, spec.uid_base)
        if link is not None:
            link.join(created.container.pid)
        created.container.start()

    def _ensure_out(self, directory: str) -> str:
        path = os.path.join(directory, _OUT)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)  # whoever is root in the machine looks into it as somebody else
        return path

    def _end(self, container: runtime.Container, pid_fd: int) -> None:
        for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, KILL_S)):
            try:
                container.kill(number)
            except errors.StateError:
                pass  # it ended in between
            if _wait_ended(pid_fd, patience_s):
                break

    def _reap(self, machine: MachineId) -> None:
        """No zombie of a machine that has ended. One that an earlier pilotd started is init's to reap."""
        pid = self._children.get(machine)
        if pid is not None and _has_ended(pid):
            self._children.pop(machine, None)

    def _remove_container(self, machine: MachineId) -> None:
        try:
            self._runtime.load(_container_id(machine)).delete(force=True)
        except errors.NotFound:
            pass  # removed already


def _check_processes(count: int, spec: MachineSpec) -> None:
    """`HostError` when they would leave none of what is kept for init and agent, who then could begin nothing."""
    most = spec.pids - min(_KEPT_PROCESSES, spec.pids // 4)
    if count > most:
        raise errors.HostError(f"limit machine {spec.id} to {spec.pids} processes: there are {count} by now")


def _raise_own_files() -> None:
    """Of this process, and so of the machines that it starts: as many as there may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, specs.MAX_FILES), hard))


def _user_namespace(spec: MachineSpec) -> int | None:
    """Made by the machine's own uid, so that what the kernel counts per uid is its own; None where only root may."""
    rows = [(each.container_id, each.host_id, each.size) for each in specs.ids(spec)]
    try:
        return idmap.owned_user_namespace(spec.uid_base, spec.uid_base, rows, rows)
    except errors.StepError as error:
        log.warning("user namespace made by root, its limits are shared", extra={"error": str(error)})
        return None


def _container_id(machine: MachineId) -> ContainerId:
    return ContainerId(f"machine-{machine}")


def _listen(path: str) -> socket.socket:
    """A listening Unix socket at `path`; an older one there is replaced. The name may be longer than an address."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        name = os.path.basename(path)
        with fds.short_path(os.path.dirname(path)) as directory:
            temporary = os.path.join(directory, f".{name}.new")
            if os.path.lexists(temporary):
                os.unlink(temporary)
            listener.bind(temporary)
            os.chmod(temporary, 0o600)
            listener.listen(128)
            os.rename(temporary, os.path.join(directory, name))
    except BaseException:
        listener.close()
        raise
    return listener


def _socket(family: socket.AddressFamily, kind: socket.SocketKind, protocol: int) -> socket.socket:
    made = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    made.setblocking(False)
    return made


def _is_first_of_world(pid: int) -> bool:
    """Whether it is number 1 of a pid namespace right below its machine's."""
    try:
        with open(f"/proc/{pid}/status") as status:
            numbers = next(line.split()[1:] for line in status if line.startswith("NSpid:"))
    except (OSError, StopIteration):  # it has just ended
        return False
    return len(numbers) == 3 and numbers[2] == "1"


def _open_pid(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        return None


def _wait_ended(pid_fd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(pid_fd, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # reaped already
