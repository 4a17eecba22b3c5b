"""A planner that the first cold command line starts, or nothing at all where it could not be apart from its caller.

    caller ── fork ──► the lock; a session, cgroups, limits, priority of its own; process 1's mounts; nothing of the
                       │   caller's open
                       └── exec pilot-cold planner --idle …          (with systemd: as a transient service of it)

It must outlive its caller without being in its way: it is in no cgroup of it, keeps no mount or namespace of it alive,
and holds no descriptor of it. What it does inherit no container can see, as their processes are cloned by the callers.
A caller may have other mounts than process 1, as buildah's have, where the planner's place and program are the same
there.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from typing import NoReturn

from .. import errors
from ..kernel import hierarchies, inroot, mountns
from ..kernel.cgroups import Cgroup
from . import identity, place

IDLE_S = 600
_CGROUP = "pilot-planner"
_LEAVING_S = 1.0  # until those that were killed are out of it
_SYSTEMD = "/run/systemd/system"
# What would end or lame it for all who ask later: it must not be limited.
_UNLIMITED = (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_DATA)
_FEWEST_DESCRIPTORS = 1024
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def start(socket: str, program: Sequence[str] | None = None, idle_s: int = IDLE_S) -> None:
    """Start one that listens at `socket`; returns when it has been executed, not when it listens.

    Conflict when there is one. HostError says why none can be apart from us.
    """
    require_own_ground()
    words = [*(program or _program()), "planner", "--socket", socket, "--idle", str(idle_s)]
    place.make_directory(os.path.dirname(socket))
    _require_same([os.path.dirname(socket), *filter(os.path.isabs, program or _program())])
    if os.path.isdir(_SYSTEMD):
        _start_by_systemd(words)
        return
    with _lock_of_process_1(socket) as lock_fd:
        status_fd, ours_fd = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _detach(words, lock_fd, ours_fd)
        os.close(ours_fd)
        with open(status_fd, encoding="utf-8") as problems:
            problem = problems.read()  # its end: it has been executed
        os.waitpid(pid, 0)
    if problem:
        raise errors.HostError(problem)


def require_own_ground() -> None:
    """HostError when a planner could not serve others than this caller, or would keep what is the caller's."""
    own = identity.Identity("self")
    if os.geteuid() != 0:
        raise errors.HostError("a planner is started by root alone", hint="others run `pilot planner`")
    if place.is_forbidden():
        raise errors.HostError(f"{place.FORBIDDING} forbids a planner")
    if own.is_filtered or own.has_no_new_privileges:
        raise errors.HostError("start a planner: this process is under seccomp, or may gain no privileges")
    try:
        lasting = identity.namespaces(1)
    except OSError as error:
        raise errors.HostError("start a planner: the namespaces of process 1 cannot be seen") from error
    if {**identity.namespaces("self"), "mnt": lasting.get("mnt")} != lasting:
        raise errors.HostError("start a planner: it would keep namespaces alive that are not those of process 1")


def _require_same(paths: Sequence[str]) -> None:
    """HostError when what is at one of these paths here is not what is there among the mounts of process 1."""
    with _mounts_of_process_1() as (_, root_fd):
        for path in paths:
            if not _is_same(path, root_fd):
                raise errors.HostError(f"start a planner: {path} is not the same among the mounts of process 1")


@contextlib.contextmanager
def _mounts_of_process_1() -> Iterator[tuple[int, int]]:
    with contextlib.ExitStack() as held:
        try:
            mounts = held.enter_context(mountns.opened(1))
        except OSError as error:
            raise errors.HostError("start a planner: the mounts of process 1 cannot be seen") from error
        yield mounts


@contextlib.contextmanager
def _lock_of_process_1(socket: str) -> Iterator[int]:
    """By its mounts: a descriptor keeps the mount alive that it was opened by, as long as the planner lives."""

    def opener(path: str, flags: int, mode: int) -> int:
        return inroot.open_in_root(root_fd, path, flags, mode)

    with _mounts_of_process_1() as (_, root_fd), place.locked(socket, opener) as lock_fd:
        yield lock_fd


def _is_same(path: str, root_fd: int) -> bool:
    try:
        fd = inroot.open_in_root(root_fd, path, os.O_PATH)
        try:
            return os.path.samestat(os.stat(path), os.fstat(fd))
        finally:
            os.close(fd)
    except OSError:
        return False


def leave_cgroup() -> None:
    """Back to the root of each hierarchy, and remove our own; what cannot be removed is empty, and the next one's."""
    found = hierarchies.probe_hierarchies()
    with contextlib.suppress(errors.HostError):
        Cgroup(found.paths("/")).add(os.getpid())
        Cgroup(found.paths(_CGROUP)).delete(timeout_s=_LEAVING_S)


def _program() -> list[str]:
    """Ourselves: a script as `bin/pilot.in` makes it, or a module."""
    import sys

    main = sys.modules["__main__"].__spec__
    if main is not None:
        # A module may be found where the caller was allowed to find it, and nowhere else.
        return [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", main.name]
    return [sys.executable, "-IS", os.path.abspath(sys.argv[0])]


def _start_by_systemd(words: Sequence[str]) -> None:
    """systemd starts it, so that nothing at all is inherited from here."""
    import subprocess

    command = ["systemd-run", "--quiet", "--collect", f"--unit={_CGROUP}", "--no-block", "--", *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.HostError(f"start a planner by systemd-run: {error}") from error
    if done.returncode:
        raise errors.HostError(f"start a planner by systemd-run: {done.stderr.strip()}")


# ---- in the child ----------------------------------------------------------------------------------------------------


def _detach(words: Sequence[str], lock_fd: int, status_fd: int) -> NoReturn:
    """Leave the caller behind, fork once more, so that nobody has to wait for it, and execute."""
    try:
        _enter_cgroup()
        with _mounts_of_process_1() as mounts:
            mountns.join(*mounts)
        os.setsid()
        if os.fork():
            os._exit(0)
        _lift_limits()
        _reset_scheduling()
        _reset_signals()
        _close_all(lock_fd, status_fd)
        os.chdir("/")
        os.umask(0o022)
        os.set_inheritable(lock_fd, True)
        os.execve(words[0], [*words, "--own-cgroup", "--lock-fd", str(lock_fd)], _ENVIRONMENT)
    except (OSError, ValueError, errors.PilotError) as error:
        os.write(status_fd, f"start a planner: {error}".encode())
    os._exit(1)


def _enter_cgroup() -> None:
    """In every hierarchy, or an error: what cannot be left is the caller's."""
    Cgroup.create(hierarchies.probe_hierarchies(), _CGROUP).add(os.getpid())


def _lift_limits() -> None:
    for limit in _UNLIMITED:
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < _FEWEST_DESCRIPTORS:
        raise errors.HostError(f"no more than {most} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _reset_scheduling() -> None:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("0")  # lower than the caller's takes CAP_SYS_RESOURCE; then it is the caller's


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):  # those that the C library keeps for itself
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_all(*kept: int) -> None:
    null_fd = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null_fd, number)
    begin = 3
    for fd in sorted(kept):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
