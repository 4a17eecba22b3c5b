"""Bodies of the pilot API (`api/pilot.openapi.yaml` is the contract), as msgspec structs.

Unknown fields are ignored, so that an older agent takes a newer host's request. What is a secret never has a default
representation here: no body of this API carries one back.
"""

from __future__ import annotations

from typing import Literal

import msgspec

API_VERSION = "1"
WorldState = Literal["none", "starting", "running", "stopping", "failed"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/version. `features` lists what this machine's isolation allows."""

    version: str
    api: str = API_VERSION
    features: list[str]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a sprite itself wants to stay awake for."""

    name: str
    started_at: str
    expires_at: str


class OutOfMemory(msgspec.Struct, frozen=True, kw_only=True):
    """So many processes of the world has the kernel ended for want of memory, and when it was seen last."""

    processes: int
    last_at: str


class Privileges(msgspec.Struct, frozen=True, kw_only=True):
    """What root of the world may do. `profile`: of docs/reference/privileges.md, "" is `standard`; `devices`: beside
    those that it has by its profile."""

    profile: Literal["", "minimal", "standard", "privileged"] = ""
    devices: list[Literal["/dev/fuse", "/dev/net/tun"]] = []
    no_new_privileges: bool = False


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/status. `world_error` says why the world failed; `http_port`: of a service; `privileges`: of the world
    that runs; `read_only`: its filesystem has met an error and takes no writes (`vm`: of a container's the host knows);
    `prepared`: what a first world would wait for is loaded, so that a machine may be kept for one, or be a template.
    """

    state: Literal["booting", "ready", "draining"]
    boot_id: str
    isolation: Literal["container", "vm"]
    world: WorldState
    sessions: int
    agent_restarts: int
    name: str | None = None
    world_error: str | None = None
    tasks: list[Task] = []
    http_port: int | None = None
    out_of_memory: OutOfMemory | None = None
    privileges: Privileges | None = None
    read_only: bool = False
    prepared: bool = True


class NetworkCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine's network card is given: addresses as in 198.18.0.2/30, default routes by gateways, the first
    of which also answers for names. `policy` is what its world reads in /.sprite/policy/network.json, at once;
    `authority`: a certificate (PEM) that programs of the world that begin from then on believe, too."""

    addresses: list[str]
    gateways: list[str]
    policy: dict[str, list[dict[str, str]]] = {}
    authority: str | None = None


class AdoptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/adopt. `entropy` is base64; `time_ns` Unix time; `network` is in force with the next world."""

    name: str
    hostname: str | None = None
    time_ns: int | None = None
    entropy: str | None = None
    environment: dict[str, str] = {}
    network: NetworkCard | None = None


class AdoptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; `refused` maps what this isolation does not permit to the reason."""

    name: str
    applied: list[str]
    refused: dict[str, str]


class DiskReference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one: the name of a descriptor sent to port 10001, or the serial of a drive."""

    descriptor: str | None = None
    serial: str | None = None


class WorldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/world. `environment` becomes the default of sessions. `privileges` are those of a world that is started
    by it: one that runs keeps what it has. `is_copy`: the disk is a copy of another world's that is used for the first
    time; its machine id and ssh host keys are made anew."""

    disk: DiskReference
    hostname: str | None = None
    environment: dict[str, str] = {}
    privileges: Privileges = Privileges()
    is_copy: bool = False


class WorldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """PUT and DELETE /v1/world. `pid` is the world's PID 1 as the machine sees it."""

    status: WorldState
    pid: int | None = None


class FreezeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/world/freeze: thaws by itself after `deadline_ms`."""

    deadline_ms: int = 1000


class FreezeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is frozen now; on thaw, whether it had held until then, and how long writers were held."""

    frozen: bool
    held: bool = True
    frozen_ms: float = 0.0


class ShutdownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/shutdown."""

    reboot: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GET and PUT /v1/policy: operations, by their id, that may not be asked any more. PUT only ever adds."""

    denied: list[str]


class AgentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/agent. `directory` of the machine is laid out as /usr/lib/pilot is; None: the agent of the image."""

    directory: str | None


class AgentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent that takes over says of itself. It has done so when GET /v1/status counts one restart more."""

    version: str
    api: str


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One running session in GET /v1/exec."""

    id: str
    command: str
    workdir: str
    created: str
    tty: bool
    bytes_per_second: float
    is_active: bool
    last_activity: str
    container: str = "world"


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/exec."""

    count: int
    sessions: list[SessionRow]


class KillRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/exec/{id}/kill, for clients that send a body rather than a query."""

    signal: str | None = None
    timeout: float | str | None = None


class KillEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the answer to a kill: signal, timeout, exited, killed, error; at last complete with exit_code."""

    type: str
    message: str | None = None
    signal: str | None = None
    pid: int | None = None
    exit_code: int | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """PUT /v1/fs/write."""

    path: str
    size: int
    mode: str


class ContainerExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a container's first process ended: told until its `seq` is acknowledged.

    `exit_code` is 128 + n for signal n, which is in `signal` then: a program may end with such a code by itself.
    """

    seq: int
    pid: int
    exit_code: int
    ended: str
    signal: int | None = None


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A container of the machine; the user's world is called `world`."""

    name: str
    status: Literal["running", "paused", "stopped"]
    pid: int | None = None
    exits: list[ContainerExit] = []


class ContainerList(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/containers."""

    containers: list[ContainerRow]


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One entry of GET /v1/fs/list. `mode` is octal without a leading zero, `modTime` RFC 3339 with 6 digits, from
    year 1 to 9999.

    A time beyond is told as the nearest of these, and `modTimeClamped` says so. Names that are not UTF-8:
    `agent/files/text.py`.
    """

    name: str
    path: str
    type: str
    size: int
    mode: str
    mod_time: str
    is_dir: bool
    mod_time_clamped: bool = False


class SkippedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing could not look at, and why."""

    path: str
    error: str


class Listing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """GET /v1/fs/list. `skipped`: what could not be looked at, at most 100 of these."""

    path: str
    entries: list[Entry]
    count: int
    skipped: list[SkippedEntry] = []


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """DELETE /v1/fs/delete."""

    deleted: list[str]
    count: int


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """POST /v1/fs/rename and /v1/fs/copy."""

    source: str
    dest: str
    working_dir: str = "/"
    recursive: bool = False
    preserve_attrs: bool = False
    as_root: bool = False


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/fs/rename, and one item of Copied."""

    source: str
    dest: str


class Copied(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """POST /v1/fs/copy."""

    copied: list[Moved]
    count: int
    total_bytes: int


class ModeRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """POST /v1/fs/chmod; `mode` is octal text."""

    path: str
    working_dir: str = "/"
    mode: str
    recursive: bool = False
    as_root: bool = False


class ModeChange(msgspec.Struct, frozen=True, kw_only=True):
    """One path whose mode was set."""

    path: str
    mode: str


class ModesChanged(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/fs/chmod."""

    affected: list[ModeChange]
    count: int


class OwnerRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """POST /v1/fs/chown; owner and group by number or by the world's own names."""

    path: str
    working_dir: str = "/"
    uid: int | str | None = None
    gid: int | str | None = None
    recursive: bool = False
    as_root: bool = False


class OwnerChange(msgspec.Struct, frozen=True, kw_only=True):
    """One path whose owner was set."""

    path: str
    uid: int
    gid: int


class OwnersChanged(msgspec.Struct, frozen=True, kw_only=True):
    """POST /v1/fs/chown."""

    affected: list[OwnerChange]
    count: int


class ProxyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """First text frame of a proxy connection. `udp`: each binary message is a datagram."""

    host: str = "localhost"
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"


class ProxyAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to it: `connected` and where to, or `error` and why."""

    status: Literal["connected", "error"]
    target: str | None = None
    error: str | None = None


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP port that something listens on; `pid` is the machine's, 0 when it cannot be seen."""

    port: int
    address: str
    pid: int


class PortList(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="port_list"):
    """First text frame on ports/watch; then `exec_frames.PortChange`."""

    ports: list[Port]


class WatchRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Text frame of a client on fs/watch."""

    type: str
    paths: list[str] = []
    recursive: bool = False
    working_dir: str = "/"


class WatchEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Text frame to a client on fs/watch: subscribed, event or error."""

    type: str
    paths: list[str] | None = None
    path: str | None = None
    event: str | None = None
    timestamp: str | None = None
    size: int | None = None
    is_dir: bool | None = None
    message: str | None = None
