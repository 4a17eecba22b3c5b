"""A container of the graph as config.json, and the processes in it: values.

It is made as the user's world is (`world_spec`: own user, pid, mount, ipc, uts and cgroup namespaces, every capability
over itself and none over the machine), but that its PID 1 is the command that is wanted, and that it shares the
machine's network with its like: so /sys is bound, not mounted. The machine's card is there as long as no world has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ...spec.mount_options import LOCKED
from ...wire.graph import Container, Limits
from .. import world_spec
from ..world_spec import ROOT, Person

_PERIOD_US = 100_000
_SYS: Mapping[str, object] = {
    "destination": "/sys",
    "type": "bind",
    "source": "/sys",
    "options": ["bind", "rslave", "nosuid", "noexec", "nodev", "ro"],
}
_NAMELESS = Person(name="", uid=0, gid=0, home="/")


def config(
    base: Mapping[str, object], wanted: Container, process: Mapping[str, object], binds: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """`base`: a world's config.json, for this root and these limits. `binds` come after its mounts."""
    linux = cast(dict[str, object], base["linux"])
    mounts = [
        _SYS if each["destination"] == _SYS["destination"] else each
        for each in cast(list[dict[str, object]], base["mounts"])
        if each["destination"] != world_spec.REAPER
    ]
    namespaces = [each for each in cast(list[dict[str, object]], linux["namespaces"]) if each["type"] != "network"]
    assert wanted.root is not None
    return {
        **base,
        "root": {**cast(dict[str, object], base["root"]), "readonly": wanted.root.readonly},
        "process": process,
        "mounts": [*mounts, *binds],
        "linux": {**linux, "namespaces": namespaces, "cgroupsPath": f"/containers/{wanted.name}"},
    }


def person(user: str | None, passwd: str, group: str) -> Person | None:
    """Who `user` is, by these texts; None when there is no such name. Numbers need not be known to anybody."""
    if user is None or user == "root":
        return ROOT
    first, _, second = user.partition(":")
    if not first.isdigit():
        return world_spec.find_person(user, passwd, group)
    uid = int(first)
    known = _by_uid(uid, passwd, group)
    gid = int(second) if second else known.gid
    return Person(name=known.name, uid=uid, gid=gid, home=known.home, groups=() if second else known.groups)


def _by_uid(uid: int, passwd: str, group: str) -> Person:
    names = [fields[0] for line in passwd.splitlines() if len(fields := line.split(":")) > 2 and fields[2] == str(uid)]
    found = world_spec.find_person(names[0], passwd, group) if names else None
    return found or _NAMELESS


def resources(base: Mapping[str, object], limits: Limits) -> dict[str, object]:
    """`base`: what there is for all; no limit is above it."""
    found = dict(base)
    memory, pids = cast(Any, base.get("memory")), cast(Any, base.get("pids"))
    if limits.memory_bytes is not None:
        most = limits.memory_bytes if memory is None else min(limits.memory_bytes, memory["limit"])
        found["memory"] = {"limit": most}
    if limits.processes is not None:
        found["pids"] = {"limit": limits.processes if pids is None else min(limits.processes, pids["limit"])}
    if limits.cpus is not None:
        found["cpu"] = {"period": _PERIOD_US, "quota": max(1000, int(limits.cpus * _PERIOD_US))}
    return found


def bind(source: str, destination: str, *, readonly: bool) -> dict[str, object]:
    """A directory or file of the machine, as the container sees it; nothing of it gives privileges. What is read-only
    is so where it is taken from (`agent.shown`)."""
    options = ["rbind", "nosuid", "nodev", *([LOCKED, "ro"] if readonly else ["rw"])]
    return {"type": "bind", "source": source, "destination": destination, "options": options}
