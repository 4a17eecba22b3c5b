"""checkpoint and restore of processes by criu: its command lines as values, and what it says when it cannot.

    checkpoint   criu check ─► criu dump --tree PID ─► images; the processes are gone, or left running
    restore      Record, cgroup ─► criu check ─► criu restore, in a mount namespace where the rootfs is a mount
                 ─► all processes, still stopped, join the cgroup ─► Record (pid) ─► they go on

Whether criu works on a kernel is found out by asking it (`criu check`): an old one fails on a new kernel before it does
anything. Bind mounts are not in the images; restore takes them from config.json, so it must be the same.
"""

from __future__ import annotations

import os
import posixpath
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..kernel import process
from ..kernel.cgroups import Cgroup
from ..plan.plan import clean
from ..spec import mount_options
from ..spec.config import Spec

if TYPE_CHECKING:
    from .rdt import CacheClass

_LOG = "criu.log"
_CONFIGURATION = "/etc/criu/runc.conf"
_TIMEOUT_S = 600
# In a mount namespace of its own, where the rootfs, as criu demands, is a mount: rootfs, then criu's command line.
_IN_MOUNT_NAMESPACE = (
    "unshare", "--mount", "--propagation", "slave", "--",
    "sh", "-c", 'mount --rbind "$0" "$0" && exec "$@"',
)  # fmt: skip


class CriuOptions(msgspec.Struct, frozen=True):
    """`flags` are criu's own, such as --tcp-established; `program` is criu, and `pass_fds` it inherits.

    `cgroups` is criu's mode of managing them; `ignore` is ours to do, from config.json.
    """

    images: str
    work: str = ""
    parent: str = ""
    leave_running: bool = False
    pre_dump: bool = False
    flags: tuple[str, ...] = ()
    cgroups: str = "ignore"
    pass_fds: tuple[int, ...] = ()
    program: str = "criu"

    @property
    def log_directory(self) -> str:
        return self.work or self.images


def plan_dump(spec: Spec, pid: int, rootfs: str, options: CriuOptions) -> tuple[str, ...]:
    """criu's command line for a checkpoint."""
    kind = "pre-dump" if options.pre_dump else "dump"
    tracked = ("--track-mem",) if options.pre_dump or options.parent else ()
    return (
        options.program, kind, "--tree", str(pid), "--root", rootfs, *_common(spec, options),
        *(word for path, _ in _binds(spec, "/") for word in ("--external", f"mnt[{path}]:{path}")),
        *(("--leave-running",) if options.leave_running and not options.pre_dump else ()),
        *tracked, *(("--prev-images-dir", options.parent) if options.parent else ()),
    )  # fmt: skip


def plan_restore(spec: Spec, bundle: str, rootfs: str, pid_file: str, options: CriuOptions) -> tuple[str, ...]:
    """criu's command line for a restore; the processes stay stopped until they are in their cgroup."""
    return (
        *_IN_MOUNT_NAMESPACE, rootfs,
        options.program, "restore", "--restore-detached", "--leave-stopped", "--pidfile", pid_file, "--root", rootfs,
        *_common(spec, options),
        *(word for path, source in _binds(spec, bundle) for word in ("--external", f"mnt[{path}]:{source}")),
    )  # fmt: skip


def run(command: tuple[str, ...], options: CriuOptions) -> None:
    """Run it, when criu works here at all; HostError with what criu says is wrong."""
    import subprocess  # only for this

    for directory in (options.images, options.log_directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    for words, log in (((options.program, "check"), ""), (command, os.path.join(options.log_directory, _LOG))):
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, pass_fds=options.pass_fds
            )
        except OSError as error:
            hint = "install criu, or name it with --criu"
            raise errors.HostError(f"run {words[0]}: {(error.strerror or '').lower()}", hint=hint) from error
        except subprocess.TimeoutExpired as error:
            raise errors.HostError(f"{options.program}: not done after {_TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise errors.HostError(f"criu failed: {words[1] if not log else 'see ' + log}: {_reason(done.stderr, log)}")


def become_subreaper() -> None:
    """Be the parent of restored processes when criu has ended, so that they can be waited for."""
    process.become_subreaper()


def resume(pid: int, cgroup: Cgroup, cache_class: CacheClass | None = None) -> None:
    """All restored processes, which are stopped, join the cgroup (and the class of service) and go on."""
    restored = list(_tree(pid))
    for each in restored:
        cgroup.add(each)
        if cache_class is not None:
            cache_class.assign(each)
    for each in restored:
        os.kill(each, signal.SIGCONT)


def _common(spec: Spec, options: CriuOptions) -> tuple[str, ...]:
    images = ("--images-dir", options.images)
    work = ("--work-dir", options.work) if options.work else ()
    managed = f"--manage-cgroups={options.cgroups}"
    return (*images, *work, "--log-file", _LOG, "-v4", managed, *_configuration(spec), *options.flags)


def _configuration(spec: Spec) -> tuple[str, ...]:
    """A file of criu's options besides its own: that of an annotation, which may be none, or runc's."""
    path = spec.annotations.get("org.criu.config", _CONFIGURATION)
    return ("--config", path) if path and os.path.exists(path) else ()


def _binds(spec: Spec, bundle: str) -> Iterator[tuple[str, str]]:
    """(destination, source) of each bind mount."""
    for mount in spec.mounts:
        if mount_options.parse_options(mount.options).is_bind or mount.type == "bind":
            yield clean(mount.destination), posixpath.join(bundle, mount.source)


def _tree(pid: int) -> Iterator[int]:
    """A process and all its descendants; they are stopped, so that it does not change."""
    yield pid
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            for child in file.read().split():
                yield from _tree(int(child))


def _reason(problems: str, log: str) -> str:
    """The first error of its log, or of what it wrote to stderr."""
    text = problems
    if log and os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read() + problems
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if "Error (" in line), lines[-1] if lines else "it does not say why")
