"""The OCI runtime as a library: what `pilot.cli`, `pilot.agent` and `pilot.host.vmm.container` call.

Synchronous and thread-safe; nothing is kept between calls but facts about the host. Everything that outlives a call is
in the store (`runtime.store`) and in the kernel.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors, ids
from ..kernel import files, hierarchies
from ..kernel.hierarchies import Hierarchies
from ..kernel.waiter import ExitStatus, OwnChildren, Waiter
from ..plan.facts import HostFacts
from ..spec import check, parse
from ..spec.config import Spec
from ..spec.process import Process
from ..spec.seccomp import Seccomp
from . import hooks
from .container import Container, load_container
from .store import Store
from .values import Spawned, Stdio, Terminal

if TYPE_CHECKING:
    from ..plan.plan import Plan
    from .criu import CriuOptions


class Created(msgspec.Struct, frozen=True):
    """A container in status `created`; the caller owns the descriptors of `process`."""

    container: Container
    process: Spawned

    @contextlib.contextmanager
    def deleted_on_error(self, *, keep: bool = False) -> Iterator[None]:
        """Whatever goes wrong in here ends the container, and nothing is left of it; with `keep` it is stopped."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(errors.NotFound):  # a start that fails late deletes it, too
                if keep:
                    self.container.kill(signal.SIGKILL, all=True)
                else:
                    self.container.delete(force=True)
            raise


