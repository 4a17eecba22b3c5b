"""`linux.cgroupsPath` and `linux.resources` → where the cgroup is and what is written into its files.

Everything is decided here: names of files per cgroup version, conversion of values, order. What depends on the moment
is left to the one who writes, as properties of a `Write`: files that only some kernels have (`optional`, `instead`),
pairs of limits that the kernel accepts in one order only (`again`).

A number of 0 means "not set", and -1 "no limit", as in every other runtime; nothing is read here.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterator, Mapping

import msgspec

from .. import errors
from ..spec import resources as spec_
from ..spec.config import Spec
from ..spec.linux import NamespaceType
from ..spec.resources import Resources
from . import devices, facts
from .facts import HostFacts

_RESOURCES = "$.linux.resources"


# ---- where ------------------------------------------------------------------------------------------------------


class Unit(msgspec.Struct, frozen=True):
    """The transient scope that holds the container, for the systemd driver."""

    name: str
    slice: str


class Placement(msgspec.Struct, frozen=True):
    """Where a container's cgroup is: below the mount point of each hierarchy, or relative to the caller's own cgroup.

    In cgroup v2 *relative* counts from the parent of the caller's cgroup: one with processes can have no children
    with controllers.
    """

    path: str
    relative: bool = False
    unit: Unit | None = None


def plan_placement(cgroups_path: str, container_id: str, driver: str = "cgroupfs", rootless: bool = False) -> Placement:
    """`linux.cgroupsPath` by the rules of `driver`: a path for cgroupfs, `slice:prefix:name` for systemd."""
    if driver == "systemd":
        return _plan_scope(cgroups_path, container_id, rootless)
    if not cgroups_path:
        return Placement(clean_path(container_id), relative=True)
    return Placement(clean_path(cgroups_path), relative=not cgroups_path.startswith("/"))


def require_none(resources: Resources | None) -> None:
    """SpecError for whoever wants limits, or rules for devices, and no cgroup that could hold them."""
    if resources is not None and resources != Resources():
        raise errors.SpecError(
            _RESOURCES, "limits and rules for devices need a cgroup", hint="this container is to have none"
        )


def clean_path(path: str) -> str:
    """`path` without `.`, `..` and leading slashes; `..` never leads above the root."""
    return posixpath.normpath("/" + path).lstrip("/")


def _plan_scope(cgroups_path: str, container_id: str, rootless: bool) -> Placement:
    parent, prefix, name = "user.slice" if rootless else "system.slice", "pilot", container_id
    if cgroups_path:
        parts = cgroups_path.split(":")
        if len(parts) != 3:
            problem = f"expected slice:prefix:name for the systemd cgroup driver, got {cgroups_path!r}"
            raise errors.SpecError("$.linux.cgroupsPath", problem)
        parent, prefix, name = parts[0] or parent, parts[1], parts[2]
    unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope"
    return Placement(posixpath.join(expand_slice(parent), unit).lstrip("/"), unit=Unit(unit, parent))


def expand_slice(name: str) -> str:
    """Path of a systemd slice: `a-b.slice` lies in `a.slice`, so it is a.slice/a-b.slice."""
    stem = name.removesuffix(".slice")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if stem == name or "/" in name or not all(parts):
        raise errors.SpecError("$.linux.cgroupsPath", f"invalid slice name {name!r}")
    return "/".join("-".join(parts[:count]) + ".slice" for count in range(1, len(parts) + 1))


def plan_owner(spec: Spec, host: HostFacts) -> int | None:
    """The host's uid that the container's cgroup is delegated to, as the specification wants it: in cgroup v2, where
    the container has a cgroup namespace of its own and may write to what is mounted there. None: it stays as it is.
    """
    kinds = [namespace.type for namespace in spec.linux.namespaces if not namespace.path]
    mounted = (m for m in spec.mounts if m.type in {"cgroup", "cgroup2"} and "ro" not in m.options)
    writable = any(clean_path(mount.destination) == "sys/fs/cgroup" for mount in mounted)
    if host.cgroup_layout is not facts.CgroupLayout.V2 or NamespaceType.CGROUP not in kinds or not writable:
        return None
    uid = spec.process.user.uid if spec.process else 0
    if NamespaceType.USER not in kinds:
        return uid or None
    rows = (row for row in spec.linux.uid_mappings if 0 <= uid - row.container_id < row.size)
    return next((row.host_id + uid - row.container_id for row in rows), None)


# ---- what is written --------------------------------------------------------------------------------------------


class Write(msgspec.Struct, frozen=True):
    """`value` into `file` of the cgroup's directory in `controller`'s hierarchy; "" is the cgroup v2 tree itself."""

    controller: str
    file: str
    value: str
    again: bool = False  # the kernel may refuse it (EINVAL) until later writes are done: then try once more
    optional: bool = False  # nothing to do when this kernel has no such file
    instead: Write | None = None  # what to write when this kernel has no such file
    above: str = ""  # a file of usage: refuse a value that is not above it

    def describe(self) -> str:
        """One line."""
        return f"{self.controller or 'unified'}: {self.value} > {self.file}"


class Limits(msgspec.Struct, frozen=True):
    """All of `linux.resources`, ready to be applied in order. `device_program`: eBPF for the cgroup v2 directory."""

    writes: tuple[Write, ...]
    device_program: bytes | None = None

    def describe(self) -> str:
        """A line for each thing that is done."""
        lines = [write.describe() for write in self.writes]
        if self.device_program is not None:
            lines.append(f"unified: attach device program of {len(self.device_program) // 8} instructions")
        return "\n".join(lines)


def controller_versions(host: HostFacts) -> dict[str, int]:
    """Which cgroup version each usable controller belongs to; in a hybrid layout both occur."""
    versions = dict.fromkeys(host.cgroup_controllers, 2)
    if _has_tree(host):
        # No file lists this one: in v2 it is a type of program.
        versions["devices"] = 2
    for mount in host.cgroup_mounts:
        versions.update(dict.fromkeys(mount.controllers, 1) if mount.version == 1 else {})
    return versions


_V1_NAMES = {"io": "blkio"}  # v2 name → v1 name, where they differ


def _has_tree(host: HostFacts) -> bool:
    return host.cgroup_layout in {facts.CgroupLayout.V2, facts.CgroupLayout.HYBRID}


def plan_limits(resources: Resources | None, host: HostFacts) -> Limits:
    """Limits of a new cgroup, with its device rules.

    Those are left out in a user namespace, where nobody may set them, and where there is nothing to set them in.
    """
    resources = resources or Resources()
    writes = plan_update(resources, host)
    version = controller_versions(host).get("devices")
    if host.in_user_namespace or version is None:
        return Limits(writes)
    policy = devices.plan_policy([*resources.devices, *devices.DEFAULT_RULES])
    if version == 1:
        return Limits((*_v1_devices(policy), *writes))
    return Limits(writes, devices.compile_policy(policy))


class Current(msgspec.Struct, frozen=True):
    """Limits of a cgroup as its files have them now, where one file or one value stands for two of `linux.resources`.

    -1 is no limit; None where there is no such file.
    """

    quota: int | None = None
    period: int | None = None
    memory: int | None = None


def complete(resources: Resources, current: Current) -> Resources:
    """What an update leaves out of a pair that belongs together, from what is in force: it is to stay as it is."""
    cpu, memory = resources.cpu, resources.memory
    if cpu is not None and bool(cpu.quota) != bool(cpu.period):
        cpu = msgspec.structs.replace(cpu, quota=cpu.quota or current.quota, period=cpu.period or current.period)
    if memory is not None and current.memory is not None and current.memory > 0:
        memory = _complete_swap(memory, current.memory)
    return msgspec.structs.replace(resources, cpu=cpu, memory=memory)


def _complete_swap(memory: spec_.Memory, limit: int) -> spec_.Memory:
    """`swap` of the document is memory and swap together, so alone it needs the limit that is in force.

    A limit alone leaves the file of the swap as it is, as runc does.
    """
    return msgspec.structs.replace(memory, limit=limit) if memory.swap and not memory.limit else memory


def plan_update(resources: Resources, host: HostFacts) -> tuple[Write, ...]:
    """The limits alone, for a new cgroup or one in use; device rules stay as they are.

    HostError when there is something to write and no controller for it.
    """
    versions = controller_versions(host)
    writes = [write for kinds in _CONTROLLERS for write in _plan_controller(kinds, versions, resources)]
    return (*writes, *_unified(resources, host))


def _plan_controller(kinds: _Kinds, versions: Mapping[str, int], resources: Resources) -> list[Write]:
    for version, (name, plan) in kinds.items():
        if versions.get(name) == version:
            return list(plan(resources))
    # An absent controller is only missed when there is something to write.
    name, plan = next(iter(kinds.values()))
    for write in plan(resources):
        raise errors.HostError(f"set {write.file}: no cgroup controller {name} on this host")
    return []


def _require_v2(file: str, versions: Mapping[str, int]) -> None:
    """On a hybrid host most controllers are of v1, and the v2 directory has none of their files."""
    controller = file.partition(".")[0]
    is_v1 = versions.get(controller) == 1 or _V1_NAMES.get(controller) in versions
    if is_v1 and not file.endswith(".pressure"):  # pressure is told with and without the controller
        raise errors.HostError(
            f"set {file}: invalid configuration: cannot use unified on cgroup v1, which {controller} is of"
        )


def _unified(resources: Resources, host: HostFacts) -> Iterator[Write]:
    versions = controller_versions(host)
    for file, text in resources.unified.items():
        if "/" in file or file in {"", ".", ".."}:
            raise errors.SpecError(f"{_RESOURCES}.unified", f"{file!r} must be the name of a file")
        if not _has_tree(host):
            raise errors.HostError(f"set {file}: invalid configuration: cannot use unified on cgroup v1")
        _require_v2(file, versions)
        # The kernel takes one line per write.
        for line in text.split("\n"):
            yield Write("", file, line)


def _text(number: int | None) -> str | None:
    """A limit for a file of cgroup v2, None when not set."""
    return None if not number else "max" if number < 0 else str(number)


# ---- cpu --------------------------------------------------------------------------------------------------------


_LEAST_SHARES, _MOST_SHARES = 2, 262144


def cpu_weight(shares: int) -> int:
    """cpu.shares of v1 (2 to 262144) → cpu.weight of v2 (1 to 10000), such that both defaults, 1024 and 100, meet."""
    if shares <= _LEAST_SHARES:
        return 1
    if shares >= _MOST_SHARES:
        return 10000
    doublings = math.log2(shares)
    # The parabola through (2, 1), (1024, 100) and (262144, 10000) in logarithms.
    return math.ceil(10 ** ((doublings * doublings + 125 * doublings) / 612 - 7 / 34))


def _v1_cpu(resources: Resources) -> Iterator[Write]:
    cpu = resources.cpu or spec_.Cpu()
    shares = [Write("cpu", "cpu.shares", str(_v1_shares(cpu.shares)))] if cpu.shares else []
    yield from _with_idle(shares, cpu.idle)
    # A shorter period, or a longer burst, may only fit once the new quota is in place.
    for file, value, again in (
        ("cpu.cfs_period_us", cpu.period, bool(cpu.quota)),
        ("cpu.cfs_burst_us", cpu.burst, bool(cpu.quota)),
        ("cpu.cfs_quota_us", cpu.quota, False),
        ("cpu.rt_period_us", cpu.realtime_period, bool(cpu.realtime_runtime)),
        ("cpu.rt_runtime_us", cpu.realtime_runtime, False),
    ):
        if value or (value is not None and file == "cpu.cfs_burst_us"):
            yield Write("cpu", file, str(value), again=again)


def _v1_shares(shares: int) -> int:
    """The kernel would take the nearest that it has, and say nothing."""
    if not _LEAST_SHARES <= shares <= _MOST_SHARES:
        bound = f"minimum allowed cpu-shares is {_LEAST_SHARES}"
        bound = bound if shares < _LEAST_SHARES else f"maximum allowed cpu-shares is {_MOST_SHARES}"
        raise errors.SpecError(f"{_RESOURCES}.cpu.shares", f"{shares}: the {bound}")
    return shares


def _with_idle(shares: list[Write], idle: int | None) -> list[Write]:
    """A cgroup that is idle has no shares, and refuses them: it stops being idle first, and becomes it last."""
    if idle is None:
        return shares
    write = Write("cpu", "cpu.idle", str(idle))
    return [*shares, write] if idle else [write, *shares]


def _v2_cpu(resources: Resources) -> Iterator[Write]:
    cpu = resources.cpu or spec_.Cpu()
    shares = [Write("cpu", "cpu.weight", str(cpu_weight(cpu.shares)))] if cpu.shares else []
    yield from _with_idle(shares, cpu.idle)
    if cpu.burst is not None:
        yield Write("cpu", "cpu.max.burst", str(cpu.burst), again=bool(cpu.quota))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        yield Write("cpu", "cpu.max", f"{quota} {cpu.period or 100000}")


def _cpuset(resources: Resources) -> Iterator[Write]:
    cpu = resources.cpu or spec_.Cpu()
    if cpu.cpus:
        yield Write("cpuset", "cpuset.cpus", cpu.cpus)
    if cpu.mems:
        yield Write("cpuset", "cpuset.mems", cpu.mems)


# ---- memory -----------------------------------------------------------------------------------------------------


def _v1_memory(resources: Resources) -> Iterator[Write]:
    memory = resources.memory or spec_.Memory()
    if memory.limit:
        # The limit may never exceed memsw's: growing, memsw must come first, shrinking, the limit.
        yield Write("memory", "memory.limit_in_bytes", str(memory.limit), again=True)
    if memory.swap:
        yield Write("memory", "memory.memsw.limit_in_bytes", str(memory.swap))
    elif memory.limit == -1:
        yield Write("memory", "memory.memsw.limit_in_bytes", "-1", optional=True)
    if memory.reservation:
        yield Write("memory", "memory.soft_limit_in_bytes", str(memory.reservation))
    if memory.kernel_tcp:
        yield Write("memory", "memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp), optional=True)
    if memory.disable_oom_killer:
        yield Write("memory", "memory.oom_control", "1")
    if memory.swappiness is not None and memory.swappiness not in {-1, (1 << 64) - 1}:
        if not 0 <= memory.swappiness <= 100:
            raise errors.SpecError(
                f"{_RESOURCES}.memory.swappiness",
                f"invalid memory swappiness value: {memory.swappiness} (valid range is 0-100)",
            )
        yield Write("memory", "memory.swappiness", str(memory.swappiness))


def swap_limit(memory_and_swap: int | None, limit: int | None) -> int | None:
    """memory+swap of v1 → swap alone, as v2 has it; None when not set, -1 for no limit."""
    if limit == -1 and not memory_and_swap:
        return -1
    if not memory_and_swap or memory_and_swap == -1 or limit == -1:
        return memory_and_swap or None
    path = f"{_RESOURCES}.memory.swap"
    if not limit:
        raise errors.SpecError(path, "a swap limit needs a memory limit")
    if memory_and_swap < limit:
        raise errors.SpecError(path, "memory and swap together must not be less than the memory limit")
    return memory_and_swap - limit


def _v2_memory(resources: Resources) -> Iterator[Write]:
    memory = resources.memory or spec_.Memory()
    above = "memory.current" if memory.check_before_update else ""
    swap = swap_limit(memory.swap, memory.limit)
    if swap is not None:
        value = "max" if swap < 0 else str(swap)
        # Without swap in the kernel there is no such file, and none and no limit come true by themselves.
        yield Write("memory", "memory.swap.max", value, optional=value in {"max", "0"})
    limit = _text(memory.limit)
    if limit is not None:
        yield Write("memory", "memory.max", limit, above=above if limit != "max" else "")
    reservation = _text(memory.reservation)
    if reservation is not None:
        yield Write("memory", "memory.low", reservation)


# ---- block devices ----------------------------------------------------------------------------------------------


def io_weight(weight: int) -> int:
    """blkio.weight (10 to 1000) → io.weight (1 to 10000)."""
    return 1 + (weight - 10) * 9999 // 990


_THROTTLES = (
    ("throttle_read_bps_device", "blkio.throttle.read_bps_device", "rbps"),
    ("throttle_write_bps_device", "blkio.throttle.write_bps_device", "wbps"),
    ("throttle_read_iops_device", "blkio.throttle.read_iops_device", "riops"),
    ("throttle_write_iops_device", "blkio.throttle.write_iops_device", "wiops"),
)


def _v1_blkio(resources: Resources) -> Iterator[Write]:
    block = resources.block_io or spec_.BlockIO()
    if block.weight:
        yield _weight(Write("blkio", "blkio.weight", str(block.weight)), "blkio.bfq.weight")
    if block.leaf_weight:
        yield Write("blkio", "blkio.leaf_weight", str(block.leaf_weight))
    for device in block.weight_device:
        name = f"{device.major}:{device.minor}"
        if device.weight:
            yield _weight(Write("blkio", "blkio.weight_device", f"{name} {device.weight}"), "blkio.bfq.weight_device")
        if device.leaf_weight:
            yield Write("blkio", "blkio.leaf_weight_device", f"{name} {device.leaf_weight}")
    for field, file, _ in _THROTTLES:
        for throttle in getattr(block, field):
            yield Write("blkio", file, f"{throttle.major}:{throttle.minor} {throttle.rate}")


def _weight(write: Write, bfq_file: str) -> Write:
    """Since 5.0 only the BFQ scheduler has weights, in a file of its own."""
    return msgspec.structs.replace(write, instead=msgspec.structs.replace(write, file=bfq_file))


def _v2_io(resources: Resources) -> Iterator[Write]:
    block = resources.block_io or spec_.BlockIO()
    if block.weight:
        plain = Write("io", "io.weight", str(io_weight(block.weight)))
        yield Write("io", "io.bfq.weight", str(block.weight), instead=plain)
    for device in block.weight_device:
        if device.weight:
            name = f"{device.major}:{device.minor}"
            plain = Write("io", "io.weight", f"{name} {io_weight(device.weight)}")
            yield Write("io", "io.bfq.weight", f"{name} {device.weight}", instead=plain)
    for field, _, key in _THROTTLES:
        for throttle in getattr(block, field):
            rate = throttle.rate or "max"
            yield Write("io", "io.max", f"{throttle.major}:{throttle.minor} {key}={rate}")


# ---- the rest ---------------------------------------------------------------------------------------------------


def _pids(resources: Resources) -> Iterator[Write]:
    limit = resources.pids.limit if resources.pids else None
    if limit is not None:
        yield Write("pids", "pids.max", "max" if limit < 0 else str(least_tasks(limit)))


def least_tasks(limit: int) -> int:
    """As runc: 0 is a limit, too, and systemd knows none below 1, which is as strict for whoever is there already."""
    return max(limit, 1)


def _v1_hugetlb(resources: Resources) -> Iterator[Write]:
    return _hugetlb(resources, "limit_in_bytes")


def _v2_hugetlb(resources: Resources) -> Iterator[Write]:
    return _hugetlb(resources, "max")


def _hugetlb(resources: Resources, suffix: str) -> Iterator[Write]:
    for item in resources.hugepage_limits:
        value, size = str(item.limit), item.page_size.upper()  # the kernel's files say 2MB, and callers 2mb
        yield Write("hugetlb", f"hugetlb.{size}.{suffix}", value)
        # What is reserved counts too, since 5.7; without this a limit is noticed at the page fault only, by SIGBUS.
        yield Write("hugetlb", f"hugetlb.{size}.rsvd.{suffix}", value, optional=True)


def _rdma(resources: Resources) -> Iterator[Write]:
    for name, limit in resources.rdma.items():
        pairs = (("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects))
        text = " ".join(f"{key}={value}" for key, value in pairs if value is not None)
        if text:
            yield Write("rdma", "rdma.max", f"{name} {text}")


def _v1_net_cls(resources: Resources) -> Iterator[Write]:
    if resources.network and resources.network.class_id:
        yield Write("net_cls", "net_cls.classid", str(resources.network.class_id))


def _v1_net_prio(resources: Resources) -> Iterator[Write]:
    for item in resources.network.priorities if resources.network else ():
        yield Write("net_prio", "net_prio.ifpriomap", f"{item.name} {item.priority}")


def _v1_devices(policy: devices.DevicePolicy) -> Iterator[Write]:
    """First the default, which forgets what was inherited; then the exceptions."""
    verbs = ("devices.allow", "devices.deny") if policy.allow else ("devices.deny", "devices.allow")
    yield Write("devices", verbs[0], "a")
    for device, access in policy.exceptions:
        yield Write("devices", verbs[1], f"{device} {access}")


_Kinds = Mapping[int, tuple[str, Callable[[Resources], Iterator[Write]]]]

# Of each kind of limit: its controller and what to write, by cgroup version; in the order of writing.
_CONTROLLERS: tuple[_Kinds, ...] = (
    {1: ("cpuset", _cpuset), 2: ("cpuset", _cpuset)},
    {1: ("memory", _v1_memory), 2: ("memory", _v2_memory)},
    {1: ("cpu", _v1_cpu), 2: ("cpu", _v2_cpu)},
    {1: ("pids", _pids), 2: ("pids", _pids)},
    {1: ("blkio", _v1_blkio), 2: ("io", _v2_io)},
    {1: ("hugetlb", _v1_hugetlb), 2: ("hugetlb", _v2_hugetlb)},
    {1: ("rdma", _rdma), 2: ("rdma", _rdma)},
    {1: ("net_cls", _v1_net_cls)},
    {1: ("net_prio", _v1_net_prio)},
)
