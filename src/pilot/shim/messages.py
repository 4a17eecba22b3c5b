"""containerd's messages, by its own names: api/runtime/task/v3/shim.proto, which are those of v2, and what is in them.

The numbers are the contract. Fields that are not asked for here are left out: they are passed over.
"""

from __future__ import annotations

import enum
import time
from typing import Annotated

from .protobuf import Message


class Any(Message, frozen=True, kw_only=True):
    """google.protobuf.Any. containerd's own documents (config.json's `process`) are JSON by a type of their name."""

    type_url: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


class Timestamp(Message, frozen=True, kw_only=True):
    """google.protobuf.Timestamp."""

    seconds: Annotated[int, 1] = 0
    nanos: Annotated[int, 2] = 0


def timestamp(unix_ns: int | None = None) -> Timestamp:
    """Of nanoseconds since 1970; of now."""
    seconds, nanos = divmod(time.time_ns() if unix_ns is None else unix_ns, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)


class Empty(Message, frozen=True, kw_only=True):
    """google.protobuf.Empty."""


class Mount(Message, frozen=True, kw_only=True):
    """containerd.types.Mount."""

    type: Annotated[str, 1] = ""
    source: Annotated[str, 2] = ""
    target: Annotated[str, 3] = ""
    options: Annotated[tuple[str, ...], 4] = ()


class Status(enum.IntEnum):
    """containerd.v1.types.Status."""

    UNKNOWN = 0
    CREATED = 1
    RUNNING = 2
    STOPPED = 3
    PAUSED = 4
    PAUSING = 5


# ---- the Task service -----------------------------------------------------------------------------------------------


class IdRequest(Message, frozen=True, kw_only=True):
    """PidsRequest, PauseRequest, ResumeRequest, StatsRequest, ConnectRequest."""

    id: Annotated[str, 1] = ""


class ProcessRequest(Message, frozen=True, kw_only=True):
    """StateRequest, StartRequest, DeleteRequest, WaitRequest: `exec_id` is "" for the container's first process."""

    id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""


class CreateTaskRequest(Message, frozen=True, kw_only=True):
    """Create."""

    id: Annotated[str, 1] = ""
    bundle: Annotated[str, 2] = ""
    rootfs: Annotated[tuple[Mount, ...], 3] = ()
    terminal: Annotated[bool, 4] = False
    stdin: Annotated[str, 5] = ""
    stdout: Annotated[str, 6] = ""
    stderr: Annotated[str, 7] = ""
    checkpoint: Annotated[str, 8] = ""


class ExecProcessRequest(Message, frozen=True, kw_only=True):
    """Exec: `spec` is config.json's `process`, as JSON."""

    id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""
    terminal: Annotated[bool, 3] = False
    stdin: Annotated[str, 4] = ""
    stdout: Annotated[str, 5] = ""
    stderr: Annotated[str, 6] = ""
    spec: Annotated[Any | None, 7] = None


class PidResponse(Message, frozen=True, kw_only=True):
    """CreateTaskResponse, StartResponse."""

    pid: Annotated[int, 1] = 0


class DeleteResponse(Message, frozen=True, kw_only=True):
    """Delete."""

    pid: Annotated[int, 1] = 0
    exit_status: Annotated[int, 2] = 0
    exited_at: Annotated[Timestamp | None, 3] = None


class ResizePtyRequest(Message, frozen=True, kw_only=True):
    """ResizePty."""

    id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""
    width: Annotated[int, 3] = 0
    height: Annotated[int, 4] = 0


class StateResponse(Message, frozen=True, kw_only=True):
    """State."""

    id: Annotated[str, 1] = ""
    bundle: Annotated[str, 2] = ""
    pid: Annotated[int, 3] = 0
    status: Annotated[Status, 4] = Status.UNKNOWN
    stdin: Annotated[str, 5] = ""
    stdout: Annotated[str, 6] = ""
    stderr: Annotated[str, 7] = ""
    terminal: Annotated[bool, 8] = False
    exit_status: Annotated[int, 9] = 0
    exited_at: Annotated[Timestamp | None, 10] = None
    exec_id: Annotated[str, 11] = ""


class KillRequest(Message, frozen=True, kw_only=True):
    """Kill."""

    id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""
    signal: Annotated[int, 3] = 0
    all: Annotated[bool, 4] = False


