"""Who answers which operation of the pilot API. Every row of the table has its endpoint, and nothing else has one."""

from __future__ import annotations

from ..server.routing import Route, answering
from ..wire import operations
from . import ports_api
from .exec_api import ExecApi
from .fs_api import FsApi
from .fs_watch import FsWatch
from .machine_api import MachineApi
from .proxy_api import proxy


def routes(machine: MachineApi, execution: ExecApi, fs: FsApi, watch: FsWatch) -> list[Route]:
    """All of them."""
    return [
        answering(operations.GET_VERSION, machine.version),
        answering(operations.GET_STATUS, machine.status),
        answering(operations.ADOPT, machine.adopt),
        answering(operations.START_WORLD, machine.start_world),
        answering(operations.STOP_WORLD, machine.stop_world),
        answering(operations.FREEZE_WORLD, machine.freeze),
        answering(operations.THAW_WORLD, machine.thaw),
        answering(operations.SHUTDOWN, machine.shutdown),
        Route(operations.LIST_SESSIONS, execution.list),
        Route(operations.EXECUTE, execution.run),
        Route(operations.OPEN_SESSION, execution.start),
        Route(operations.ATTACH_SESSION, execution.attach),
        Route(operations.KILL_SESSION, execution.kill),
        Route(operations.DELETE_SESSION, execution.kill),
        Route(operations.READ_FILE, fs.read),
        Route(operations.WRITE_FILE, fs.write),
        Route(operations.LIST_FILES, fs.list),
        Route(operations.DELETE_FILE, fs.delete),
        Route(operations.RENAME_FILE, fs.rename),
        Route(operations.COPY_FILE, fs.copy),
        Route(operations.CHANGE_MODE, fs.chmod),
        Route(operations.CHANGE_OWNER, fs.chown),
        Route(operations.WATCH_FILES, watch.watch),
        Route(operations.WATCH_PORTS, ports_api.watch),
        Route(operations.PROXY, proxy),
    ]
