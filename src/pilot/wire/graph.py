"""Bodies of the pilot API about containers: what is wanted of them, and what is so (`docs/reference/graph.md`).

A container is of its own root, or a process in another container (`within`). What would weaken a wall when it was
ignored (roots, mounts, limits) takes no unknown field; everything else ignores what a newer host may say.
"""

from __future__ import annotations

import binascii
from typing import Literal

import msgspec

Condition = Literal["started", "healthy", "exited_successfully"]
ContainerState = Literal[
    "waiting", "blocked", "starting", "running", "stopping", "backing_off", "exited", "stopped", "removing"
]
Health = Literal["none", "starting", "healthy", "unhealthy"]
Output = Literal["stdout", "stderr"]


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """Another container, and what has to be so of it before this one is started."""

    name: str
    condition: Condition = "started"


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is started again when it has ended by itself, and after how long.

    The n-th delay is `first_delay_s` · 2ⁿ⁻¹, at most `most_delay_s`; one that has run for `stable_s` begins anew.
    """

    policy: Literal["no", "on-failure", "always"] = "on-failure"
    first_delay_s: float = 0.1
    most_delay_s: float = 30.0
    stable_s: float = 10.0
    max_retries: int | None = None


class HttpProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Passes for an answer from 200 to 399 of the machine's own port."""

    port: int
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = {}


class TcpProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Passes when the machine's own port takes a connection."""

    port: int


class ExecProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Passes when the command, run in the container, ends with 0."""

    command: list[str]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `http`, `tcp`, `exec`. Failures count from `grace_period_s` after the start, or the first success.

    `unhealthy: stop` ends the container when it fails; its restart policy decides what follows.
    """

    name: str
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    exec: ExecProbe | None = None
    kind: Literal["readiness", "liveness"] = "readiness"
    interval_s: float = 30.0
    timeout_s: float = 10.0
    grace_period_s: float = 0.0
    success_threshold: int = 1
    failure_threshold: int = 3
    unhealthy: Literal["report", "stop"] = "report"


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """How it is asked to end, and after how long it is killed."""

    signal: str = "TERM"
    timeout_s: float = 10.0


class InjectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the container sees at `path`, over whatever is there. `content` is base64; it is on no disk.

    `version`: its content may become another one while the container runs (`FilesRequest`); None: it is what it is.
    """

    path: str
    content: str
    mode: str = "0644"
    uid: int = 0
    gid: int = 0
    version: int | None = None


class FileContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a file with a version is to say from now on, unless it says what is of this version or of a later one."""

    path: str
    content: str
    version: int


class FilesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/containers/{name}/files: of these files, all or none. Who opens one sees the old or the new, whole."""

    files: list[FileContent]


class Root(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directory of the machine that the container has as its root."""

    path: str
    readonly: bool = False


class Mount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exactly one: `volume` is one of the graph's, `source` a directory or file of the machine."""

    path: str
    volume: str | None = None
    source: str | None = None
    readonly: bool = False


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the container may use; None: what the machine has, less a reserve for the agent."""

    memory_bytes: int | None = None
    processes: int | None = None
    cpus: float | None = None


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one container: exactly one of `root` and `within`.

    `user` is `uid[:gid]` or a name of the container's own /etc/passwd. `log_bytes`: so much of each stream is kept.
    """

    command: list[str]
    root: Root | None = None
    within: str | None = None
    environment: dict[str, str] = {}
    cwd: str | None = None
    user: str | None = None
    hostname: str | None = None
    depends_on: list[Dependency] = []
    restart: Restart = Restart()
    checks: list[Check] = []
    stop: Stop = Stop()
    files: list[InjectedFile] = []
    mounts: list[Mount] = []
    limits: Limits = Limits()
    log_bytes: int = 1 << 20


class Container(ContainerSpec, frozen=True, kw_only=True):
    """One of a graph."""

    name: str


class Volume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A temporary directory in memory that containers share. None: a half of the machine's memory at most."""

    name: str
    size_bytes: int | None = None


class GraphRequest(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/graph: all that is wanted. `if_generation`: only when that is what is wanted now (409 otherwise)."""

    containers: list[Container]
    volumes: list[Volume] = []
    if_generation: int | None = None


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a check has found; `failures` in a row, `message` of the last failure."""

    name: str
    kind: Literal["readiness", "liveness"]
    status: Literal["unknown", "passing", "failing"]
    failures: int = 0
    message: str = ""


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is so of one container, and `why`. `waits_for` are dependencies; `next_start` while it backs off.

    `exit_code`, `ended`, `error` are of its last end: 128 + n for signal n, None with an `error` that kept it from
    starting. `restarts` counts starts after the first one.
    """

    name: str
    status: ContainerState
    why: str
    waits_for: list[str] = []
    health: Health = "none"
    checks: list[CheckStatus] = []
    pid: int | None = None
    started: str | None = None
    ended: str | None = None
    exit_code: int | None = None
    error: str | None = None
    restarts: int = 0
    next_start: str | None = None


class GraphStatus(msgspec.Struct, frozen=True, kw_only=True):
    """GET and PUT /v1/graph. `settled`: nothing of it is under way, whether or not all are well."""

    generation: int
    settled: bool
    containers: list[ContainerStatus]


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/containers/{name}/stop: the signal and patience of its spec, where they are not said."""

    signal: str | None = None
    timeout_s: float | None = None


class LogPiece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of GET /v1/containers/{name}/logs: what was written at once, whole lines where there were some.

    `offset` is the first byte's place in all that the stream has ever had; `dropped`: so many bytes before it are gone.
    What is not UTF-8 is in `base64` instead.
    """

    time: str
    stream: Output
    offset: int
    text: str | None = None
    base64: str | None = None
    dropped: int = 0

    @property
    def data(self) -> bytes:
        """The bytes themselves."""
        return self.text.encode() if self.text is not None else binascii.a2b_base64(self.base64 or "")


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/containers/{name}/kill: to its first process, or with `all` to each of its processes."""

    signal: str = "KILL"
    all: bool = False


class Pressure(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the time some, or all, of its tasks had to wait for a resource, in percent (PSI)."""

    some_avg10: float
    some_avg60: float
    full_avg10: float
    full_avg60: float


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a container has used. A limit of None is none; pressures are None where the kernel does not tell them."""

    cpu_ns: int
    memory_bytes: int
    memory_peak_bytes: int
    processes: int
    throttled_ns: int = 0
    memory_limit_bytes: int | None = None
    processes_limit: int | None = None
    cpu_pressure: Pressure | None = None
    memory_pressure: Pressure | None = None
    io_pressure: Pressure | None = None


class ProcessRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a container: `pid` as the machine sees it, `inner_pid` as the container does."""

    pid: int
    inner_pid: int
    uid: int
    state: str
    command: str
    memory_bytes: int
    cpu_s: float


class ProcessList(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/containers/{name}/processes."""

    processes: list[ProcessRow]


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A filesystem beside the world's, and where in the machine it is: roots of containers may be in it."""

    name: str
    path: str
    size_bytes: int
    free_bytes: int


class DiskList(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/disks."""

    disks: list[Disk]
