"""The pilot API as a table: what a machine can be asked, said once for all who have to do with it.

    the agent     binds an endpoint to each row (agent/routes.py)
    pilotd        `call(GET_STATUS, None) -> Status`, or the error that was meant (machine/pilot_api.py)
    the relay     passes on the rows that somebody beside pilotd may have permission for (host/relay/table.py)
    the contract  api/pilot.openapi.yaml and the conformance kit have something of each row (tests/checks)

A new operation is a row here, its structs, an endpoint and what the kit asks of it; the document's part is written from
these (docs/howto/add-a-pilot-operation.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from . import events, exec_frames, facts, graph, run_file, schema, services
from .audit import Kind
from .permissions import Permission

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

# Headers of a call that is to be done once, and of an answer that was given before.
REQUEST_ID = "Pilot-Request-Id"
REPEATED = "Pilot-Repeated"
QUICK_S = 10.0
WORLD_S = 120.0
# For operations whose work grows with what is in the world (a copy of a tree, a change of all owners), or that start
# another agent, for which a processor that is emulated, and busy, takes minutes.
TREE_S = 300.0


@dataclasses.dataclass(frozen=True)
class Operation(Generic[Asked, Answered]):
    """One row. `id` is the operationId of the document, `path` has `{name}` for what fits one segment.

    `asked`, `answered`: the struct of the JSON body, `bytes` for one that is not looked at, `NoneType` for none.
    `lines`: the answer is NDJSON, one `answered` a line; `many`: a JSON array of them.
    `websocket`: `answered` is the first text frame to the client.
    `audit`: as what it is written down, when its permission does not say that already.
    `deadline_s` bounds the time until the answer begins; None: the endpoint bounds each of its own waits.
    """

    id: str
    method: str
    path: str
    asked: type[Asked]
    answered: type[Answered]
    permission: Permission
    deadline_s: float | None = 30.0
    websocket: bool = False
    lines: bool = False
    many: bool = False
    status: int = 200
    audit: Kind | None = None

    def fits(self, path: str) -> bool:
        """Whether a request of this path could be meant."""
        parts, segments = self.path.split("/"), path.split("/")
        pairs = zip(parts, segments, strict=False)
        return len(parts) == len(segments) and all(part.startswith("{") or part == own for part, own in pairs)

    def target(self, parameters: Mapping[str, str], query: Sequence[tuple[str, str]] = ()) -> str:
        """The request's target; whatever is in a parameter stays in its segment."""
        path = "/".join(quote(parameters[p[1:-1]], safe="") if p.startswith("{") else p for p in self.path.split("/"))
        return f"{path}?{urlencode(query)}" if query else path


_HOST, _EXEC = Permission.HOST, Permission.EXEC
_READ, _WRITE, _PORTS = Permission.FILES_READ, Permission.FILES_WRITE, Permission.PORTS

GET_VERSION = Operation("getVersion", "GET", "/v1/version", NoneType, schema.Version, _HOST, QUICK_S)
GET_STATUS = Operation("getStatus", "GET", "/v1/status", NoneType, schema.Status, _HOST, QUICK_S)
ADOPT = Operation("adopt", "POST", "/v1/adopt", schema.AdoptRequest, schema.AdoptAnswer, _HOST)
START_WORLD = Operation("startWorld", "PUT", "/v1/world", schema.WorldRequest, schema.WorldAnswer, _HOST, WORLD_S)
STOP_WORLD = Operation("stopWorld", "DELETE", "/v1/world", NoneType, schema.WorldAnswer, _HOST, WORLD_S)
FREEZE_WORLD = Operation(
    "freezeWorld", "POST", "/v1/world/freeze", schema.FreezeRequest, schema.FreezeAnswer, _HOST
)  # fmt: skip
THAW_WORLD = Operation("thawWorld", "POST", "/v1/world/thaw", NoneType, schema.FreezeAnswer, _HOST)
SHUTDOWN = Operation("shutdown", "POST", "/v1/shutdown", schema.ShutdownRequest, NoneType, _HOST, status=202)
GET_POLICY = Operation("getPolicy", "GET", "/v1/policy", NoneType, schema.Policy, _HOST, QUICK_S)
TIGHTEN_POLICY = Operation("tightenPolicy", "PUT", "/v1/policy", schema.Policy, schema.Policy, _HOST, QUICK_S)
UPGRADE_AGENT = Operation(
    "upgradeAgent", "PUT", "/v1/agent", schema.AgentRequest, schema.AgentAnswer, _HOST, TREE_S, status=202
)  # fmt: skip
APPLY_RUN_FILE = Operation("applyRunFile", "PUT", "/v1/run", run_file.RunFile, NoneType, _HOST, status=204)

