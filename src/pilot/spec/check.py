"""Contradictions inside one config.json: what no host could do. Pure; what depends on the host is `plan`'s to refuse.

The rules and most of the wording are those of runc's validator, so that tools that look for a message find it.
"""

from __future__ import annotations

import re

from .. import errors
from . import linux as linux_
from . import mount_options
from .config import Hook, Mount, Spec
from .linux import Linux, NamespaceType
from .process import IoPriority, Process, Scheduler

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")
# Sysctls that belong to a namespace, and to which: the rest would change the host.
_SYSCTL_NAMESPACE: dict[str, NamespaceType] = {
    "kernel.msgmax": NamespaceType.IPC,
    "kernel.msgmnb": NamespaceType.IPC,
    "kernel.msgmni": NamespaceType.IPC,
    "kernel.sem": NamespaceType.IPC,
    "kernel.shmall": NamespaceType.IPC,
    "kernel.shmmax": NamespaceType.IPC,
    "kernel.shmmni": NamespaceType.IPC,
    "kernel.shm_rmid_forced": NamespaceType.IPC,
    "kernel.domainname": NamespaceType.UTS,
}
_SYSCTL_PREFIX: dict[str, NamespaceType] = {
    "fs.mqueue.": NamespaceType.IPC,
    "net.": NamespaceType.NETWORK,
    "user.": NamespaceType.USER,
}
# The kernel's rule (dev_valid_name), at most 15 bytes.
_NET_DEVICE = re.compile(r"(?!\.{1,2}$)[^/:\s]{1,15}")
_FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\n]*")
_PROPAGATIONS = frozenset(
    {"", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}
)
_DEVICE_TYPES = frozenset("cbup")
_BAD_VARIABLE = "invalid environment variable"


def check_spec(spec: Spec) -> None:
    """`SpecError` at the first contradiction."""
    _check_version(spec.oci_version)
    if spec.root is None or not spec.root.path:
        raise errors.SpecError("$.root", "root must be specified")
    if spec.process is not None:
        check_process(spec.process, "$.process")
    own = {namespace.type for namespace in spec.linux.namespaces}
    _check_namespaces(spec.linux)
    _check_ids(spec.linux, own)
    _require(
        not spec.hostname or NamespaceType.UTS in own,
        "$.hostname",
        "unable to set hostname without a private UTS namespace",
    )
    _require(
        not spec.domainname or NamespaceType.UTS in own,
        "$.domainname",
        "unable to set domainname without a private UTS namespace",
    )
    _check_paths(spec.linux, own)
    _check_sysctl(spec.linux)
    _check_linux(spec.linux, own)
    for index, mount in enumerate(spec.mounts):
        _check_mount(mount, f"$.mounts[{index}]")
    _check_hooks(spec)


def check_process(process: Process, path: str) -> None:
    """A process must have something to run, in a directory, with an environment that is one."""
    _require(bool(process.args) and process.args != ("",), f"{path}.args", "args must not be empty")
    _require(bool(process.cwd), f"{path}.cwd", "Cwd property must not be empty")
    _require(process.cwd.startswith("/"), f"{path}.cwd", "Cwd must be an absolute path")
    for index, item in enumerate(process.env):
        _require(not item.startswith("="), f"{path}.env[{index}]", f"{_BAD_VARIABLE}: name cannot be empty")
        _require("=" in item, f"{path}.env[{index}]", f"{_BAD_VARIABLE}: missing '='")
    for name in ("uid", "gid"):
        _require(0 <= getattr(process.user, name) < 2**32 - 1, f"{path}.user.{name}", "not an id")
    _require(
        process.oom_score_adj is None or -1000 <= process.oom_score_adj <= 1000,
        f"{path}.oomScoreAdj",
        "not in -1000..1000",
    )
    seen = set()
    for index, limit in enumerate(process.rlimits):
        _require(limit.type not in seen, f"{path}.rlimits[{index}]", f"{limit.type} is there twice")
        _require(limit.soft <= limit.hard, f"{path}.rlimits[{index}]", "soft limit is above the hard limit")
        seen.add(limit.type)
    if process.scheduler is not None:
        _check_scheduler(process.scheduler, f"{path}.scheduler")
    if process.io_priority is not None:
        _check_io_priority(process.io_priority, f"{path}.ioPriority")


