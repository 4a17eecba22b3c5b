"""One cgroup: a directory in each hierarchy, made, joined, limited, frozen, killed and removed as if it were one.

    path "pilot/web" ──► {"memory": "/sys/fs/cgroup/memory/pilot/web", …, "": "/sys/fs/cgroup/unified/pilot/web"}

The *paths* (see `hierarchies`) are all there is to know about a cgroup: keep them to find it again from another process
(`Cgroup(paths)`). Nothing else is remembered, everything is asked of the kernel. Kernel errors of the files are raised
as HostError with the OSError as cause; a directory that is gone means no processes, not an error.

A process joins itself, before it changes its uid: the launcher's child writes "0" into each of `join_descriptors()`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal as signal_
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..plan.cgroup import Current, Write
from ..plan.facts import CgroupLayout
from . import cgroup_freezer, cgroup_limits, kernfs
from .hierarchies import Hierarchies

if TYPE_CHECKING:  # what is watched and counted is for `events` alone
    from .cgroup_oom import OomEvents
    from .cgroup_stats import Stats

_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_BATCH = 128  # processes that are looked at together: many more descriptors than that may be too many
_DELEGATED = ["cgroup.procs", "tasks"]
_DELEGATED_V2 = "cgroup.procs cgroup.subtree_control cgroup.threads"


class Cgroup:
    """A cgroup by its `paths`; the object owns nothing."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)
        # Controllers that are mounted together share a directory.
        self.directories = tuple(dict.fromkeys(self.paths.values()))

    @classmethod
    def create(
        cls, hierarchies: Hierarchies, path: str, *, relative: bool = False, skip_denied: bool = False
    ) -> Cgroup:
        """Make the directories (those that exist are kept), with their parents.

        `skip_denied` leaves out hierarchies that we have no permission in; limits of their controllers then fail.
        HostError otherwise; what this call made is removed again.
        """
        paths: dict[str, str] = {}
        made: list[str] = []
        roots = {c: mount.mount_point for mount in hierarchies.mounts for c in mount.controllers or ("",)}
        share = hierarchies.layout is CgroupLayout.V2
        for controller, directory in hierarchies.paths(path, relative=relative).items():
            try:
                _make(roots[controller], directory, controller, made, share=share)
            except OSError as error:
                if skip_denied and error.errno in _DENIED:
                    continue
                _remove_directories(reversed(made))
                raise errors.HostError(f"create cgroup {directory}: {_reason(error)}") from error
            paths[controller] = directory
        return cls(paths)

    def child(self, name: str) -> Cgroup:
        """The cgroup `name` below this one; it is not made."""
        return Cgroup({controller: os.path.join(path, name) for controller, path in self.paths.items()})

    def below(self, names: Mapping[str, str]) -> Cgroup:
        """Where one process goes that is to be deeper than the others: path below this cgroup by controller.

        Controllers that are not named stay; "" names all of them. What is mounted together goes together. StateError
        for a controller that the cgroup has not, and a path that leads out of it.
        """
        unknown = names.keys() - self.paths.keys() - {""}
        if unknown:
            known = ", ".join(self.paths)
            raise errors.StateError(f"unknown controller {min(unknown)} in SubCgroupPaths: the container has {known}")
        deeper = {self.paths[controller]: name for controller, name in names.items() if controller}
        everywhere = names.get("", "") if set(names) == {""} else ""
        return Cgroup({c: _join_below(path, deeper.get(path, everywhere)) for c, path in self.paths.items()})

    @property
    def is_v2(self) -> bool:
        """Whether the v2 tree is all there is."""
        return set(self.paths) == {""}

    def directory(self, controller: str) -> str | None:
        """Where `controller`'s files are; the v2 tree has those of every controller that no v1 hierarchy has."""
        return self.paths.get(controller, self.paths.get(""))

    def exists(self) -> bool:
        """Whether any of the directories does."""
        return any(os.path.isdir(directory) for directory in self.directories)

    # ---- joining ------------------------------------------------------------------------------------------------

    def join_descriptors(self, *, unified: bool = True) -> list[int]:
        """Descriptors for a single-threaded process to write "0" into, then it is in. The caller closes them.

        `unified=False` leaves out the v2 tree, for a child that is cloned into it (`v2_descriptor`).
        HostError; then none is left open.
        """
        opened: list[int] = []
        for controller, directory in _by_directory(self.paths):
            if controller == "" and not unified:
                continue
            # A thread that moves itself needs no lock over all processes of the system (11 ms at times, else 0.1).
            # In v2 it could not leave its domain that way.
            file = os.path.join(directory, "tasks" if controller else "cgroup.procs")
            try:
                opened.append(os.open(file, os.O_WRONLY | os.O_CLOEXEC))
            except OSError as error:
                for opened_fd in opened:
                    os.close(opened_fd)
                problem = f"error adding pid of a process to cgroups: {file}: {_reason(error)}"
                raise errors.HostError(problem) from error
        return opened

    def v2_descriptor(self) -> int | None:
        """The v2 directory, for CLONE_INTO_CGROUP; None where there is none. The caller closes it."""
        directory = self.paths.get("")
        if directory is None:
            return None
        try:
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise errors.HostError(f"open cgroup {directory}: {_reason(error)}") from error

    def joinable(self, pid: int) -> Cgroup:
        """The cgroup itself, or, where it takes no processes any more, the one below it that process `pid` is in.

        In v2 a cgroup that has given its controllers to children takes none: a container with an init of its own, or
        with containers in it, does that.
        """
        tree = self.paths.get("")
        if tree is None or not kernfs.read_or_none(os.path.join(tree, "cgroup.subtree_control")):
            return self
        for directory, _, _ in os.walk(tree):
            if str(pid) in (kernfs.read_or_none(os.path.join(directory, "cgroup.procs")) or "").split():
                return Cgroup({**self.paths, "": directory})
        return self

    def add(self, pid: int) -> None:
        """Move a process in from outside."""
        for _, directory in _by_directory(self.paths):
            _put(os.path.join(directory, "cgroup.procs"), str(pid), f"move process {pid} into cgroup")

    # ---- limits -------------------------------------------------------------------------------------------------

    def apply(self, writes: Iterable[Write]) -> None:
        """Write limits, in order; those that only fit after others (`Write.again`) once more at the end. HostError."""
        refused = [write for write in writes if not self._try(write)]
        for write in refused:
            self._write(write)

    def _try(self, write: Write) -> bool:
        try:
            self._write(write)
        except errors.HostError as error:
            if write.again and isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EINVAL:
                return False
            raise
        return True

    def _write(self, write: Write) -> None:
        directory = self.directory(write.controller)
        if directory is None:
            problem = f"cannot set {write.controller} limit: container could not join or create cgroup"
            raise errors.HostError(f"{problem}, whose {write.file} it is")
        _check_usage(directory, write)
        try:
            _put(os.path.join(directory, write.file), write.value, f'failed to write "{write.value}":')
        except errors.HostError as error:
            if not isinstance(error.__cause__, FileNotFoundError) or not (write.optional or write.instead):
                raise
            if write.instead:
                self._write(write.instead)

    def current(self) -> Current:
        """Limits that come in pairs, as they are now."""
        return cgroup_limits.read_current(self.directory("cpu"), self.directory("memory"))

    def delegate(self, uid: int, gid: int) -> None:
        """Hand the cgroup to a user, who may make children and move processes, but not change these limits."""
        for controller, directory in _by_directory(self.paths):
            files = _DELEGATED if controller else _delegated_v2(directory)
            for path in (directory, *(os.path.join(directory, file) for file in files)):
                try:
                    os.chown(path, uid, gid)
                except OSError as error:
                    raise errors.HostError(f"delegate {path} to {uid}:{gid}: {_reason(error)}") from error

    # ---- processes ----------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """All processes in the cgroup and below it, without those that have no number in our pid namespace."""
        found: dict[int, None] = {}
        for directory, _, _ in os.walk(self._tree()):
            for pid in (kernfs.read_or_none(os.path.join(directory, "cgroup.procs")) or "").split():
                found[int(pid)] = None
        found.pop(0, None)
        return list(found)

    def occupants(self) -> list[int]:
        """All processes that would be taken for the container's: as in runc, in the devices' hierarchy, too."""
        directory = self.directory("devices") or self._tree()
        text = "" if directory == self._tree() else kernfs.read_or_none(os.path.join(directory, "cgroup.procs")) or ""
        return [*self.pids(), *(int(pid) for pid in text.split())]

    def kill(self, signal: int = signal_.SIGKILL, timeout_s: float = 10.0) -> None:
        """Send `signal` to every process, none of which can escape by forking; frozen ones are thawed.

        With SIGKILL it returns when all have ended; HostError when that is not within the time.
        """
        if signal != signal_.SIGKILL:
            self._signal_all(signal, timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        if not self._kill_at_once():
            self._kill_round_by_round(deadline)
        cgroup_freezer.thaw_tree(self.paths)  # what the v1 freezer holds dies only when it lets go
        if not self.wait_empty(max(0.0, deadline - time.monotonic())):
            raise errors.HostError(f"kill cgroup {self._tree()}: {self.pids()} did not end within {timeout_s} s")

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no process is left; False when the time is over."""
        deadline = time.monotonic() + timeout_s
        while pids := self.pids():
            if time.monotonic() >= deadline:
                return False
            with self._pid_fds(pids[:_BATCH]) as pid_fds:
                _wait_any(pid_fds, deadline)
        return True

    def _tree(self) -> str:
        """The directory whose processes stand for the cgroup's: all hierarchies have the same."""
        return self.paths.get("") or next(iter(self.directories), "/nonexistent")

    def _kill_at_once(self) -> bool:
        """By v2's cgroup.kill; False where there is none (before 5.14)."""
        if "" not in self.paths:
            return False
        try:
            kernfs.write(os.path.join(self.paths[""], "cgroup.kill"), "1")
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.ENODEV:
                return True  # removed since it was opened: systemd does so with an empty scope
            raise errors.HostError(f"kill cgroup {self.paths['']}: {_reason(error)}") from error
        return True

    def _kill_round_by_round(self, deadline: float) -> None:
        while self.pids() and time.monotonic() < deadline:
            self._signal_all(signal_.SIGKILL, max(0.0, deadline - time.monotonic()))
            self.wait_empty(min(0.1, max(0.0, deadline - time.monotonic())))

    def _signal_all(self, signal: int, timeout_s: float) -> None:
        was_frozen = self.frozen()
        try:
            self.freeze(timeout_s)
        except errors.HostError:
            pass  # no freezer, or it is stuck: signal those that are there now
        try:
            self._signal_each(self.pids(), signal)
        finally:
            if not was_frozen or signal == signal_.SIGKILL:
                self.thaw()

    def _signal_each(self, pids: Sequence[int], signal: int) -> None:
        for first in range(0, len(pids), _BATCH):
            with self._pid_fds(pids[first : first + _BATCH]) as pid_fds:
                for pid_fd in pid_fds:
                    with contextlib.suppress(ProcessLookupError):  # it ended by itself
                        signal_.pidfd_send_signal(pid_fd, signal)

    @contextlib.contextmanager
    def _pid_fds(self, pids: Iterable[int]) -> Iterator[list[int]]:
        """Pidfds of those that are still in the cgroup once they are open: a number may have been used again."""
        opened: dict[int, int] = {}
        try:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    opened[pid] = os.pidfd_open(pid)
            still = set(self.pids())
            yield [pid_fd for pid, pid_fd in opened.items() if pid in still]
        finally:
            for pid_fd in opened.values():
                os.close(pid_fd)

    # ---- freezing, events, statistics ---------------------------------------------------------------------------

    def freeze(self, timeout_s: float = 10.0) -> None:
        """Stop every process and return when they stand still; see `cgroup_freezer`."""
        cgroup_freezer.freeze(self.paths, timeout_s)

    def thaw(self) -> None:
        """Let every process run on; idempotent."""
        cgroup_freezer.thaw(self.paths)

    def frozen(self) -> bool:
        """Whether the cgroup was asked to freeze."""
        return cgroup_freezer.frozen(self.paths)

    def find_frozen(self) -> str | None:
        """The directory, this or one above it, that a freezer holds: whoever joins would be frozen at once."""
        return cgroup_freezer.find_frozen(self.paths)

    def oom_events(self) -> OomEvents:
        """A descriptor that becomes readable when the kernel kills for want of memory; the caller closes it."""
        from . import cgroup_oom

        return cgroup_oom.watch(self.directory("memory"), is_v1="memory" in self.paths)

    def stats(self) -> Stats:
        """What has been used, as `events --stats` shows it."""
        from . import cgroup_stats

        return cgroup_stats.read_stats(self.paths)

    # ---- the end ------------------------------------------------------------------------------------------------

    def delete(self, timeout_s: float = 10.0) -> None:
        """Remove the directories and all below them; idempotent. HostError when processes are left after the time."""
        deadline = time.monotonic() + timeout_s
        for directory in self.directories:
            for path, _, _ in os.walk(directory, topdown=False):
                _remove(path, deadline)


def vacate(hierarchies: Hierarchies, name: str = "init") -> None:
    """Make room in a cgroup v2 tree that is ours: move all processes at its root into the child `name`.

    In v2 a cgroup with processes has no children with controllers, so whoever was started in a delegated cgroup (a
    machine's init and agent) has to step aside first. Nothing to do where v2 carries no controllers, nor at the
    root of the whole tree, which is exempt (and has the kernel's own threads, which stay). HostError.
    """
    for mount in hierarchies.mounts:
        is_delegated = os.path.exists(os.path.join(mount.mount_point, "cgroup.type"))  # all but the root have a type
        if mount.version != 2 or not hierarchies.unified_controllers or not is_delegated:
            continue
        child = os.path.join(mount.mount_point, name)
        os.makedirs(child, exist_ok=True)
        for pid in kernfs.read(os.path.join(mount.mount_point, "cgroup.procs")).split():
            try:
                _put(os.path.join(child, "cgroup.procs"), pid, f"move process {pid} into cgroup")
            except errors.HostError as error:
                if not isinstance(error.__cause__, ProcessLookupError):  # that one has ended meanwhile
                    raise


# ---- directories ------------------------------------------------------------------------------------------------


def _by_directory(paths: Mapping[str, str]) -> list[tuple[str, str]]:
    """(a controller, directory) for each directory once."""
    return [(controller, directory) for directory, controller in {d: c for c, d in paths.items()}.items()]


def _join_below(directory: str, name: str) -> str:
    if ".." in name.split("/"):
        raise errors.StateError(f"bad sub cgroup path: {name}")
    return os.path.normpath(os.path.join(directory, name.lstrip("/")))


def _delegated_v2(directory: str) -> list[str]:
    """Files of a v2 cgroup that go to whom it is delegated to: the kernel says which, and not all exist everywhere."""
    names = (kernfs.read_or_none("/sys/kernel/cgroup/delegate") or _DELEGATED_V2).split()
    return [name for name in names if os.path.exists(os.path.join(directory, name))]


def _make(root: str, directory: str, controller: str, made: list[str], *, share: bool) -> None:
    """Make `directory` and its parents below `root`, each fit to have processes and children; note those made.

    A v2 tree beside v1 hierarchies is not shared out: crun refuses a host whose v2 root does that.
    """
    current = root
    for name in os.path.relpath(directory, root).split("/"):
        if controller == "" and share:
            _enable_controllers(current)
        current = os.path.join(current, name)
        try:
            os.mkdir(current)
            made.append(current)
        except FileExistsError:
            pass
        if controller == "cpuset":
            _inherit_cpuset(current)


def _inherit_cpuset(directory: str) -> None:
    """A new v1 cpuset is empty, and an empty one takes no processes."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not kernfs.read(os.path.join(directory, file)):
            kernfs.write(os.path.join(directory, file), kernfs.read(os.path.join(os.path.dirname(directory), file)))


def _enable_controllers(directory: str) -> None:
    """Offer all controllers of a v2 cgroup to its children."""
    control = os.path.join(directory, "cgroup.subtree_control")
    available = kernfs.read(os.path.join(directory, "cgroup.controllers")).split()
    missing = [f"+{c}" for c in available if c not in kernfs.read(control).split()]
    if not missing:
        return
    try:
        kernfs.write(control, " ".join(missing))
    except OSError as error:
        # Not every controller can always be enabled (a real-time process for cpu, say). Whether it matters turns out
        # when a limit is set: that write then says which file is missing.
        # EBUSY: processes are in the way of all of them. cpu and pids alone would be taken, but they would make this
        # a threaded domain, whose children accept no process any more (EOPNOTSUPP; cgroup-v2 of the kernel, Threads).
        for name in () if error.errno == errno.EBUSY else missing:
            with contextlib.suppress(OSError):
                kernfs.write(control, name)


def _remove_directories(paths: Iterable[str]) -> None:
    for path in paths:
        # Undoing a failed create: somebody else may have put something there meanwhile, then it stays.
        with contextlib.suppress(OSError):
            os.rmdir(path)


def _remove(path: str, deadline: float) -> None:
    pause_s = 0.001
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            # EBUSY for a moment after the last process has ended: there is no event to wait for in v1.
            if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                raise errors.HostError(f"delete cgroup {path}: {_reason(error)}") from error
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.1)


# ---- files ------------------------------------------------------------------------------------------------------


def _put(path: str, value: str, what: str) -> None:
    try:
        kernfs.write(path, value)
    except OSError as error:
        _check_memory_usage(path, value, error)
        raise errors.HostError(f"{what} {path}: {_reason(error)}{_note(path, error)}") from error


def _check_memory_usage(path: str, value: str, error: OSError) -> None:
    """HostError, in runc's words, where a v1 limit lies below what is used, and nothing of that can be given back."""
    if error.errno != errno.EBUSY or not path.endswith("/memory.limit_in_bytes"):
        return
    memory = path.removesuffix("limit_in_bytes")
    usage, peak = (kernfs.read_or_none(f"{memory}{name}_in_bytes") for name in ("usage", "max_usage"))
    problem = f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
    raise errors.HostError(f"{problem}: {path}: {_reason(error)}") from error


def _note(path: str, error: OSError) -> str:
    """What is in the way of a file of v2: processes in the cgroup above."""
    above = os.path.dirname(os.path.dirname(path))
    in_the_way = error.errno == errno.ENOENT and kernfs.read_or_none(os.path.join(above, "cgroup.type")) is not None
    if in_the_way and kernfs.read_or_none(os.path.join(above, "cgroup.procs")):
        return f" ({above} has processes, so its children have no controllers)"
    return ""


def _check_usage(directory: str, write: Write) -> None:
    if not write.above:
        return
    usage = kernfs.read_or_none(os.path.join(directory, write.above))
    if usage is not None and int(write.value) <= int(usage):
        raise errors.HostError(f"set {write.file} to {write.value}: {usage} are in use")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _wait_any(pid_fds: list[int], deadline: float) -> None:
    """Wait until one of the processes ends, or for a moment when there is none that could be waited for."""
    left_s = max(0.0, deadline - time.monotonic())
    poll = select.poll()
    for pid_fd in pid_fds:
        poll.register(pid_fd, select.POLLIN)
    poll.poll((left_s if pid_fds else min(left_s, 0.001)) * 1000)