class Runtime:
    """All containers below `root`.

    `facts` of this host may be known already; where its cgroups are is asked again, as process `asker` (default: this
    one) sees them, below whose own the relative ones are. `environment` (default: ours) is that of hooks that bring
    none; `on_warning` hears of hooks whose failure changes nothing.
    """

    def __init__(
        self,
        root: str = "/run/pilot",
        *,
        waiter: Waiter | None = None,
        cgroup_driver: str = "cgroupfs",
        facts: HostFacts | None = None,
        asker: int | None = None,
        environment: Mapping[str, str] | None = None,
        on_warning: Callable[[str], None] = hooks.warn_by_logging,
    ) -> None:
        self._store = Store(root)
        self._waiter = waiter or OwnChildren()
        self._runner = hooks.Runner(self._waiter, os.environ if environment is None else environment, on_warning)
        self._cgroup_driver = cgroup_driver
        self._facts = facts
        self._asker = asker

    @functools.cached_property
    def hierarchies(self) -> Hierarchies:
        """Mounted cgroup hierarchies."""
        return hierarchies.probe_hierarchies(self._asker)

    @functools.cached_property
    def facts(self) -> HostFacts:
        """What plans depend on."""
        from ..kernel import probe  # asked once, if at all

        if self._facts is None:
            return probe.probe_host()
        return msgspec.structs.replace(self._facts, cgroup_mounts=self.hierarchies.mounts)

    def prepare(self, seccomp: Seccomp | None = None) -> None:
        """Load, probe and compile now what the first `create` and `exec` would wait for: for who has the time."""
        from ..kernel import _launch  # noqa: F401 - for its being loaded, like the next line's
        from . import create, execute, filters

        _ = self.facts, self.hierarchies, create, execute
        filters.compile_filter(seccomp, self._store.seccomp_cache)

    def create(
        self,
        id: str,
        bundle: str | os.PathLike[str],
        *,
        spec: Spec | None = None,
        stdio: Stdio | None = None,
        terminal: Terminal | None = None,
        console_socket: str | None = None,
        pass_fds: Sequence[int | None] = (),
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        pid_file: str | os.PathLike[str] | None = None,
        idmap_root: bool = False,
        creator: str = "",
        config: str = "",
        on_plan: Callable[[Plan], None] | None = None,
        keeps_failed: bool = False,
    ) -> Created:
        """Make a container; its process waits for `Container.start`.

        Without `spec` config.json of the bundle is read. `pass_fds` become 3, 4, ... of the process, in order (None
        stays closed); they and `stdio` (None: all of it is /dev/null) stay the caller's. `idmap_root` mounts the
        rootfs idmapped for the container's user namespace, so that a rootfs owned by root is shared, unchanged, by
        containers of any range of ids. `creator` is kept (`Container.creator`), and so is `config`, the file in
        the bundle that `spec` was read from (`Container.read_process`). `on_plan` sees the Plan before it is
        carried out. Conflict when the id is taken; SpecError, HostError, StepError: nothing is left of it then, but
        with `keeps_failed`, after a StepError, a container that is stopped.
        """
        bundle = _bundle_path(bundle)
        if spec is None:
            spec = parse.read_spec(bundle)
        else:
            check.check_spec(spec)
        from . import create  # planning takes a while to load, and most commands need none

        request = create.Request(
            id=ids.parse_container_id(id),
            bundle=bundle,
            spec=spec,
            stdio=stdio or Stdio(),
            terminal=terminal,
            console_socket=console_socket,
            pass_fds=tuple(pass_fds),
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
            idmap_root=idmap_root,
            creator=creator,
            config=config,
            on_plan=on_plan,
            keeps_failed=keeps_failed,
        )
        where = create.Host(self._store, self.facts, self.hierarchies, self._cgroup_driver, self._runner)
        record, spawned = create.create(request, where)
        container = Container(self._store, record, spec, self._known_facts, self._runner)
        if pid_file is not None:
            self._write_pid_file(container, spawned, os.fspath(pid_file))
        return Created(container, spawned)

    def restore(
        self, id: str, bundle: str | os.PathLike[str], options: CriuOptions, *, pid_file: str | None = None
    ) -> Created:
        """A container whose processes are those that `Container.checkpoint` wrote; it runs.

        They are children of whoever reaps for the caller (PR_SET_CHILD_SUBREAPER). Errors as of `create`.
        """
        from . import create  # as above

        bundle = _bundle_path(bundle)
        spec = parse.read_spec(bundle)
        request = create.Request(
            id=ids.parse_container_id(id), bundle=bundle, spec=spec, stdio=Stdio(), config="config.json"
        )
        where = create.Host(self._store, self.facts, self.hierarchies, self._cgroup_driver, self._runner)
        record, spawned = create.restore(request, where, options)
        container = Container(self._store, record, spec, self._known_facts, self._runner)
        if pid_file is not None:
            self._write_pid_file(container, spawned, pid_file)
        return Created(container, spawned)

    def exec_here(
        self,
        process: Process,
        stdio: Stdio,
        *,
        terminal: Terminal | None = None,
        before_start: Callable[[Spawned], None] | None = None,
        executable: str | None = None,
    ) -> Spawned:
        """Start a process that is in no container: in the caller's own namespaces, root and cgroup.

        As `Container.exec`; none of the caller's descriptors is the process's but `stdio`.
        """
        from . import execute  # as above

        request = execute.Request(process, stdio, terminal, None, (), False, before_start, executable)
        return execute.execute(execute.here(), request, self._store.seccomp_cache, self.facts, self._waiter)

    def load(self, id: str) -> Container:
        """The container of that id; `NotFound`."""
        return load_container(self._store, ids.parse_container_id(id), self._known_facts, self._runner)

    def remove_remains(self, id: str) -> None:
        """Of a container that never was complete, or whose state is lost: its directory, as runc's `delete`."""
        self._store.remove_remains(ids.parse_container_id(id))

    def _known_facts(self) -> HostFacts:
        return self.facts

    def wait(self, process: Spawned, timeout_s: float | None = None) -> ExitStatus:
        """How a process that we started ended; TimeoutError. It is reaped where it is our child."""
        return self._waiter.wait(process, timeout_s)

    def list(self, on_damaged: Callable[[str, errors.PilotError], None] | None = None) -> list[Container]:
        """All containers, by id; one that goes away meanwhile is left out.

        `on_damaged` is told of those that cannot be read, which are left out; without it the first is raised.
        """
        found = []
        for id in self._store.ids():
            try:
                found.append(self.load(id))
            except errors.NotFound:
                continue  # deleted since the directory was read
            except errors.PilotError as error:
                if on_damaged is None:
                    raise
                on_damaged(id, error)
        return found

    def _write_pid_file(self, container: Container, spawned: Spawned, path: str) -> None:
        try:
            write_pid_file(path, spawned.pid)
        except BaseException:
            spawned.close()
            container.delete(force=True)
            raise


def _bundle_path(bundle: str | os.PathLike[str]) -> str:
    """It is told in state.json, to hooks and to whoever asks, so it has to be a text."""
    path = os.path.abspath(bundle)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise errors.HostError(
            f"bundle {path!a}: its path is not UTF-8, and no state document could have it"
        ) from error
    return path


def write_pid_file(path: str, pid: int) -> None:
    """The pid as text, complete from the moment it is there."""
    try:
        files.replace(path, str(pid).encode(), mode=0o666)  # less the umask
    except OSError as error:
        raise errors.HostError(f"write pid file {path}: {(error.strerror or '').lower()}") from error
