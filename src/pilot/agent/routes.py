"""The pilot API as a table; `api/pilot.openapi.yaml` describes the same operations (tests/checks compares them)."""

from __future__ import annotations

from ..server.routing import Route
from . import ports_api
from .exec_api import ExecApi
from .fs_api import FsApi
from .fs_watch import FsWatch
from .machine_api import MachineApi
from .proxy_api import proxy

WORLD_DEADLINE_S = 120.0


def routes(machine: MachineApi, execution: ExecApi, fs: FsApi, watch: FsWatch) -> list[Route]:
    """Every operation, with its deadline; those without one bound each of their own waits."""
    return [
        Route("GET", "/v1/version", "getVersion", machine.version),
        Route("GET", "/v1/status", "getStatus", machine.status),
        Route("POST", "/v1/adopt", "adopt", machine.adopt),
        Route("PUT", "/v1/world", "startWorld", machine.start_world, WORLD_DEADLINE_S),
        Route("DELETE", "/v1/world", "stopWorld", machine.stop_world, WORLD_DEADLINE_S),
        Route("POST", "/v1/world/freeze", "freezeWorld", machine.freeze),
        Route("POST", "/v1/world/thaw", "thawWorld", machine.thaw),
        Route("POST", "/v1/shutdown", "shutdown", machine.shutdown),
        Route("GET", "/v1/exec", "listSessions", execution.list),
        Route("POST", "/v1/exec", "execute", execution.run),
        Route("GET", "/v1/exec", "openSession", execution.start, None, websocket=True),
        Route("GET", "/v1/exec/{id}", "attachSession", execution.attach, None, websocket=True),
        Route("POST", "/v1/exec/{id}/kill", "killSession", execution.kill),
        Route("DELETE", "/v1/exec/{id}", "deleteSession", execution.kill),
        Route("GET", "/v1/fs/read", "readFile", fs.read),
        Route("PUT", "/v1/fs/write", "writeFile", fs.write, None),
        Route("GET", "/v1/fs/list", "listFiles", fs.list),
        Route("DELETE", "/v1/fs/delete", "deleteFile", fs.delete, 300.0),
        Route("POST", "/v1/fs/rename", "renameFile", fs.rename),
        Route("POST", "/v1/fs/copy", "copyFile", fs.copy, 300.0),
        Route("POST", "/v1/fs/chmod", "changeMode", fs.chmod, 300.0),
        Route("POST", "/v1/fs/chown", "changeOwner", fs.chown, 300.0),
        Route("GET", "/v1/fs/watch", "watchFiles", watch.watch, None, websocket=True),
        Route("GET", "/v1/ports/watch", "watchPorts", ports_api.watch, None, websocket=True),
        Route("GET", "/v1/proxy", "proxy", proxy, None, websocket=True),
    ]
