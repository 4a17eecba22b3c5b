"""The inner container's config.json and its processes, as values.

The world has its own user (identity: 0..65535 are the machine's), network, pid, mount, ipc, uts and cgroup namespaces;
the machine's network card moves into it (`network`). Root in it has every capability over the world and none over the
machine, unless its privileges are fewer (`world_rights`; what no namespace holds is refused by `world_seccomp`);
nothing is masked or read-only, because a user who runs containers inside needs a fresh /proc and /sys, which the kernel
refuses under partly hidden ones: where files of the kernel show the world's own limits (`view`), both are mounted once
more, untouched. Its PID 1 is a static reaper, bound in read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from ..spec import parse
from ..spec.seccomp import Seccomp
from ..wire import faults
from . import network, shown, world_limits
from .decimals import parse_decimal
from .view import places
from .world_rights import STANDARD, Cgroups, Rights

REAPER = "/.sprite/init"
POLICY = "/.sprite/policy"
# What the machine has for those inside comes last: a command of that name of their own is theirs.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.sprite/bin"
IDS = 65536
# Many programs of developers watch thousands of files; few still use select(2), whose limit is 1024.
SOFT_FILES = 65536
_NAMESPACES = ("user", "network", "pid", "mount", "ipc", "uts", "cgroup")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs sessions, from the world's own /etc/passwd and /etc/group."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = ()


ROOT = Person(name="root", uid=0, gid=0, home="/root")


def find_person(name: str, passwd: str, group: str) -> Person | None:
    """The user `name` in these texts; None when there is none, or its line makes no sense."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 7 or fields[0] != name:
            continue
        uid, gid, home = parse_decimal(fields[2]), parse_decimal(fields[3]), fields[5] or "/"
        if uid is not None and gid is not None and max(uid, gid) < 1 << 32:
            return Person(name=name, uid=uid, gid=gid, home=home, groups=_groups(name, group))
    return None


def _groups(name: str, group: str) -> tuple[int, ...]:
    rows = [line.split(":") for line in group.splitlines()]
    found = (parse_decimal(row[2]) for row in rows if len(row) >= 4 and name in row[3].split(","))
    return tuple(gid for gid in found if gid is not None and gid < 1 << 32)


def environment(person: Person, world: Mapping[str, str], request: Sequence[str], *, tty: bool) -> tuple[str, ...]:
    """What a session's process gets: defaults, the world's own, then the request's, the later over the earlier."""
    merged = {"PATH": PATH, "HOME": person.home, "USER": person.name, "LOGNAME": person.name, "LANG": "C.UTF-8"}
    if tty:
        merged["TERM"] = "xterm-256color"
    merged |= world
    merged |= dict(item.split("=", 1) for item in request if "=" in item)
    return tuple(f"{name}={value}" for name, value in merged.items())