_NICE = frozenset({"SCHED_OTHER", "SCHED_BATCH"})
_REAL_TIME = frozenset({"SCHED_FIFO", "SCHED_RR"})


def _check_scheduler(scheduler: Scheduler, path: str) -> None:
    """What belongs to another policy, and what the kernel would cut to size in silence."""
    policy = scheduler.policy
    _require(bool(policy), f"{path}.policy", "scheduler policy is required")
    _require(
        policy not in _NICE or -20 <= scheduler.nice <= 19,
        f"{path}.nice",
        f"invalid scheduler.nice: {scheduler.nice} when scheduler.policy is {policy}",
    )
    _require(
        not scheduler.priority or policy in _REAL_TIME,
        f"{path}.priority",
        "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
    )
    times = (scheduler.runtime, scheduler.deadline, scheduler.period)
    _require(
        policy == "SCHED_DEADLINE" or not any(times),
        path,
        "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
    )


def _check_io_priority(priority: IoPriority, path: str) -> None:
    """Higher numbers are hints of another kind to the kernel (Linux 6.5)."""
    _require(0 <= priority.priority <= 7, f"{path}.priority", f"invalid ioPriority.Priority: {priority.priority}")


def _require(holds: bool, path: str, problem: str) -> None:
    if not holds:
        raise errors.SpecError(path, problem)


def _check_version(text: str) -> None:
    match = _VERSION.fullmatch(text)
    _require(match is not None, "$.ociVersion", f"{text!r} is not a version")
    assert match is not None  # _require raised
    _require(match[1] == "1", "$.ociVersion", f"{text} is not a version of runtime-spec 1")


def _check_namespaces(linux: Linux) -> None:
    seen = set()
    for index, namespace in enumerate(linux.namespaces):
        path = f"$.linux.namespaces[{index}]"
        _require(namespace.type not in seen, path, f"malformed spec file: duplicated ns {namespace.type.value}")
        _require(not namespace.path or namespace.path.startswith("/"), f"{path}.path", "not an absolute path")
        seen.add(namespace.type)


def _check_ids(linux: Linux, own: set[NamespaceType]) -> None:
    user = next((n for n in linux.namespaces if n.type is NamespaceType.USER), None)
    if user is None or user.path:
        return
    _require(bool(linux.uid_mappings), "$.linux.uidMappings", "user namespaces enabled, but no uid mappings found")
    _require(bool(linux.gid_mappings), "$.linux.gidMappings", "user namespaces enabled, but no gid mappings found")
    for name, mappings in (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings)):
        for index, row in enumerate(mappings):
            ranges_fit = (
                min(row.container_id, row.host_id) >= 0
                and row.size > 0
                and max(row.container_id, row.host_id) + row.size <= 2**32 - 1
            )
            _require(ranges_fit, f"$.linux.{name}[{index}]", "not a range of ids")


def _check_paths(linux: Linux, own: set[NamespaceType]) -> None:
    listed = bool(linux.masked_paths or linux.readonly_paths)
    _require(
        not listed or NamespaceType.MOUNT in own,
        "$.linux.maskedPaths",
        "unable to restrict sys entries without a private MNT namespace",
    )


def _check_sysctl(linux: Linux) -> None:
    namespaces = {namespace.type: namespace for namespace in linux.namespaces}
    for name in linux.sysctl:
        path, dotted = f"$.linux.sysctl.{name}", dotted_sysctl(name)
        if dotted == "kernel.hostname":
            raise errors.SpecError(
                path, f'sysctl "{dotted}" is not allowed as it conflicts with the OCI "hostname" field'
            )
        wanted = _SYSCTL_NAMESPACE.get(dotted) or next(
            (t for p, t in _SYSCTL_PREFIX.items() if dotted.startswith(p)), None
        )
        _require(wanted is not None, path, f'sysctl "{dotted}" is not in a separate kernel namespace')
        assert wanted is not None  # _require raised
        _require(wanted in namespaces, path, _not_of_the_host(dotted, wanted))


def _not_of_the_host(name: str, namespace: NamespaceType) -> str:
    if namespace is NamespaceType.USER:
        return f"setting ucounts without a user namespace not allowed: {name}"
    if namespace is NamespaceType.NETWORK:
        return f'sysctl "{name}" not allowed in host network namespace'
    return f'sysctl "{name}" is not allowed in the hosts {namespace.value} namespace'


