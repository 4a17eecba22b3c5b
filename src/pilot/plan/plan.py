"""A Plan: a Program, and what its parent has to have ready or to do at its barriers. All of it is a value.

    openings   what `runtime` opens in the runtime namespace before the clone, each bound to a slot
    barriers   of the Program, by name:
                 idmap     write uid_map and gid_map of the process
                 mounts N  open what `handed` has under that name, and hand it in
                 hooks     run prestart and createRuntime hooks; move network devices; hand in the hooks' states
                 release   limits that only the parent may set; write state.json
                 before start   (exec, instead of release) the same limits; the caller notes the process

Whatever else a Program names (stdio, the pidfd of a container, its start FIFO, cgroup.procs) is handed to it by
`runtime` under the slots named here.
"""

from __future__ import annotations

import posixpath

import msgspec

from ..spec.document import IdMapping
from .abi import MountAttribute, Namespace
from .code import Slot
from .program import Program

IDMAP = "idmap"
MOUNTS = "mounts"
HOOKS = "hooks"
RELEASE = "release"
BEFORE_START = "before start"

ROOT = Slot("rootfs")
PLACE = Slot("rootfs-place")
NULL = Slot("null")
FIFO = Slot("start")
PIDFD = Slot("container")
MASTER = Slot("terminal")
PEER = Slot("terminal-peer")
CONSOLE_SOCKET = Slot("console-socket")
CREATE_STATE = Slot("state-creating")
START_STATE = Slot("state-created")
LISTENER = Slot("seccomp-listener")
CGROUP = Slot("cgroup")


class IdMaps(msgspec.Struct, frozen=True):
    """The two maps of a user namespace."""

    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()

    def describe(self) -> str:
        return f"uids {_ranges(self.uids)} gids {_ranges(self.gids)}"


class UserNamespace(msgspec.Struct, frozen=True):
    """A user namespace by its path, whose maps are taken."""

    path: str

    def describe(self) -> str:
        return f"as {self.path}"


IdMap = IdMaps | UserNamespace


class OpenFile(msgspec.Struct, frozen=True):
    """open(2) of a path of the runtime namespace; `flags` of open(2)."""

    slot: Slot
    path: str
    flags: int

    def describe(self) -> str:
        return f"open {self.path} as {self.slot}"


class OpenMount(msgspec.Struct, frozen=True):
    """A detached copy of what is mounted at a path of the runtime namespace, idmapped or not.

    The runtime makes it, as the container's user namespace may lack the permission to reach the path, and to idmap. It
    refuses where the source has attributes of `without`: those are locked in the container's user namespace.
    """

    slot: Slot
    path: str
    recursive: bool = True
    idmap: IdMap | None = None
    idmap_recursive: bool = False
    without: MountAttribute = MountAttribute.NONE
    subject: str = ""  # what it is for, in the words of config.json

    def describe(self) -> str:
        idmap = f", idmapped: {self.idmap.describe()}" if self.idmap else ""
        return f"copy mount {self.path} as {self.slot} ({'rbind' if self.recursive else 'bind'}{idmap})"


class OpenNode(msgspec.Struct, frozen=True):
    """A device node, made in a filesystem that nobody sees, as a detached mount; `uid` and `gid` are the host's.

    Where the kernel cannot copy a mount out of such a filesystem (before 6.15) it is the host's node at `path`.
    """

    slot: Slot
    path: str
    mode: int
    major: int
    minor: int
    uid: int
    gid: int

    def describe(self) -> str:
        mode = f"{self.mode & 0o7777:o}"
        return f"make node {self.major}:{self.minor} as {self.slot} (mode {mode}, owner {self.uid}:{self.gid})"


Opening = OpenFile | OpenMount | OpenNode


class Limit(msgspec.Struct, frozen=True):
    """A resource limit, as prlimit(2) takes it."""

    resource: int
    soft: int
    hard: int


class Plan(msgspec.Struct, frozen=True):
    """See the module. `limits` are those that the parent sets at release."""

    program: Program
    openings: tuple[Opening, ...] = ()
    handed: tuple[tuple[str, tuple[Opening, ...]], ...] = ()  # barrier → what is opened there
    idmaps: IdMaps | None = None
    limits: tuple[Limit, ...] = ()
    net_devices: tuple[tuple[str, str], ...] = ()  # moved at `hooks`: name here, name inside
    new_namespaces: Namespace = Namespace(0)

    def describe(self) -> str:
        """Text of all of it, for `--debug` and golden tests."""
        lines = [f"before: {opening.describe()}" for opening in self.openings]
        lines += [f"at {name}: {opening.describe()}" for name, openings in self.handed for opening in openings]
        lines += [f"at {IDMAP}: map {self.idmaps.describe()}"] if self.idmaps else []
        lines += [f"at {HOOKS}: move network device {name} as {inside}" for name, inside in self.net_devices]
        lines += [f"at the last barrier: rlimit {limit.resource} {limit.soft}:{limit.hard}" for limit in self.limits]
        return "".join(f"{line}\n" for line in lines) + self.program.describe()


def clean(path: str) -> str:
    """An absolute path of the container without `.`, `..` and double slashes."""
    return posixpath.normpath("/" + path.lstrip("/"))


def stdio_slot(number: int) -> Slot:
    """The slot of the descriptor that becomes `number` of the container process."""
    return Slot(f"fd{number}")


def procs_slot(number: int) -> Slot:
    """The slot of the `number`th cgroup.procs to join."""
    return Slot(f"cgroup.procs{number}")


def _ranges(rows: tuple[IdMapping, ...]) -> str:
    return ",".join(f"{row.container_id}→{row.host_id}+{row.size}" for row in rows)
