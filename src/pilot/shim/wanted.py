"""config.json as what the contract can be asked for; what it cannot is refused, with the JSON path. Pure.

What a machine does its own way is passed over: /proc, /dev and their like, namespaces, device rules, masked paths,
seccomp, labels, rlimits (docs/reference/containerd.md says what of it is less than what was asked for). What would be
missing, or be weaker without anybody's notice, is refused: mounts, limits, hooks, namespaces of others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence

import msgspec

from .. import errors
from ..spec.config import Mount, Spec
from ..spec.document import Document
from ..spec.process import Process
from ..spec.resources import Resources
from ..wire import graph

# Annotations that say who shares a machine, in this order: containerd's own, and that of a pod.
GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
MEMORY = "io.pilot.machine.memory-bytes"
LOG_BYTES = 16 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_RESERVED = frozenset({"world", "machine"})
# Where every container of a machine has something of its own, by the types that containerd's callers ask for.
_OWN = {
    "/proc": {"proc"}, "/dev": {"tmpfs"}, "/dev/pts": {"devpts"}, "/dev/shm": {"tmpfs"}, "/dev/mqueue": {"mqueue"},
    "/sys": {"sysfs"}, "/sys/fs/cgroup": {"cgroup", "cgroup2"}, "/run": {"tmpfs"},
}  # fmt: skip
# Of `linux.resources`: what a limit is made of, and what decides nothing that a machine does not decide itself.
_TAKEN = {"memory": {"limit"}, "pids": {"limit"}, "cpu": {"quota", "period"}}
_PASSED_OVER = {"cpu": {"shares"}, "memory": {"swap", "reservation", "disableOOMKiller", "useHierarchy"}}
_PERIOD_US = 100_000
# Options of a directory that is bound: what the contract says too, and what is so anyway.
_READONLY = frozenset({"ro", "rro"})
_BIND = frozenset({"bind", "rbind"})
_OPTIONS = _READONLY | _BIND | {"rw", "private", "rprivate", "exec", "suid", "dev"}


@dataclasses.dataclass(frozen=True)
class Bind:
    """A directory of the host that the container sees at `path`; `disk` is what it is called in the machine.

    `recursive`: with what is mounted below it, so that nothing may be, as disks are single mounts.
    """

    disk: str
    source: str
    path: str
    readonly: bool
    recursive: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A container: what is asked of the machine, and what it must have before."""

    name: str
    root: Bind
    binds: tuple[Bind, ...]
    spec: graph.ContainerSpec

    @property
    def disks(self) -> tuple[Bind, ...]:
        """All that it has of the host."""
        return (self.root, *self.binds)


def plan(id: str, spec: Spec, rootfs: str) -> Wanted:
    """`SpecError` for what the contract has no words for. `rootfs`: the directory of the host that is its root."""
    process = spec.process
    if process is None or spec.root is None:
        raise errors.SpecError("$.process" if process is None else "$.root", "it is missing")
    _check(spec)
    root = Bind(f"root-{_digest(id)}", rootfs, "/", spec.root.readonly)
    binds = tuple(_binds(id, spec.mounts))
    return Wanted(
        name=name_of(id),
        root=root,
        binds=binds,
        spec=graph.ContainerSpec(
            command=list(process.args),
            root=graph.Root(path=disk_path(root.disk), readonly=root.readonly),
            environment=environment(process),
            cwd=process.cwd or "/",
            user=user(process),
            hostname=spec.hostname or None,
            restart=graph.Restart(policy="no"),
            stop=graph.Stop(signal="KILL"),
            mounts=[graph.Mount(path=each.path, source=disk_path(each.disk), readonly=each.readonly) for each in binds],
            limits=limits(spec.linux.resources),
            log_bytes=LOG_BYTES,
        ),
    )


def with_limits(plan: Wanted, changed: graph.Limits) -> Wanted:
    """The same with those limits that `changed` names."""
    given = {name: value for name, value in msgspec.structs.asdict(changed).items() if value is not None}
    limits = msgspec.structs.replace(plan.spec.limits, **given)
    return dataclasses.replace(plan, spec=msgspec.structs.replace(plan.spec, limits=limits))


def name_of(id: str) -> str:
    """What the machine calls it: the same, where that is a name there."""
    return id if _NAME.fullmatch(id) and id not in _RESERVED else f"c-{_digest(id)}"


def group_of(id: str, spec: Spec) -> str:
    """Those of one group share a machine."""
    return next((spec.annotations[name] for name in GROUPS if spec.annotations.get(name)), id)


