"""The user's world: its disk mounted at /run/disk, and the inner container that runs in it.

    none ──PUT: mount ► prepare ► create ► start──► running ──DELETE: sessions, kill, delete, unmount──► none
              └──────────── any error: all of it undone ────────────► failed ──PUT──► ...

Every step can be repeated: a PUT or DELETE that was cut off (the agent died) is finished by the next. Nothing here is
remembered that the kernel or the runtime knows: a new agent asks them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import msgspec

from .. import errors
from ..kernel import ext4, freeze, mounts, visit
from ..runtime.values import Stdio
from ..spec import parse
from ..spec.process import Process
from ..wire import faults, schema
from . import document, names, network, rootfs, shown, trust, world_limits, world_rights, world_spec
from .checkpoints.shelf import PLACE as SAVED
from .containers import naming
from .containers.registry import Registry
from .descriptors import Descriptors
from .files.pool import Entrance, Pool
from .identity import clouds
from .inside import fly_places, places
from .machine import Inner, Machine, status_of
from .out_of_memory import OutOfMemory
from .sessions import Sessions
from .view import places as view_places

SPRITE = "sprite"
UNMOUNT_TIMEOUT_S = 20.0
LEAVE_S = 5.0
_ENDED = "the world's first process has ended"
_UNFINISHED = "its agent died before the copy was made another one"
_SETTINGS = naming.store_name(naming.WORLD, "settings")
_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions need of the request that started the world. `is_unfinished`: it runs on a copy of another's disk,
    and is not yet made another one."""

    hostname: str
    environment: dict[str, str]
    privileges: schema.Privileges = schema.Privileges()
    is_unfinished: bool = False


