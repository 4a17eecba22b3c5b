"""resctrl, the file system of Intel RDT: classes of service for caches and memory bandwidth.

<mount point>/<group>/{schemata,tasks}              a class of service
<mount point>/<group>/mon_groups/<name>/tasks       who is counted together
"""

from __future__ import annotations

import contextlib
import os

from .. import errors
from ..plan.rdt import RdtGroup
from . import mounts


def find_root() -> str:
    """The mount point; HostError where there is none."""
    for entry in mounts.read_mountinfo():
        if entry.fstype == "resctrl":
            return entry.mount_point
    raise errors.HostError(
        "intelRdt is specified in config, but Intel RDT is not enabled: resctrl is not mounted",
        hint="the processor or the kernel may lack it",
    )


def prepare(root: str, group: RdtGroup) -> None:
    """The group is there, with its schemata; HostError. What was there before is not changed."""
    directory = os.path.join(root, group.name)
    try:
        if _make(directory, group):
            for line in group.schemata:
                _write(os.path.join(directory, "schemata"), line)
        elif group.schemata:
            _compare(directory, group.schemata)
        if group.monitor:
            _make_directory(_monitor(directory, group))
    except OSError as error:
        raise _refused("make", directory, error) from error


def assign(root: str, group: RdtGroup, pid: int) -> None:
    """A process joins; its children will be in the same group. HostError."""
    directory = os.path.join(root, group.name)
    try:
        _write(os.path.join(directory, "tasks"), str(pid))
        if group.monitor:
            _write(os.path.join(_monitor(directory, group), "tasks"), str(pid))
    except OSError as error:
        raise _refused(f"put process {pid} into", directory, error) from error


def change(root: str, group: RdtGroup, schemata: tuple[str, ...]) -> None:
    """Other schemata for a group in use; HostError."""
    directory = os.path.join(root, group.name)
    try:
        for line in schemata:
            _write(os.path.join(directory, "schemata"), line)
    except OSError as error:
        raise _refused("change", directory, error) from error


def remove(root: str, group: RdtGroup) -> None:
    """What is the container's own goes; its processes, if any are left, fall back to the group above."""
    directory = os.path.join(root, group.name)
    for path in ([_monitor(directory, group)] if group.monitor else []) + ([directory] if group.is_own else []):
        with contextlib.suppress(FileNotFoundError):  # gone with the group above, or never made
            os.rmdir(path)


def _make(directory: str, group: RdtGroup) -> bool:
    """Whether it is new."""
    if os.path.isdir(directory):
        return False
    if group.must_exist:
        raise errors.HostError(f"intelRdt: there is no class of service {group.name}")
    return _make_directory(directory)


def _make_directory(path: str) -> bool:
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def _compare(directory: str, wanted: tuple[str, ...]) -> None:
    with open(os.path.join(directory, "schemata"), encoding="ascii") as file:
        present = set(filter(None, (line.strip() for line in file)))
    other = [line for line in wanted if line.strip() not in present]
    if other:
        raise errors.Conflict(f"intelRdt: class of service {directory} exists, and is not {other[0]}")


def _write(path: str, text: str) -> None:
    # One line in one write, which is what the kernel parses.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


def _monitor(directory: str, group: RdtGroup) -> str:
    return os.path.join(directory, "mon_groups", group.monitor)


def _refused(what: str, directory: str, error: OSError) -> errors.HostError:
    return errors.HostError(f"intelRdt: {what} {directory}: {(error.strerror or '').lower()}")