class CloseIORequest(Message, frozen=True, kw_only=True):
    """CloseIO."""

    id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""
    stdin: Annotated[bool, 3] = False


class ProcessInfo(Message, frozen=True, kw_only=True):
    """containerd.v1.types.ProcessInfo."""

    pid: Annotated[int, 1] = 0


class PidsResponse(Message, frozen=True, kw_only=True):
    """Pids."""

    processes: Annotated[tuple[ProcessInfo, ...], 1] = ()


class CheckpointTaskRequest(Message, frozen=True, kw_only=True):
    """Checkpoint."""

    id: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""


class UpdateTaskRequest(Message, frozen=True, kw_only=True):
    """Update: `resources` is config.json's `linux.resources`, as JSON."""

    id: Annotated[str, 1] = ""
    resources: Annotated[Any | None, 2] = None


class WaitResponse(Message, frozen=True, kw_only=True):
    """Wait."""

    exit_status: Annotated[int, 1] = 0
    exited_at: Annotated[Timestamp | None, 2] = None


class StatsResponse(Message, frozen=True, kw_only=True):
    """Stats."""

    stats: Annotated[Any | None, 1] = None


class ConnectResponse(Message, frozen=True, kw_only=True):
    """Connect."""

    shim_pid: Annotated[int, 1] = 0
    task_pid: Annotated[int, 2] = 0
    version: Annotated[str, 3] = ""


class ShutdownRequest(Message, frozen=True, kw_only=True):
    """Shutdown."""

    id: Annotated[str, 1] = ""
    now: Annotated[bool, 2] = False


# ---- events ---------------------------------------------------------------------------------------------------------


class TaskIO(Message, frozen=True, kw_only=True):
    """Of TaskCreate."""

    stdin: Annotated[str, 1] = ""
    stdout: Annotated[str, 2] = ""
    stderr: Annotated[str, 3] = ""
    terminal: Annotated[bool, 4] = False


class TaskCreate(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    bundle: Annotated[str, 2] = ""
    rootfs: Annotated[tuple[Mount, ...], 3] = ()
    io: Annotated[TaskIO | None, 4] = None
    checkpoint: Annotated[str, 5] = ""
    pid: Annotated[int, 6] = 0


class TaskStart(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    pid: Annotated[int, 2] = 0


class TaskDelete(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    pid: Annotated[int, 2] = 0
    exit_status: Annotated[int, 3] = 0
    exited_at: Annotated[Timestamp | None, 4] = None
    id: Annotated[str, 5] = ""


class TaskExit(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    id: Annotated[str, 2] = ""
    pid: Annotated[int, 3] = 0
    exit_status: Annotated[int, 4] = 0
    exited_at: Annotated[Timestamp | None, 5] = None


class TaskExecAdded(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""


class TaskExecStarted(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""
    exec_id: Annotated[str, 2] = ""
    pid: Annotated[int, 3] = 0


class TaskPaused(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""


class TaskResumed(Message, frozen=True, kw_only=True):
    container_id: Annotated[str, 1] = ""


class Envelope(Message, frozen=True, kw_only=True):
    """containerd.types.Envelope: an event, and what it is about."""

    timestamp: Annotated[Timestamp | None, 1] = None
    namespace: Annotated[str, 2] = ""
    topic: Annotated[str, 3] = ""
    event: Annotated[Any | None, 4] = None


class ForwardRequest(Message, frozen=True, kw_only=True):
    """Of containerd.services.events.ttrpc.v1.Events."""

    envelope: Annotated[Envelope | None, 1] = None


# ---- what a container has used: io.containerd.cgroups.v2.Metrics ----------------------------------------------------


class PidsStat(Message, frozen=True, kw_only=True):
    current: Annotated[int, 1] = 0
    limit: Annotated[int, 2] = 0


class CPUStat(Message, frozen=True, kw_only=True):
    usage_usec: Annotated[int, 1] = 0
    throttled_usec: Annotated[int, 6] = 0


class MemoryStat(Message, frozen=True, kw_only=True):
    usage: Annotated[int, 32] = 0
    usage_limit: Annotated[int, 33] = 0


class Metrics(Message, frozen=True, kw_only=True):
    pids: Annotated[PidsStat | None, 1] = None
    cpu: Annotated[CPUStat | None, 2] = None
    memory: Annotated[MemoryStat | None, 4] = None