_SEPARATORS = str.maketrans("./", "/.")


def dotted_sysctl(name: str) -> str:
    """`net/ipv4/conf/eth0.100/x` → `net.ipv4.conf.eth0/100.x`: the first separator is the one (sysctl(8))."""
    return name.translate(_SEPARATORS) if _begins_with_slash(name) else name


def sysctl_path(name: str) -> str:
    """`net.ipv4.conf.eth0/100.x`, or the other way of writing it → `net/ipv4/conf/eth0.100/x`, below /proc/sys."""
    return name if _begins_with_slash(name) else name.translate(_SEPARATORS)


def _begins_with_slash(name: str) -> bool:
    """Whether the first separator is a slash."""
    return next((letter for letter in name if letter in "./"), ".") == "/"


def _check_linux(linux: Linux, own: set[NamespaceType]) -> None:
    _require(
        linux.rootfs_propagation in _PROPAGATIONS,
        "$.linux.rootfsPropagation",
        f"rootfsPropagation={linux.rootfs_propagation} is not supported",
    )
    _require(
        not linux.time_offsets or NamespaceType.TIME in own,
        "$.linux.timeOffsets",
        "time namespace offsets specified, but time namespace isn't enabled in the config",
    )
    _require(
        not linux.time_offsets or not any(n.type is NamespaceType.TIME and n.path for n in linux.namespaces),
        "$.linux.timeOffsets",
        "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
    )
    for clock in linux.time_offsets:
        _require(
            clock in {"monotonic", "boottime"},
            f"$.linux.timeOffsets.{clock}",
            "not a clock that a time namespace can shift",
        )
    _require(
        not linux.net_devices or NamespaceType.NETWORK in own,
        "$.linux.netDevices",
        "unable to move network devices without a NET namespace",
    )
    for name, net_device in linux.net_devices.items():
        for text in (name, net_device.name or name):
            problem = f'invalid network device name "{text}"'
            _require(_NET_DEVICE.fullmatch(text) is not None, f"$.linux.netDevices.{name}", problem)
    for index, device in enumerate(linux.devices):
        _check_device(device, f"$.linux.devices[{index}]")
    if linux.intel_rdt is not None:
        _require(
            linux.intel_rdt.clos_id == "/" or _FILE_NAME.fullmatch(linux.intel_rdt.clos_id) is not None,
            "$.linux.intelRdt.closID",
            "not the name of a directory",
        )


def _check_device(device: linux_.Device, path: str) -> None:
    _require(device.path.startswith("/"), f"{path}.path", "not an absolute path")
    _require(device.type in _DEVICE_TYPES, f"{path}.type", f'invalid device type "{device.type}"')


def _check_mount(mount: Mount, path: str) -> None:
    _require(bool(mount.destination), f"{path}.destination", "mount destination is empty")
    wants_bind = bool({"bind", "rbind"} & set(mount.options)) or mount.type == "bind"
    options = mount_options.parse_options(mount.options)
    is_mapped = bool(mount.uid_mappings or mount.gid_mappings or options.idmap)
    invalid = f"invalid mount {mount.destination}"
    _require(not is_mapped or wants_bind, path, f"{invalid}: id-mapped mounts are only supported for bind-mounts")
    _require(
        bool(mount.uid_mappings) == bool(mount.gid_mappings),
        path,
        f"{invalid}: id-mapped mounts must have both uid and gid mappings specified",
    )
    _require(
        not (wants_bind and options.data),
        f"{path}.options",
        f"{invalid}: bind mounts cannot have any filesystem-specific options applied",
    )


def _check_hooks(spec: Spec) -> None:
    for kind in ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop"):
        hooks: tuple[Hook, ...] = getattr(spec.hooks, kind)
        head, *rest = kind.split("_")
        for index, hook in enumerate(hooks):
            path = f"$.hooks.{head}{''.join(word.title() for word in rest)}[{index}]"
            _require(hook.path.startswith("/"), f"{path}.path", "not an absolute path")
            _require(hook.timeout is None or hook.timeout > 0, f"{path}.timeout", "not above zero")