LIST_CONTAINERS = Operation("listContainers", "GET", "/v1/containers", NoneType, schema.ContainerList, _HOST, QUICK_S)
ACKNOWLEDGE_EXIT = Operation(
    "acknowledgeExit", "DELETE", "/v1/containers/{name}/exits/{seq}", NoneType, NoneType, _HOST, QUICK_S, status=204
)  # fmt: skip

APPLY_GRAPH = Operation("applyGraph", "PUT", "/v1/graph", graph.GraphRequest, graph.GraphStatus, _HOST)
GET_GRAPH = Operation("getGraph", "GET", "/v1/graph", NoneType, graph.GraphStatus, _HOST, QUICK_S)
PUT_CONTAINER = Operation(
    "putContainer", "PUT", "/v1/containers/{name}", graph.ContainerSpec, graph.ContainerStatus, _HOST
)  # fmt: skip
GET_CONTAINER = Operation("getContainer", "GET", "/v1/containers/{name}", NoneType, graph.ContainerStatus, _HOST)
DELETE_CONTAINER = Operation(
    "deleteContainer", "DELETE", "/v1/containers/{name}", NoneType, NoneType, _HOST, QUICK_S, status=204
)  # fmt: skip
START_CONTAINER = Operation(
    "startContainer", "POST", "/v1/containers/{name}/start", NoneType, graph.ContainerStatus, _HOST
)  # fmt: skip
STOP_CONTAINER = Operation(
    "stopContainer", "POST", "/v1/containers/{name}/stop", graph.StopRequest, graph.ContainerStatus, _HOST
)  # fmt: skip
RESTART_CONTAINER = Operation(
    "restartContainer", "POST", "/v1/containers/{name}/restart", NoneType, graph.ContainerStatus, _HOST
)  # fmt: skip
PUT_CONTAINER_FILES = Operation(
    "putContainerFiles", "PUT", "/v1/containers/{name}/files", graph.FilesRequest, graph.ContainerStatus, _HOST
)  # fmt: skip
CONTAINER_LOGS = Operation(
    "containerLogs", "GET", "/v1/containers/{name}/logs", NoneType, graph.LogPiece, _HOST, lines=True
)  # fmt: skip

KILL_CONTAINER = Operation(
    "killContainer", "POST", "/v1/containers/{name}/kill", graph.SignalRequest, NoneType, _HOST, QUICK_S, status=204
)  # fmt: skip
PAUSE_CONTAINER = Operation(
    "pauseContainer", "POST", "/v1/containers/{name}/pause", NoneType, NoneType, _HOST, status=204
)  # fmt: skip
RESUME_CONTAINER = Operation(
    "resumeContainer", "POST", "/v1/containers/{name}/resume", NoneType, NoneType, _HOST, status=204
)  # fmt: skip
GET_STATS = Operation("getStats", "GET", "/v1/containers/{name}/stats", NoneType, graph.ContainerStats, _HOST, QUICK_S)
LIST_PROCESSES = Operation(
    "listProcesses", "GET", "/v1/containers/{name}/processes", NoneType, graph.ProcessList, _HOST, QUICK_S
)  # fmt: skip
WAIT_CONTAINER = Operation(
    "waitContainer", "GET", "/v1/containers/{name}/wait", NoneType, schema.ContainerExit, _HOST, 60.0
)  # fmt: skip

GET_SYSINFO = Operation("getSysinfo", "GET", "/v1/sysinfo", NoneType, facts.Sysinfo, _HOST, QUICK_S)
GET_METRICS = Operation("getMetrics", "GET", "/v1/metrics", NoneType, bytes, _HOST, QUICK_S)
GET_NETWORK = Operation("getNetwork", "GET", "/v1/network", NoneType, facts.Network, _HOST, QUICK_S)
GET_DIAGNOSTICS = Operation("getDiagnostics", "GET", "/v1/diagnostics", NoneType, facts.Diagnostics, _HOST)
LIST_DISKS = Operation("listDisks", "GET", "/v1/disks", NoneType, graph.DiskList, _HOST, QUICK_S)
MOUNT_DISK = Operation("mountDisk", "PUT", "/v1/disks/{name}", schema.DiskReference, graph.Disk, _HOST)
UNMOUNT_DISK = Operation("unmountDisk", "DELETE", "/v1/disks/{name}", NoneType, NoneType, _HOST, status=204)
WATCH_EVENTS = Operation("watchEvents", "GET", "/v1/events", NoneType, events.Event, _HOST, lines=True)

