"""What a sprite may ask of its own machine, at /.sprite/api.sock: its services (`operations`), and these.

No token is wanted there: who can connect is in the sprite. None of these is a row of the pilot API.
"""

from __future__ import annotations

from types import NoneType

import msgspec

from . import operations, schema
from .operations import Operation
from .permissions import Permission

_TASK = "/v1/tasks/{task}"


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """To stay awake for so long: `expire` is in seconds, or a duration as in 10m. `name` is the path's in a PUT."""

    expire: float | str
    name: str = ""


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    tasks: list[schema.Task]


LIST_TASKS = Operation("listTasks", "GET", "/v1/tasks", NoneType, TaskList, Permission.HOST, operations.QUICK_S)
CREATE_TASK = Operation(
    "createTask", "POST", "/v1/tasks", TaskRequest, schema.Task, Permission.HOST, operations.QUICK_S, status=201
)
GET_TASK = Operation("getTask", "GET", _TASK, NoneType, schema.Task, Permission.HOST, operations.QUICK_S)
PUT_TASK = Operation("putTask", "PUT", _TASK, TaskRequest, schema.Task, Permission.HOST, operations.QUICK_S)
DELETE_TASK = Operation(
    "deleteTask", "DELETE", _TASK, NoneType, NoneType, Permission.HOST, operations.QUICK_S, status=204
)
