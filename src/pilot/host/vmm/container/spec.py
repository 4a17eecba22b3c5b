"""The OCI spec of a machine that is a container. Pure: MachineSpec → Spec.

Own user namespace over 65536 host uids of its own and one that all machines have (`NOBODYS`), own everything else; root
read-only and shared by all machines, so that its pages are cached once; only /run is written. Its files are the host's
root's, whom nobody in the machine is: a read-only mount is no wall, because who is root over a mount namespace can make
it writable again, and to be the owner of a file (an idmapped mount) is enough to change it for all machines. Nothing is
masked or read-only inside: that would forbid the agent a fresh /proc for the world, and it is the user namespace that
protects the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ....spec.capability_names import CAPABILITIES
from ....spec.config import Mount, Root, Spec
from ....spec.document import IdMapping
from ....spec.linux import Device, Linux, Namespace, NamespaceType
from ....spec.process import Capabilities, Process, Rlimit
from ....spec.resources import Cpu, DeviceRule, Memory, Pids, Resources
from ....spec.version import OCI_VERSION
from ....wire import outward
from .. import MachineSpec

UID_COUNT = 65536
# Behind its own, so that no world in it has it: what the agent withholds from a world's root is this one's. On the host
# it is the number that is given to nobody (Debian policy 9.2.2: -1 of programs whose uids have 16 bits).
NOBODYS = IdMapping(UID_COUNT, 65535, 1)
MAX_FILES = 1 << 20
CPU_PERIOD_US = 100_000
AGENT = ("/usr/lib/pilot/bin/pilot-init", "--", "/usr/bin/python3", "-ISE", "/usr/lib/pilot")

# pass_fds become 3, 4, … in this order.
PASSED = ("dial", "log", "health")

_NAMESPACES = ("pid", "mount", "ipc", "uts", "network", "cgroup")
_QUIET = ("nosuid", "noexec", "nodev")
_MOUNTS = (
    Mount("/proc", "proc", "proc", _QUIET),
    Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "noexec", "strictatime", "mode=755", "size=65536k")),
    Mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    Mount("/dev/shm", "tmpfs", "shm", (*_QUIET, "mode=1777")),
    Mount("/dev/mqueue", "mqueue", "mqueue", _QUIET),
    Mount("/sys", "sysfs", "sysfs", _QUIET),
    Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*_QUIET, "rw")),
    Mount("/run", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=755")),
    Mount("/tmp", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=1777")),
)

# Above /run.
OUT = outward.directory_in("/run")

# What containers, tunnels and filesystems of the world's own need: each open of them is a world of its own.
_DEVICES = {
    "/dev/fuse": Device("/dev/fuse", "c", 10, 229, 0o666),
    "/dev/net/tun": Device("/dev/net/tun", "c", 10, 200, 0o666),
}
DEVICES = tuple(_DEVICES)


def machine_container(
    machine: MachineSpec,
    guest_root: str,
    cgroups_path: str,
    max_files: int,
    user_namespace: str = "",
    devices: Sequence[str] = (),
    out: str = "",
    processors: Sequence[int] | None = None,
) -> Spec:
    """`guest_root` is the image's directory, which stays the host's root's: never idmapped.

    `devices`: those of `DEVICES` that the host has. `processors`: the numbers of those that are its own, None: all.

    `user_namespace`: the path of one with these mappings, made for it ("": the runtime makes it, as root).
    `out`: the directory of the host that has the socket for what the machine asks ("": it asks nothing).
    `max_files`: the host's own hard limit, which only CAP_SYS_RESOURCE could exceed.
    """
    return Spec(
        oci_version=OCI_VERSION,
        root=Root(guest_root, readonly=True),
        process=_process(None if user_namespace else min(max_files, MAX_FILES)),
        hostname="machine",
        mounts=(*_MOUNTS, *((Mount(OUT, "bind", out, ("bind", "ro", *_QUIET)),) if out else ())),
        linux=Linux(
            namespaces=(
                Namespace(NamespaceType.USER, user_namespace),
                *(Namespace(NamespaceType(name)) for name in _NAMESPACES),
            ),
            uid_mappings=ids(machine),
            gid_mappings=ids(machine),
            cgroups_path=cgroups_path,
            devices=tuple(_DEVICES[path] for path in devices),
            resources=_resources(machine, devices, processors),
        ),
    )


def ids(machine: MachineSpec) -> tuple[IdMapping, ...]:
    """Users and groups of it, as the host has them."""
    return (IdMapping(0, machine.uid_base, UID_COUNT), NOBODYS)


def _process(max_files: int | None) -> Process:
    """`max_files`: None leaves it as it is inherited. Who did not make the user namespace needs CAP_SYS_RESOURCE to set
    limits of a process in it, which root need not have."""
    return Process(
        args=AGENT,
        cwd="/",
        env=(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LANG=C.UTF-8",
            "PILOT_FDS=" + ",".join(f"{name}:{number}" for number, name in enumerate(PASSED, start=3)),
        ),
        capabilities=Capabilities(bounding=CAPABILITIES, effective=CAPABILITIES, permitted=CAPABILITIES),
        rlimits=() if max_files is None else (Rlimit("RLIMIT_NOFILE", soft=max_files, hard=max_files),),
    )


def limits(machine: MachineSpec, *, runs: bool) -> Resources:
    """Its size. Of one that runs no memory is taken that is in use: v2 would end processes for it, v1 refuses."""
    return Resources(
        memory=Memory(limit=machine.memory_bytes, check_before_update=True if runs else None),
        cpu=_cpu(machine),
        pids=Pids(limit=machine.pids),
    )


def _cpu(machine: MachineSpec, numbers: str = "") -> Cpu:
    return Cpu(quota=machine.cpus * CPU_PERIOD_US, period=CPU_PERIOD_US, cpus=numbers)


def _resources(machine: MachineSpec, devices: Sequence[str], processors: Sequence[int] | None) -> Resources:
    """`devices`: may be opened, beside the runtime's default ones."""
    opened = (_DEVICES[path] for path in devices)
    rules = tuple(DeviceRule(True, each.type, each.major, each.minor, "rw") for each in opened)
    numbers = ",".join(map(str, processors or ()))
    return msgspec.structs.replace(limits(machine, runs=False), devices=rules, cpu=_cpu(machine, numbers))
