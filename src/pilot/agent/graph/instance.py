"""One start of one container: what is made for it in the machine, and taken away again. All of it blocks.

<run>/containers/<name>/config.json, files/<n>    bundle, and what is injected: in memory, on no disk
<run>/containers/<name>/readonly/<n>              what it mounts read-only, while it is made (agent.shown)
<run>/fly/<name>/                                 what it sees at /.fly (fly_places), what it believes (trust) among it
<run>/volumes/<name>                              a tmpfs each: what containers share
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import shutil
import signal as signals
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from ... import errors
from ...kernel import mounts
from ...runtime.values import Spawned, Stdio
from ...spec import parse
from ...spec.process import Process
from ...wire import faults
from ...wire.graph import Container, Limits, Volume
from .. import names, rootfs, shown, signal_names, trust, world_limits, world_spec
from ..identity import clouds
from ..inside import fly_places
from ..machine import Inner, Machine, status_of
from ..session import open_process
from ..world import World
from ..world_rights import STANDARD, Rights
from . import checking, container_spec, shown_files, state

OnCreated = Callable[[int, int], None]
_PROCESS_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_log = logging.getLogger(__name__)


class Instances:
    """Of all containers; remembers nothing. They believe of connectors what the `world` does."""

    def __init__(self, machine: Machine, world: World) -> None:
        self._machine = machine
        self._world = world
        self._believing = threading.Lock()  # who writes later has looked later

    # ---- start ------------------------------------------------------------------------------------------------------

    def start(self, wanted: Container, output: tuple[int, int], on_created: OnCreated) -> None:
        """A container of its own root. `on_created(pid, start time)`: before anything of it is executed."""
        assert wanted.root is not None
        self._require_place(wanted)
        directory = self._directory(wanted.name)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with shown.holding(_held(directory)) as held:
            document = self._config(wanted, directory, held)
            with open(os.path.join(directory, "config.json"), "wb") as file:
                file.write(msgspec.json.encode(document))
            created = self._machine.runtime.create(wanted.name, directory, stdio=Stdio(None, *output))
        os.close(created.process.pid_fd)
        on_created(created.process.pid, created.process.start_time)
        created.container.start()

    def start_within(self, host: Inner, process: Process, output: tuple[int, int], on_created: OnCreated) -> None:
        """A process in another container."""

        def tell(spawned: Spawned) -> None:
            on_created(spawned.pid, spawned.start_time)

        spawned = host.exec(process, Stdio(None, *output), before_start=tell)
        os.close(spawned.pid_fd)

    def process(
        self,
        wanted: Container,
        root: rootfs.Root,
        inherited: Mapping[str, str],
        user: str | None,
        rights: Rights = STANDARD,
    ) -> Process:
        """What is executed in another container, which has this root, this environment and these rights."""
        return parse.parse_process(msgspec.json.encode(self._process(wanted, root, inherited, user, rights)))

    def command(
        self, made: Container, root: rootfs.Root, arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool
    ) -> Process:
        """Another process of a container that was made so."""
        person = _find_person(root, made.user)
        variables = world_spec.environment(person, self._environment(made, {}), env, tty=tty)
        directory = os.path.join(made.cwd or "/", cwd)
        document = world_spec.process(arguments, person, directory, variables, tty=tty, files=_files_limit())
        return parse.parse_process(msgspec.json.encode(document))

    def _config(self, wanted: Container, directory: str, held: shown.Held) -> dict[str, object]:
        assert wanted.root is not None
        limits = container_spec.resources(world_limits.resources(world_limits.probe_size()), wanted.limits)
        with rootfs.Root.open(wanted.root.path) as root:
            process = self._process(wanted, root, {}, wanted.user)
            self._believe(wanted, root)
        hostname = wanted.hostname or wanted.name
        base = world_spec.config(
            os.path.realpath(wanted.root.path),
            self._machine.paths.init,
            hostname,
            devices=[],
            card=None,
            files=_files_limit(),
            resources=limits,
            machine=os.uname().machine,
        )
        shown.ensure(self._machine.paths)
        binds = [
            *self._binds_of_names(directory, hostname, wanted),
            *self._bind_of_fly(wanted),
            *self._binds(wanted, directory, held),
        ]
        return container_spec.config(base, wanted, process, binds)

    def _binds(self, wanted: Container, directory: str, held: shown.Held) -> Iterable[Mapping[str, object]]:
        for mount in wanted.mounts:
            source = os.path.realpath(mount.source or self._volume_path(mount.volume or ""))
            yield container_spec.bind(
                held.add(source) if mount.readonly else source, mount.path, readonly=mount.readonly
            )
        for number, file in enumerate(wanted.files):
            place = os.path.join(directory, "files", str(number))
            _write(place, base64.b64decode(file.content), int(file.mode, 8), file.uid, file.gid)
            yield container_spec.bind(self._shown(place), file.path, readonly=True)

    def _bind_of_fly(self, wanted: Container) -> Iterable[Mapping[str, object]]:
        """Unless it has something of its own there."""
        paths, place = self._machine.paths, fly_places.PLACE
        if _sees_fly(wanted):
            source = fly_places.ensure(paths.run, paths.inside, wanted.name)
            yield container_spec.bind(self._shown(source), place, readonly=True)
            if os.path.ismount(keys := fly_places.keys(paths.run)):
                yield container_spec.bind(keys, f"{place}/{fly_places.KEYS}", readonly=False)

    def _binds_of_names(self, directory: str, hostname: str, wanted: Container) -> Iterable[Mapping[str, object]]:
        """What it is called, and whom it asks for names; a file that is wanted at such a place is put over it."""
        with open("/proc/net/route") as file:
            resolver = names.plan_resolver("", names.find_gateway(file.read()))
        contents = {"hostname": f"{hostname}\n", "hosts": names.plan_hosts("", hostname), "resolv.conf": resolver}
        taken = {file.path for file in wanted.files} | {mount.path for mount in wanted.mounts}
        for name, content in contents.items():
            if content is not None and f"/etc/{name}" not in taken:
                place = os.path.join(directory, "files", name)
                _write(place, content.encode(), 0o644, 0, 0)
                yield container_spec.bind(place, f"/etc/{name}", readonly=False)

    def _shown(self, path: str) -> str:
        return shown.source(self._machine.paths, path)

    def _require_place(self, wanted: Container) -> None:
        """As when it was wanted, of where links lead to now."""
        assert wanted.root is not None
        run = os.path.realpath(self._machine.paths.run)
        places = [("root", wanted.root.path), *((mount.path, mount.source) for mount in wanted.mounts if mount.source)]
        for what, place in places:
            assert place is not None
            if not os.path.exists(place):
                raise errors.HostError(f"start {wanted.name}: {what}: {place}: there is no such place in the machine")
            checking.check_place(os.path.realpath(place), run, what)
        if not os.path.isdir(wanted.root.path):
            raise errors.HostError(f"start {wanted.name}: root: {wanted.root.path}: not a directory")

    def limit(self, name: str, limits: Limits) -> None:
        """Other limits for one that runs; `HostError` when the kernel refuses, as for less memory than is in use."""
        container = self.find(name)
        if container is None:
            return  # it has ended meanwhile
        base = world_limits.resources(world_limits.probe_size())
        document = container_spec.resources(base, limits)
        container.update(parse.parse_resources(msgspec.json.encode(document)))

    def show_files(self, node: state.Node, wanted: Container) -> shown_files.Shown:
        """One that runs sees these files, each in the place of the one that it saw."""
        assert node.made is not None
        assert node.process is not None
        pid_fd = open_process(node.process.pid, node.process.start_time)
        if pid_fd < 0:
            return shown_files.Shown(wanted.files)  # it has ended meanwhile
        try:
            return shown_files.show(pid_fd, self._directory(wanted.name), node.made.files, wanted.files)
        except ProcessLookupError:
            return shown_files.Shown(wanted.files)
        finally:
            os.close(pid_fd)

    # ---- what is there ----------------------------------------------------------------------------------------------

    def find(self, name: str) -> Inner | None:
        """The container of the runtime, in whatever status."""
        try:
            return self._machine.runtime.load(name)
        except errors.NotFound:
            return None

    def believe_all(self, nodes: Iterable[state.Node]) -> None:
        """What those that run, or are about to, see of what they are to believe is so by now: each by itself.
        `HostError` with what could not be written."""
        problems = []
        for node in nodes:
            if node.made is None or node.made.root is None or not (node.process or node.starting):
                continue
            place = f"/proc/{node.process.pid}/root" if node.process else node.made.root.path
            try:
                with rootfs.Root.open(place) as root:
                    self._believe(node.made, root)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except (OSError, errors.PilotError) as error:
                problems.append(f"{node.made.name}: {errors.told(error)}")
        if problems:
            raise errors.HostError("; ".join(problems))

    def told(self, made: Container) -> dict[str, str]:
        """What processes of one that was made so are given, but for credentials."""
        given = made.environment
        return {**given, **trust.of_container(self._world.authority() if _sees_fly(made) else None, given)}

    def _believe(self, wanted: Container, root: rootfs.Root) -> None:
        if _sees_fly(wanted):
            paths = self._machine.paths
            place = fly_places.ensure(paths.run, paths.inside, wanted.name)
            with self._believing:
                trust.write(place, self._world.authority(), root)

    def _process(
        self,
        wanted: Container,
        root: rootfs.Root,
        inherited: Mapping[str, str],
        user: str | None,
        rights: Rights = STANDARD,
    ) -> dict[str, object]:
        """`process` of config.json, for who is known in this root."""
        person = _find_person(root, user)
        variables = world_spec.environment(person, self._environment(wanted, inherited), (), tty=False)
        cwd = wanted.cwd or (person.home if wanted.within else "/")
        return world_spec.process(
            wanted.command, person, cwd, variables, tty=False, files=_files_limit(), rights=rights
        )

    def _environment(self, wanted: Container, inherited: Mapping[str, str]) -> dict[str, str]:
        """Its own over what it inherits, where credentials are that this asks for, and what it believes."""
        given = {**inherited, **wanted.environment}
        believed = trust.of_container(self._world.authority() if _sees_fly(wanted) else None, given)
        return {**given, **believed, **clouds.variables(given, wanted.hostname or wanted.name)}

    # ---- end --------------------------------------------------------------------------------------------------------

    def signal(self, node: state.Node, number: int) -> None:
        """To the first process; nothing when it has ended. One in another container leads a group, which gets it."""
        assert node.process is not None
        if node.made is not None and node.made.within is None:
            self._thaw(node.made.name)
        pid_fd = open_process(node.process.pid, node.process.start_time)
        if pid_fd < 0:
            return
        flags = _PROCESS_GROUP if node.made is not None and node.made.within is not None else 0
        try:
            with contextlib.suppress(ProcessLookupError):
                _send(pid_fd, number, flags)
        finally:
            os.close(pid_fd)

    def _thaw(self, name: str) -> None:
        """A paused one would not notice."""
        container = self.find(name)
        if container is not None and status_of(container) == "paused":
            container.resume()

    def stop_signal(self, node: state.Node) -> int:
        """The one that it ends by."""
        try:
            return signal_names.parse_signal(state.how_to_stop(node).signal)
        except faults.InvalidRequest:
            return signals.SIGTERM  # of a document of another version

    def clean(self, name: str) -> None:
        """Nothing is left of it but volumes; idempotent."""
        container = self.find(name)
        if container is not None:
            container.delete(force=True)
        shown_files.clean(self._directory(name))
        shown.Held(_held(self._directory(name))).drop()
        shutil.rmtree(self._directory(name), ignore_errors=True)
        shutil.rmtree(fly_places.directory(self._machine.paths.run, name), ignore_errors=True)

    # ---- volumes ----------------------------------------------------------------------------------------------------

    def ensure_volume(self, volume: Volume) -> None:
        """It is there; idempotent."""
        path = self._volume_path(volume.name)
        os.makedirs(path, mode=0o755, exist_ok=True)
        if not mounts.is_mount_point(path):
            size = f",size={volume.size_bytes}" if volume.size_bytes is not None else ""
            flags = mounts.Flag.NOSUID | mounts.Flag.NODEV
            mounts.mount("tmpfs", path, "tmpfs", flags, f"mode=1777{size}")

    def keep_volumes(self, names: Set[str]) -> None:
        """All others go, with all that is in them; who has one mounted keeps it."""
        try:
            there = set(os.listdir(os.path.dirname(self._volume_path("x"))))
        except FileNotFoundError:
            return
        for name in there - names:
            try:
                self._remove_volume(name)
            except OSError as error:
                _log.error("remove volume %s: %s", name, error)

    def _remove_volume(self, name: str) -> None:
        path = self._volume_path(name)
        with contextlib.suppress(FileNotFoundError):
            if mounts.is_mount_point(path):
                mounts.umount(path)
            os.rmdir(path)

    def _volume_path(self, name: str) -> str:
        return os.path.join(self._machine.paths.run, "volumes", name)

    def _directory(self, name: str) -> str:
        return os.path.join(self._machine.paths.run, "containers", name)


def _held(directory: str) -> str:
    return os.path.join(directory, "readonly")


def _sees_fly(wanted: Container) -> bool:
    """It has nothing of its own at /.fly; what is within another sees what that does."""
    own = (*(file.path for file in wanted.files), *(mount.path for mount in wanted.mounts))
    place = fly_places.PLACE
    has_own = any(os.path.normpath(each) == place or each.startswith(f"{place}/") for each in own)
    return wanted.within is None and not has_own


def _find_person(root: rootfs.Root, user: str | None) -> world_spec.Person:
    passwd, group = root.read_small("/etc/passwd"), root.read_small("/etc/group")
    person = container_spec.person(user, passwd, group)
    if person is None:
        raise errors.HostError(f"find user {user!r}: /etc/passwd of the container has none of that name")
    return person


def _write(path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)


def _send(pid_fd: int, number: int, flags: int) -> None:
    try:
        signals.pidfd_send_signal(pid_fd, number, None, flags)
    except ProcessLookupError:
        raise
    except OSError:
        # EINVAL: the kernel is older than process groups for pidfds. The process alone gets it.
        signals.pidfd_send_signal(pid_fd, number)


def _files_limit() -> int:
    """The most descriptors that a process may have: no more than we."""
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
