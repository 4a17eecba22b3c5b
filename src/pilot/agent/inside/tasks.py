"""Tasks: why a sprite itself wants to stay awake, each for an hour at most, so that a forgotten one ends by itself.

They are in init's store: the agent's death changes nothing about them, and that of the machine ends them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

import msgspec

from ... import errors
from ...server import response
from ...server.call import Call
from ...server.routing import Route
from ...wire import duration, faults, inside, schema, timestamps
from .. import document
from ..machine import Link

STORE_NAME = "agent/tasks"
MOST = 256
MOST_S = 3600.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Task(msgspec.Struct, frozen=True):
    started_s: float
    expires_s: float


class _Document(msgspec.Struct, frozen=True):
    tasks: dict[str, _Task]


class Tasks:
    """On the event loop. `now_s` is Unix time: what is frozen meanwhile passes, too."""

    def __init__(self, link: Link, now_s: Callable[[], float] = time.time) -> None:
        self._link = link
        self._now_s = now_s
        self._tasks: dict[str, _Task] = {}

    def restore(self) -> None:
        """What there was under a former agent."""
        if STORE_NAME in self._link.inherited:
            fd = self._link.take(STORE_NAME)
            try:
                self._tasks = document.read(fd, _Document).tasks
            finally:
                os.close(fd)

    def active(self) -> list[schema.Task]:
        """Those that have not expired, by name."""
        now_s = self._now_s()
        return [_shown(name, task) for name, task in sorted(self._tasks.items()) if task.expires_s > now_s]

    def find(self, name: str) -> schema.Task:
        """`NotFound` when there is none of that name, or it has expired."""
        found = next((task for task in self.active() if task.name == name), None)
        if found is None:
            raise errors.NotFound(f"task not found: {name}")
        return found

    def put(self, name: str, wanted: inside.TaskRequest, *, anew: bool) -> schema.Task:
        """For so long from now on. With `anew` `Conflict` when there is one of that name."""
        if not _NAME.fullmatch(name):
            raise faults.InvalidRequest(
                "name: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with one of the first"
            )
        for_s, now_s = _seconds(wanted.expire), self._now_s()
        active = {each.name for each in self.active()}
        if anew and name in active:
            raise errors.Conflict(f"task exists already: {name}")
        if name not in active and len(active) >= MOST:
            raise faults.Exhausted(f"{MOST} tasks are active already")
        kept = {each: task for each, task in self._tasks.items() if each in active}
        started_s = kept[name].started_s if name in kept else now_s
        self._keep(kept | {name: _Task(started_s, now_s + for_s)})
        return self.find(name)

    def delete(self, name: str) -> None:
        self.find(name)
        self._keep({each: task for each, task in self._tasks.items() if each != name})

    def _keep(self, tasks: dict[str, _Task]) -> None:
        document.write(self._link, STORE_NAME, _Document(tasks))
        self._tasks = tasks


class TasksApi:
    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def routes(self) -> list[Route]:
        return [
            Route(inside.LIST_TASKS, self.every),
            Route(inside.CREATE_TASK, self.create),
            Route(inside.GET_TASK, self.get),
            Route(inside.PUT_TASK, self.put),
            Route(inside.DELETE_TASK, self.delete),
        ]

    async def every(self, _: Call) -> response.Response:
        return response.json(inside.TaskList(tasks=self._tasks.active()))

    async def create(self, call: Call) -> response.Response:
        wanted = await call.asked(inside.CREATE_TASK)
        return response.json(self._tasks.put(wanted.name, wanted, anew=True), inside.CREATE_TASK.status)

    async def get(self, call: Call) -> response.Response:
        return response.json(self._tasks.find(call.parameters["task"]))

    async def put(self, call: Call) -> response.Response:
        """Made, or refreshed."""
        wanted = await call.asked(inside.PUT_TASK)
        return response.json(self._tasks.put(call.parameters["task"], wanted, anew=False))

    async def delete(self, call: Call) -> response.Response:
        self._tasks.delete(call.parameters["task"])
        return response.Response(inside.DELETE_TASK.status)


def _seconds(expire: float | str) -> float:
    try:
        found = duration.parse_duration_s(expire) if isinstance(expire, str) else float(expire)
    except errors.PilotError as error:
        raise faults.InvalidRequest(f"expire: {error}") from error
    if not 0 < found <= MOST_S:
        raise faults.InvalidRequest(
            f"expire: {found:g} s is not within 0 to {MOST_S:.0f}", hint="refresh it before it ends"
        )
    return found


def _shown(name: str, task: _Task) -> schema.Task:
    return schema.Task(
        name=name, started_at=timestamps.of_s(task.started_s), expires_at=timestamps.of_s(task.expires_s)
    )
