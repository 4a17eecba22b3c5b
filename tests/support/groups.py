"""Cgroups as files: what a limit of a process is, by asking the kernel."""

from __future__ import annotations

from pathlib import Path


def directory(pid: int, controller: str) -> Path:
    """Of the cgroup of `pid` that `controller` knows; "" is the v2 tree. LookupError when it is not mounted."""
    rows = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, controllers, path in rows:
        if controller not in controllers.split(","):
            continue
        for _, target, kind, options, *_ in mounted:
            if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
                return Path(target) / path.lstrip("/")
    raise LookupError(controller)


def read(pid: int, controller: str, name: str) -> str:
    """A file of that cgroup, without its last newline."""
    return (directory(pid, controller) / name).read_text().rstrip("\n")


def is_frozen(pid: int) -> bool:
    """Whether the freezer of either version has stopped the processes of that cgroup."""
    try:
        if read(pid, "freezer", "freezer.state") == "FROZEN":
            return True
    except LookupError:
        pass  # no freezer of version 1
    return "frozen 1" in read(pid, "", "cgroup.events").splitlines()