def check_environment(variables: Mapping[str, str]) -> None:
    """`InvalidRequest` for what no process can be given."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise faults.InvalidRequest(
                f"environment: {name!r} cannot be the name of a variable, or its value has a NUL byte"
            )


def config(
    rootfs: str,
    init: str,
    hostname: str,
    *,
    policy: str | None = None,
    inside: Sequence[tuple[str, str, bool]] = (),
    view: Sequence[tuple[str, str]] = (),
    boot_offset_s: int | None = None,
    devices: Sequence[str],
    card: str | None,
    files: int,
    resources: Mapping[str, object],
    machine: str,
    rights: Rights = STANDARD,
    withheld: Sequence[str] = (),
) -> dict[str, object]:
    """config.json of the world.

    What is read-only is so where it is taken from (`shown`). `policy` is a directory that is shown at /.sprite/policy;
    `inside`: what else is, from where, and whether it is written to; `view`: what is shown for files of the kernel,
    from where; `boot_offset_s`: seconds between the kernel's start and the world's, less than 0, where it has a boot
    time of its own; `devices` are paths of the machine's /dev that are bound in; `card` is the machine's network card,
    which moves in; `files`: the most descriptors of a process; `machine` is uname -m; `withheld`: controllers whose
    hierarchies of v1 are not shown.
    """
    shows_own_time = boot_offset_s is not None
    identity = [{"containerID": 0, "hostID": 0, "size": IDS}]
    return {
        "ociVersion": "1.2.0",
        "root": {"path": rootfs, "readonly": False},
        "hostname": hostname,
        "process": {
            "args": [REAPER, "--reaper"],
            "cwd": "/",
            "env": [f"PATH={PATH}"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": capabilities(rights),
            "noNewPrivileges": rights.no_new_privileges,
            # No less than a session's: sudo, su, sshd and cron give what PID 1 has (pam_limits(8), as Debian has it).
            "rlimits": _rlimits(files),
        },
        "mounts": [
            *(_bounded(mount, resources) for mount in _MOUNTS),
            _cgroups(rights, withheld),
            *(_untouched() if view else []),
            *(shown.bind(source, place, "nosuid", "nodev", "noexec") for source, place in view),
            *_bound_devices(devices),
            shown.bind(init, REAPER),
            *([] if policy is None else [shown.bind(policy, POLICY, "nosuid", "nodev", "noexec")]),
            *(
                _bind(source, place, "rw", "nosuid", "nodev")
                if is_written
                else shown.bind(source, place, "nosuid", "nodev")
                for source, place, is_written in inside
            ),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in (*_NAMESPACES, *(["time"] if shows_own_time else []))],
            **({"timeOffsets": {"boottime": {"secs": boot_offset_s}}} if shows_own_time else {}),
            "netDevices": {} if card is None else {card: {"name": network.CARD}},
            "uidMappings": identity,
            "gidMappings": identity,
            "cgroupsPath": world_limits.CGROUP,
            "resources": dict(resources),
            "rootfsPropagation": "rprivate",
            "seccomp": rights.seccomp(machine),
        },
    }


def seccomp(machine: str) -> Seccomp:
    """The filter of most worlds as the runtime has it, so that it can be compiled before there is a world."""
    parse.ensure_built(Seccomp)
    return msgspec.convert(STANDARD.seccomp(machine), Seccomp)


def capabilities(rights: Rights = STANDARD) -> dict[str, list[str]]:
    """Inside the world's own user namespace."""
    return {name: list(rights.capabilities) for name in ("bounding", "effective", "permitted")}


def process(
    arguments: Sequence[str],
    person: Person,
    cwd: str,
    env: Sequence[str],
    *,
    tty: bool,
    files: int,
    rights: Rights = STANDARD,
) -> dict[str, object]:
    """`process` of a session. A person other than root has no capabilities until sudo gives them back."""
    sets = capabilities(rights) if person.uid == 0 else {"bounding": list(rights.capabilities)}
    return {
        "args": list(arguments),
        "cwd": cwd,
        "env": list(env),
        "terminal": tty,
        "user": {"uid": person.uid, "gid": person.gid, "additionalGids": list(person.groups)},
        "capabilities": sets,
        "noNewPrivileges": rights.no_new_privileges,
        "rlimits": _rlimits(files),
    }


def _rlimits(files: int) -> list[dict[str, object]]:
    return [{"type": "RLIMIT_NOFILE", "soft": min(files, SOFT_FILES), "hard": files}]


def _bounded(mount: dict[str, object], resources: Mapping[str, Any]) -> dict[str, object]:
    """A tmpfs without a size gets a half of the world's memory: a full one is then an error, no one's end."""
    options = cast(list[str], mount["options"])
    if mount["type"] != "tmpfs" or "memory" not in resources or any(option.startswith("size=") for option in options):
        return mount
    return mount | {"options": [*options, f"size={resources['memory']['limit'] // 2}"]}


def _cgroups(rights: Rights, withheld: Sequence[str]) -> dict[str, object]:
    access = "ro" if rights.cgroups is Cgroups.READ_ONLY else "rw"
    without = (f"x-pilot.without={controller}" for controller in withheld)
    options = ["nosuid", "noexec", "nodev", "relatime", access, *without]
    return {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}


def _bind(source: str, destination: str, *options: str) -> dict[str, object]:
    return {"type": "bind", "source": source, "destination": destination, "options": ["bind", *options]}


def _untouched() -> list[dict[str, object]]:
    """/proc and /sys once more, with nothing over them."""
    return [
        {"destination": place, "type": kind, "source": kind, "options": ["nosuid", "noexec", "nodev"]}
        for kind, place in places.UNTOUCHED.items()
    ]


def _bound_devices(devices: Sequence[str]) -> list[dict[str, object]]:
    return [_bind(device, device, "rw", "noexec", "nosuid") for device in devices]


_MOUNTS: list[dict[str, object]] = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "nodev", "mode=1777"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=755"]},
    # What podman and others of its user remember of a boot: elsewhere that is in /tmp, which outlives it here.
    {
        "destination": "/run/user/1000",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "nodev", "mode=700", "uid=1000", "gid=1000"],
    },
]  # fmt: skip