_SERVICES, _SERVE = Permission.SERVICES_READ, Permission.SERVICES_WRITE
_SERVICE, _EVENT = "/v1/services/{service}", services.ServiceEvent
LIST_SERVICES = Operation("listServices", "GET", "/v1/services", NoneType, services.Service, _SERVICES, many=True)
SIGNAL_SERVICE = Operation(
    "signalService", "POST", "/v1/services/signal", services.ServiceSignal, NoneType, _SERVE, status=204
)  # fmt: skip
GET_SERVICE = Operation("getService", "GET", _SERVICE, NoneType, services.Service, _SERVICES)
PUT_SERVICE = Operation("putService", "PUT", _SERVICE, services.ServiceRequest, _EVENT, _SERVE, lines=True)
DELETE_SERVICE = Operation("deleteService", "DELETE", _SERVICE, NoneType, NoneType, _SERVE, status=204)
START_SERVICE = Operation("startService", "POST", f"{_SERVICE}/start", NoneType, _EVENT, _SERVE, lines=True)
STOP_SERVICE = Operation("stopService", "POST", f"{_SERVICE}/stop", NoneType, _EVENT, _SERVE, lines=True)
RESTART_SERVICE = Operation("restartService", "POST", f"{_SERVICE}/restart", NoneType, _EVENT, _SERVE, lines=True)
SERVICE_LOGS = Operation("serviceLogs", "GET", f"{_SERVICE}/logs", NoneType, _EVENT, _SERVICES, lines=True)

LIST_SESSIONS = Operation(
    "listSessions", "GET", "/v1/exec", NoneType, schema.SessionList, _EXEC, audit=Kind.NOTHING
)  # fmt: skip
EXECUTE = Operation("execute", "POST", "/v1/exec", bytes, bytes, _EXEC)
OPEN_SESSION = Operation(
    "openSession", "GET", "/v1/exec", NoneType, exec_frames.SessionInfo, _EXEC, None, websocket=True
)  # fmt: skip
ATTACH_SESSION = Operation(
    "attachSession", "GET", "/v1/exec/{id}", NoneType, exec_frames.SessionInfo, _EXEC, None, websocket=True
)
OPEN_MACHINE_SESSION = Operation(
    "openMachineSession", "GET", "/v1/machine/exec", NoneType, exec_frames.SessionInfo, _HOST, None, websocket=True
)  # fmt: skip
KILL_SESSION = Operation(
    "killSession", "POST", "/v1/exec/{id}/kill", schema.KillRequest, schema.KillEvent, _EXEC, lines=True
)  # fmt: skip
DELETE_SESSION = Operation("deleteSession", "DELETE", "/v1/exec/{id}", NoneType, schema.KillEvent, _EXEC, lines=True)

READ_FILE = Operation("readFile", "GET", "/v1/fs/read", NoneType, bytes, _READ)
WRITE_FILE = Operation("writeFile", "PUT", "/v1/fs/write", bytes, schema.Written, _WRITE, None)
LIST_FILES = Operation("listFiles", "GET", "/v1/fs/list", NoneType, schema.Listing, _READ)
DELETE_FILE = Operation("deleteFile", "DELETE", "/v1/fs/delete", NoneType, schema.Deleted, _WRITE, TREE_S)
RENAME_FILE = Operation("renameFile", "POST", "/v1/fs/rename", schema.MoveRequest, schema.Moved, _WRITE)
COPY_FILE = Operation("copyFile", "POST", "/v1/fs/copy", schema.MoveRequest, schema.Copied, _WRITE, TREE_S)
CHANGE_MODE = Operation("changeMode", "POST", "/v1/fs/chmod", schema.ModeRequest, schema.ModesChanged, _WRITE, TREE_S)
CHANGE_OWNER = Operation(
    "changeOwner", "POST", "/v1/fs/chown", schema.OwnerRequest, schema.OwnersChanged, _WRITE, TREE_S
)  # fmt: skip
WATCH_FILES = Operation(
    "watchFiles", "GET", "/v1/fs/watch", NoneType, schema.WatchEvent, _READ, None, websocket=True
)  # fmt: skip

WATCH_PORTS = Operation(
    "watchPorts", "GET", "/v1/ports/watch", NoneType, schema.PortList, _PORTS, None, websocket=True, audit=Kind.NOTHING
)  # fmt: skip
PROXY = Operation("proxy", "GET", "/v1/proxy", NoneType, schema.ProxyAnswer, _PORTS, None, websocket=True)

# Whatever is asked and answered: who has one of many of them does not look into bodies.
AnyOperation = Operation[Any, Any]
OPERATIONS: tuple[AnyOperation, ...] = tuple(row for row in globals().values() if isinstance(row, Operation))