class World:
    """At most one per machine. Mutations are serialised; `state` may be read at any time."""

    def __init__(
        self,
        machine: Machine,
        registry: Registry,
        sessions: Sessions,
        given: Descriptors,
        out_of_memory: OutOfMemory,
    ) -> None:
        self._machine = machine
        self._registry = registry
        self._given = given
        self._sessions = sessions
        self._lock = asyncio.Lock()
        self._container: Inner | None = None
        self._root: rootfs.Root | None = None
        self._files: Pool | None = None
        self._settings = Settings(hostname="sprite", environment={})
        self.out_of_memory = out_of_memory
        self._noting: asyncio.Task[None] | None = None
        self.default_environment: dict[str, str] = {}
        self.network: schema.NetworkCard | None = None
        self.on_fit: Callable[[world_limits.Size], None] = lambda _: None
        self.binds: Callable[[], list[tuple[str, str, bool]]] = list  # as `inside.places.binds`
        self.enter: Callable[[int], None] = lambda _: None  # what is put into it before anything of it runs; blocks
        self.before_start: Callable[[str, Mapping[str, str]], Awaitable[None]] | None = None
        self.state: schema.WorldState = "none"
        self.error: str | None = None

    def restore(self) -> None:
        """Take over the world of a former agent, if it runs."""
        inherited = self._machine.link.inherited
        if _SETTINGS in inherited:
            fd = self._machine.link.take(_SETTINGS)
            self._settings = document.read(fd, Settings)
            os.close(fd)
        try:
            container = self._machine.runtime.load(naming.WORLD)
        except errors.NotFound:
            return
        if self._settings.is_unfinished:
            self.state, self.error = "failed", _UNFINISHED  # nobody was told that it runs; a start begins anew
        elif status_of(container) in ("running", "paused"):
            self._set_running(container)
        else:
            self.state, self.error = "failed", _ENDED
            self._noting = asyncio.create_task(self._registry.missed(naming.WORLD), name="note how the world ended")

    def container(self) -> Inner:
        """The running world; `Unavailable` when there is none."""
        if self.state != "running" or self._container is None:
            raise faults.WorldNotRunning(f"the world is not running: {self.error or self.state}")
        return self._container

    def root(self) -> rootfs.Root:
        """The world's files, as its processes see them; `Unavailable` when it does not run."""
        self.container()
        assert self._root is not None
        return self._root

    def files(self) -> Pool:
        """Who does things to the world's files, in the world; `Unavailable` when it does not run."""
        self.container()
        assert self._files is not None
        return self._files

    def answer(self) -> schema.WorldAnswer:
        """State and PID 1."""
        return schema.WorldAnswer(status=self.state, pid=self._container.pid if self._container else None)

    def networks(self) -> list[int]:
        """A process of each network there is: the world's, where it runs, then the machine's own."""
        running = [] if self.state != "running" or self._container is None else [self._container.pid]
        return [*running, os.getpid()]

    def person(self) -> world_spec.Person:
        """Who runs sessions: `sprite` where the world has such a user, else root. Blocks, for as long as files of the
        world do; whoever ends it meanwhile closes no descriptor of ours."""
        try:
            root = rootfs.Root.open(f"/proc/{self.container().pid}/root")
        except (FileNotFoundError, ProcessLookupError) as error:
            raise faults.WorldNotRunning(f"the world is not running: {_ENDED}") from error
        with root:
            passwd, group = root.read_small("/etc/passwd"), root.read_small("/etc/group")
        return world_spec.find_person(SPRITE, passwd, group) or world_spec.ROOT

    def given(self) -> dict[str, str]:
        """What the host gives to all that runs in the world."""
        return {**self.default_environment, **self._settings.environment}

    def environment(self) -> dict[str, str]:
        """That, where credentials are that it asks for, and what its programs believe; what is given goes first."""
        given = self.given()
        return {**trust.variables(self.authority()), **given, **clouds.variables(given, self._settings.hostname)}

    def authority(self) -> str | None:
        """What is to be believed of the machine's connectors, as long as it has any."""
        return None if self.network is None else self.network.authority

    async def believe(self) -> None:
        """Of a world that runs: what begins from now on believes what the machine's network says by now."""
        if self.state == "running" and self._root is not None:
            async with self._lock:
                await _to_the_end(trust.write, self._machine.paths.policy, self.authority(), self.root())

    def process(self, arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool) -> Process:
        """The process of a session."""
        person = self.person()
        variables = world_spec.environment(person, self.environment(), env, tty=tty)
        directory = os.path.join(person.home, cwd) if cwd else person.home
        return self._process(arguments, person, directory, variables, tty=tty)

    def _process(
        self, arguments: Sequence[str], person: world_spec.Person, cwd: str, env: Sequence[str], *, tty: bool
    ) -> Process:
        rights, files = self.rights(), _files_limit()
        wanted = world_spec.process(arguments, person, cwd, env, tty=tty, files=files, rights=rights)
        return parse.parse_process(msgspec.json.encode(wanted))

    def rights(self) -> world_rights.Rights:
        """What may be done by whatever runs in the world."""
        return world_rights.plan_rights(self._settings.privileges)

    def privileges(self) -> schema.Privileges | None:
        """Those that it was started with; None when it does not run."""
        return self._settings.privileges if self.state == "running" else None

    def is_read_only(self) -> bool:
        """Whether its filesystem takes no writes since it met an error; of one that the machine's own kernel mounts."""
        if self.state != "running" or self._machine.isolation != "vm":
            return False
        try:
            return freeze.has_ext4_failed(self._machine.paths.disk)
        except OSError as error:
            _log.warning("filesystem not looked at: %s", errors.told(error))
            return False

    async def start(self, request: schema.WorldRequest) -> None:
        """Mount the disk and run the world; returns when it runs.

        When it runs already it gets the name and the environment of the request, and a drive that has grown has its
        filesystem grown too.
        """
        self._check(request)
        async with self._lock:
            wanted = Settings(
                hostname=request.hostname or self._settings.hostname,
                environment=dict(request.environment),
                privileges=self._settings.privileges if self.state == "running" else request.privileges,
            )
            if self.state == "running":
                if request.disk.serial is not None:
                    await asyncio.to_thread(_grow, self._machine.paths.disk)
                if wanted != self._settings:
                    await _to_the_end(self._rename, wanted)
                    await self._announce()
                return
            self.state, self.error = "starting", None
            self._settle(msgspec.structs.replace(wanted, is_unfinished=request.is_copy))
            try:
                await self._end()
                await self._announce()
                container = await _to_the_end(self._start, request)
                if request.is_copy:
                    self._settle(wanted)
                self._set_running(container)
            except BaseException as error:
                self.error = errors.told(error)
                await asyncio.shield(self._undo())
                raise

    def _check(self, request: schema.WorldRequest) -> None:
        """Of what can never be, nothing is begun."""
        if (request.disk.descriptor is None) == (request.disk.serial is None):
            raise faults.InvalidRequest("disk: name either a descriptor or a serial")
        if request.disk.serial is not None and self._machine.isolation == "container":
            raise no_drive(request.disk.serial, hint="a container has no drives: send a descriptor to port 10001")
        if request.hostname:
            names.check(request.hostname)
        world_spec.check_environment(request.environment)

    async def _announce(self) -> None:
        """What its processes will look for is there before them."""
        if self.before_start is not None:
            await self.before_start(naming.WORLD, self.given())

    async def fit(self) -> str | None:
        """Hold a world that runs to what the machine has by now; why that cannot be, or None."""
        if self.state != "running":
            return None  # its start looks
        async with self._lock:
            try:
                size = await _to_the_end(self._fit)
            except (errors.HostError, OSError) as error:
                return str(error)
        if size is not None:
            self.on_fit(size)
        return None

    def _fit(self) -> world_limits.Size | None:
        """The size, where it is another than the world is held to."""
        size = world_limits.probe_size()
        limits = world_limits.resources(size)
        if world_limits.held() in (None, world_limits.in_pages(limits)):
            return None
        world_limits.check_use(limits)
        world_limits.hold(limits)
        self.container().update(parse.parse_resources(msgspec.json.encode(limits)))
        network.tell_size(self._machine.paths.policy, size.memory_bytes)
        return size

    async def leave(self) -> None:
        """Nothing of this agent's goes on; the world does."""
        self.out_of_memory.end()
        self._registry.leave()
        if self._files is not None:
            files, self._files = self._files, None
            try:
                async with asyncio.timeout(LEAVE_S):
                    await files.close()
            except TimeoutError:
                # In a frozen cgroup: they are killed all the same, when it is thawed.
                _log.warning("children of the world have not ended within %s s", LEAVE_S)

    async def stop(self) -> None:
        """End sessions and world, unmount. Returns when nothing holds the disk; idempotent."""
        async with self._lock:
            self.state = "stopping"
            try:
                await self._end()
                await _to_the_end(_unmount, self._machine.paths.disk)
            except BaseException as error:
                self.state, self.error = "failed", errors.told(error)
                raise
            self.state, self.error = "none", None

    async def _undo(self) -> None:
        """No container; the disk stays mounted, so that a PUT can be tried again. DELETE unmounts it."""
        try:
            await self._end()
        except (errors.PilotError, OSError) as error:
            _log.error("clean up after a failed start: %s", error)
        self.state = "failed"

    async def _end(self) -> None:
        """No session, no container."""
        self._registry.remove(naming.WORLD)
        self.out_of_memory.end()
        if self._noting is not None:
            # The record must be taken before the container is deleted.
            await asyncio.gather(self._noting, return_exceptions=True)
            self._noting = None
        files, self._files = self._files, None
        if files is not None:
            files.refuse()
        try:
            await self._sessions.end_all(naming.WORLD)
            if self._root is not None:
                self._root.close()
                self._root = None
            self._container = None
            # Kills, and thaws, all that is in the world's cgroups: the files' children are among it.
            await _to_the_end(self._delete)
        finally:
            if files is not None:
                await files.close()

    def _delete(self) -> None:
        try:
            container = self._machine.runtime.load(naming.WORLD)
        except errors.NotFound:
            pass
        else:
            container.delete(force=True)

    def _start(self, request: schema.WorldRequest) -> Inner:
        self._mount(request.disk)
        self._prepare()
        paths = self._machine.paths
        os.makedirs(paths.bundle, mode=0o700, exist_ok=True)
        rights = self.rights()
        network.tell_privileges(paths.policy, self._settings.privileges)
        devices = [device for device in rights.devices if os.path.exists(device)]
        withheld = world_limits.find_withheld(rights.withheld)
        size = world_limits.probe_size()
        network.tell_size(paths.policy, size.memory_bytes)
        limits = world_limits.resources(size)
        world_limits.hold(limits)
        shown.ensure(paths)
        fly = fly_places.ensure(paths.run, paths.inside, naming.WORLD)
        config = world_spec.config(
            paths.rootfs,
            paths.init,
            self._settings.hostname,
            policy=shown.source(paths, paths.policy),
            inside=[
                *places.binds(paths),
                *self.binds(),
                (shown.source(paths, fly), fly_places.PLACE, False),
            ],
            view=view_places.binds(paths.run),
            boot_offset_s=_boot_offset_s() if self._machine.isolation == "container" else None,
            devices=devices,
            card=network.find_card(self.network is not None),
            files=_files_limit(),
            resources=limits,
            machine=os.uname().machine,
            rights=rights,
            withheld=withheld,
        )
        with open(os.path.join(paths.bundle, "config.json"), "wb") as file:
            file.write(msgspec.json.encode(config))
        created = self._machine.runtime.create(naming.WORLD, paths.bundle, stdio=Stdio(None, None, None))
        os.close(created.process.pid_fd)
        world_limits.withhold(withheld)
        network.settle(created.container.pid, self.network)
        self.enter(created.container.pid)
        created.container.start()
        if request.is_copy:
            self._be_another(created.container)
        return created.container

    def _be_another(self, container: Inner) -> None:
        """The world is on a copy of another's disk, and not that one."""
        from . import copied  # most worlds are not

        variables = world_spec.environment(world_spec.ROOT, {}, (), tty=False)
        process = self._process(("true",), world_spec.ROOT, "/", variables, tty=False)
        with rootfs.Root.open(f"/proc/{container.pid}/root") as root:
            copied.renew(root, copied.InContainer(container, process, self._machine.exits))

    def _rename(self, wanted: Settings) -> None:
        """Of a world that runs: what begins from now on finds itself there."""
        visit.visit(self.container().pid, visit.Namespace.UTS, lambda: socket.sethostname(wanted.hostname))
        with rootfs.Root.open(self._machine.paths.rootfs) as root:
            names.write_names(root, wanted.hostname)
        self._settle(wanted)

    def _settle(self, wanted: Settings) -> None:
        document.write(self._machine.link, _SETTINGS, wanted)
        self._settings = wanted

    def _mount(self, disk: schema.DiskReference) -> None:
        """The disk that was just sent; else what a former try has mounted; else the drive."""
        target = self._machine.paths.disk
        os.makedirs(target, mode=0o700, exist_ok=True)
        if disk.descriptor is not None and disk.descriptor in self._given:
            _unmount(target)
            self._mount_descriptor(disk.descriptor, target)
        elif mounts.is_mount_point(target):
            return
        elif disk.serial is not None:
            mount_drive(disk.serial, target)
        else:
            raise errors.NotFound(f"descriptor {disk.descriptor!r} was not sent", hint="send it to port 10001 first")

    def _mount_descriptor(self, name: str, target: str) -> None:
        mount_fd = self._given.take(name)
        try:
            mounts.move_mount(mount_fd, target)
        finally:
            os.close(mount_fd)
            # A stored duplicate would keep the filesystem busy after the unmount.
            self._given.drop(name)

    def _prepare(self) -> None:
        """What the world needs on its disk before it runs; what the user has put there stays."""
        directory = self._machine.paths.rootfs
        if not os.path.isdir(directory):
            raise errors.HostError(f"start the world: {directory}: not a directory", hint="is this disk a world's?")
        with rootfs.Root.open(directory) as root:
            for name in ("/.sprite", "/etc", *([SAVED] if self._machine.isolation == "container" else [])):
                root.make_directories(name, 0o755)
            root.ensure_file("/.sprite/init", b"", 0o755)
            root.ensure_file("/etc/resolv.conf", b"", 0o644)
            names.write_resolver(root, next(iter(self.network.gateways), None) if self.network else None)
            names.write_names(root, self._settings.hostname)
            os.makedirs(self._machine.paths.policy, mode=0o755, exist_ok=True)
            trust.write(self._machine.paths.policy, self.authority(), root)

    def _set_running(self, container: Inner) -> None:
        self._container = container
        self._root = rootfs.Root.open(f"/proc/{container.pid}/root")
        self._files = Pool(_entrance(container))
        self.state, self.error = "running", None
        self._registry.add(naming.WORLD, container, self._on_end)
        self.out_of_memory.begin()

    def _on_end(self, exit_code: int) -> None:
        """A world whose PID 1 has gone is not running, and says so."""
        self.state, self.error = "failed", f"{_ENDED} with code {exit_code}"