def memory_bytes(spec: Spec, default: int) -> int:
    """How much the machine of this, its first container, has; `SpecError`."""
    text = spec.annotations.get(MEMORY, "")
    if text and not text.isdecimal():
        raise errors.SpecError(f"$.annotations.{MEMORY}", f"{text!r} is no number of bytes")
    return int(text) if text else default


def disk_path(disk: str) -> str:
    """Where in the machine it is."""
    return posixpath.join("/run/disks", disk)


def user(process: Process) -> str:
    """As `ContainerSpec` has it."""
    return f"{process.user.uid}:{process.user.gid}"


def environment(process: Process) -> dict[str, str]:
    """The later over the earlier, as execve(2)'s callers have it."""
    return dict(each.split("=", 1) for each in process.env if "=" in each)


def limits(resources: Resources | None, path: str = "$.linux.resources") -> graph.Limits:
    """`SpecError` for a limit that the contract has no word for."""
    if resources is None:
        return graph.Limits()
    for name, part in _given(resources).items():
        known = _TAKEN.get(name, set()) | _PASSED_OVER.get(name, set())
        others = [field for field in _given(part) if field not in known] if isinstance(part, Document) else [""]
        if name != "devices" and others:
            place = f"{path}.{name}.{others[0]}".rstrip(".")
            raise errors.SpecError(place, "a machine's containers have no such limit")
    memory, pids, cpu = resources.memory, resources.pids, resources.cpu
    return graph.Limits(
        memory_bytes=_positive(None if memory is None else memory.limit),
        processes=_positive(None if pids is None else pids.limit),
        cpus=cpu.quota / (cpu.period or _PERIOD_US) if cpu is not None and _positive(cpu.quota) and cpu.quota else None,
    )


def check_given(resources: Resources) -> None:
    """`SpecError` for a limit of an update that is to be lifted: the contract has no word for "none any more"."""
    memory, pids, cpu = resources.memory, resources.pids, resources.cpu
    given = {
        "memory.limit": None if memory is None else memory.limit,
        "pids.limit": None if pids is None else pids.limit,
        "cpu.quota": None if cpu is None else cpu.quota,
    }
    for name, value in given.items():
        if value is not None and value < 0:
            raise errors.SpecError(f"$.{name}", f"{value}: a limit can be changed, not lifted")


def _check(spec: Spec) -> None:
    for number, namespace in enumerate(spec.linux.namespaces):
        if namespace.path:
            problem = "a machine's containers join no namespace of the host"
            raise errors.SpecError(f"$.linux.namespaces[{number}].path", problem)
    for name in ("devices", "net_devices", "sysctl", "time_offsets"):
        if getattr(spec.linux, name):
            raise errors.SpecError(f"$.linux.{name}", "the pilot API has no word for it")
    for name in _given(spec.hooks):
        raise errors.SpecError(f"$.hooks.{name}", "a machine runs no programs of the host")


def _binds(id: str, mounts: Sequence[Mount]) -> Iterator[Bind]:
    for number, mount in enumerate(mounts):
        place = posixpath.normpath(mount.destination)
        if mount.type in _OWN.get(place, ()):
            continue
        _check_bind(f"$.mounts[{number}]", mount, place)
        options = set(mount.options)
        disk = f"bind-{_digest(id)}-{number}"
        yield Bind(disk, mount.source, place, bool(_READONLY & options), recursive="rbind" in options)


def _check_bind(path: str, mount: Mount, place: str) -> None:
    if mount.type != "bind" and not _BIND & set(mount.options):
        problem = f"{mount.type or 'nothing'} at {place}: only directories of the host can be mounted"
        raise errors.SpecError(path, problem)
    if not posixpath.isabs(mount.source):
        raise errors.SpecError(f"{path}.source", f"{mount.source!r} at {place}: it has to be an absolute path")
    for number, option in enumerate(mount.options):
        if option not in _OPTIONS:
            problem = f"{option} at {place}: the pilot API has no word for it"
            raise errors.SpecError(f"{path}.options[{number}]", problem)
    for name, mappings in (("uidMappings", mount.uid_mappings), ("gidMappings", mount.gid_mappings)):
        if mappings:
            raise errors.SpecError(f"{path}.{name}", f"{place}: the pilot API has no word for it")


def _given(document: Document) -> dict[str, object]:
    """Its members that say something, by the names that they have in JSON."""
    nothing = type(document)()
    names = zip(document.__struct_fields__, document.__struct_encode_fields__, strict=True)
    return {told: value for name, told in names if (value := getattr(document, name)) != getattr(nothing, name)}


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:20]
