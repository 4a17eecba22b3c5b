"""Whether two processes are so alike that what one does by path or by descriptor is what the other would have done.

What a planner's caller must have in common with it, or be left to the Python command line:

    namespaces       all that /proc/PID/ns names                    root             the directory, on the same mount
    ids              real, effective, saved, of files; groups       capabilities     all five sets
    no_new_privs     its value                                      LSM label        of each module that has one
    seccomp          none: two filters cannot be compared

Where only the mounts are others, the mount namespace or the root directory, a child of the planner that has joined
them serves (`joining`): whoever has the same capabilities in the same user namespace could join them, too.

Everything else that a process has either comes with the request (working directory, umask, environment, descriptors)
or is inherited, as the caller's process clones (docs/reference/planner.md has the whole table).
"""

from __future__ import annotations

import os

# Lines of /proc/PID/status that say what a process may do.
_RIGHTS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
_LABELS = ("current", "apparmor/current", "smack/current", "selinux/current")


class Identity:
    """Of process `pid` at this moment; OSError when it cannot be seen from here."""

    def __init__(self, pid: int | str) -> None:
        self._status = _status(pid)
        others = namespaces(pid)
        self._mounts = (others.pop("mnt", ""), _root(pid))
        self._parts = (
            others,
            [self._status.get(name) for name in _RIGHTS],
            [_read_label(f"/proc/{pid}/attr/{name}") for name in _LABELS],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._parts == other._parts and self._mounts == other._mounts

    __hash__ = None  # type: ignore[assignment]  # it is compared, never kept

    def differs_in_mounts_at_most(self, other: Identity) -> bool:
        """Whether all else is the same: of two that are equal, too."""
        return self._parts == other._parts

    @property
    def umask(self) -> int:
        return int(self._status["Umask"], 8)

    @property
    def is_filtered(self) -> bool:
        """Under seccomp."""
        return self._status.get("Seccomp", "0") != "0"

    @property
    def has_no_new_privileges(self) -> bool:
        return self._status.get("NoNewPrivs", "0") != "0"


def namespaces(pid: int | str) -> dict[str, str]:
    """Each namespace of a process, by name; OSError."""
    directory = f"/proc/{pid}/ns"
    return {name: os.readlink(f"{directory}/{name}") for name in os.listdir(directory)}


def _root(pid: int | str) -> tuple[int, int, str]:
    """The root directory, and by which mount: the same directory on another mount has other mounts below it."""
    fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
            return found.st_dev, found.st_ino, next(line for line in lines if line.startswith("mnt_id:"))
    finally:
        os.close(fd)


def _status(pid: int | str) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        return {name: text.strip() for name, _, text in (line.partition(":") for line in file)}


def _read_label(path: str) -> bytes | None:
    """None where no module has such labels (EINVAL, or there is no such file)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