async def _to_the_end(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """`work` in a thread. A caller that is cancelled waits for it all the same: nothing may go on behind the lock."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # known as taken: the cancellation is what is raised
        raise


def _entrance(container: Inner) -> Entrance:
    """The way for a child into the namespaces of the world."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    return Entrance(
        pid_fd=os.pidfd_open(container.pid),
        root_fd=os.open(f"/proc/{container.pid}/root", flags),
        namespaces=container.other_namespaces(),
        cgroup_fds=container.cgroup_descriptors,
    )


def _files_limit() -> int:
    """The most descriptors that a session may have: no more than we."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _boot_offset_s() -> int | None:
    """So that a world that begins now says that it has just begun; None where the kernel has no time namespaces."""
    if not os.path.exists("/proc/self/ns/time"):
        return None
    return -int(time.clock_gettime(time.CLOCK_BOOTTIME))


def _unmount(target: str) -> None:
    """Unmount all that is at `target`; EBUSY is retried, since killed processes leave a moment later. Blocks."""
    deadline = time.monotonic() + UNMOUNT_TIMEOUT_S
    while os.path.isdir(target) and mounts.is_mount_point(target):
        try:
            mounts.umount(target)
        except OSError as error:
            if time.monotonic() > deadline:
                raise errors.HostError(f"unmount {target}: {error.strerror}") from error
            time.sleep(0.01)


def _grow(target: str) -> None:
    """See `ext4.grow_mounted`; `HostError`."""
    try:
        ext4.grow_mounted(target)
    except OSError as error:
        raise errors.HostError(f"grow the disk: {errors.told(error)}") from error


def no_drive(serial: str, hint: str | None = None) -> errors.NotFound:
    return errors.NotFound(f"no drive has the serial {serial!r}", hint=hint)


def find_drive(serials: Mapping[str, str], serial: str) -> str:
    """Name of the block device with this serial, of {name: serial}; `NotFound`."""
    for name, found in serials.items():
        if serial and found.strip() == serial:
            return name
    raise no_drive(serial)


def mount_drive(serial: str, target: str) -> None:
    """The ext4 of the drive with this serial; `NotFound`."""
    serials = {}
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/serial") as file:
                serials[name] = file.read()
        except OSError:
            # Not a virtio drive.
            continue
    mounts.mount(f"/dev/{find_drive(serials, serial)}", target, "ext4", mounts.Flag.NONE, "discard")
    ext4.grow_mounted(target)
