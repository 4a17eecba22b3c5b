"""The Task service: containerd.task.v2 and v3, which have the same messages, and differ by name alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from .. import errors
from ..wire import operations
from . import messages as m
from . import protobuf
from .machine import Machine
from .messages import Empty
from .tasks import Tasks
from .ttrpc import Bound, Method, Unimplemented

NAMES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
VERSION = "2"


class Service:
    """The methods. `ended` is set when the shim is to end: the last task has been deleted, and containerd says so."""

    def __init__(self, tasks: Tasks, machine: Machine) -> None:
        self._tasks = tasks
        self._machine = machine
        self.ended = asyncio.Event()

    def services(self) -> dict[str, Mapping[str, Bound]]:
        """By the names that they are called by."""
        methods: dict[str, Bound] = {
            "State": Method(m.ProcessRequest, self.state),
            "Create": Method(m.CreateTaskRequest, self.create),
            "Start": Method(m.ProcessRequest, self.start),
            "Delete": Method(m.ProcessRequest, self.delete),
            "Pids": Method(m.IdRequest, self.pids),
            "Pause": Method(m.IdRequest, self.pause),
            "Resume": Method(m.IdRequest, self.resume),
            "Checkpoint": Method(m.CheckpointTaskRequest, self.checkpoint),
            "Kill": Method(m.KillRequest, self.kill),
            "Exec": Method(m.ExecProcessRequest, self.execute),
            "ResizePty": Method(m.ResizePtyRequest, self.resize),
            "CloseIO": Method(m.CloseIORequest, self.close_io),
            "Update": Method(m.UpdateTaskRequest, self.update),
            "Wait": Method(m.ProcessRequest, self.wait),
            "Stats": Method(m.IdRequest, self.stats),
            "Connect": Method(m.IdRequest, self.connect),
            "Shutdown": Method(m.ShutdownRequest, self.shutdown),
        }
        return dict.fromkeys(NAMES, methods)

    async def state(self, asked: m.ProcessRequest) -> m.StateResponse:
        task = self._tasks.find(asked.id)
        process = task.process(asked.exec_id)
        paused = task.paused and process.status is m.Status.RUNNING
        return m.StateResponse(
            id=asked.id,
            bundle=task.bundle,
            pid=self._tasks.pid,
            status=m.Status.PAUSED if paused else process.status,
            stdin=process.paths.stdin,
            stdout=process.paths.stdout,
            stderr=process.paths.stderr,
            terminal=process.paths.terminal,
            exit_status=process.exit_status,
            exited_at=process.exited_at,
            exec_id=asked.exec_id,
        )

    async def create(self, asked: m.CreateTaskRequest) -> m.PidResponse:
        if self.ended.is_set():
            raise errors.StateError(f"create {asked.id}: the shim of its group is ending", hint="try again")
        await self._tasks.create(asked)
        return m.PidResponse(pid=self._tasks.pid)

    async def start(self, asked: m.ProcessRequest) -> m.PidResponse:
        await self._tasks.start(asked.id, asked.exec_id)
        return m.PidResponse(pid=self._tasks.pid)

    async def delete(self, asked: m.ProcessRequest) -> m.DeleteResponse:
        return await self._tasks.delete(asked.id, asked.exec_id)

    async def pids(self, asked: m.IdRequest) -> m.PidsResponse:
        """As the machine numbers them."""
        name = self._tasks.find(asked.id).name
        found = await asyncio.to_thread(self._machine.call, operations.LIST_PROCESSES, None, name=name)
        return m.PidsResponse(processes=tuple(m.ProcessInfo(pid=row.pid) for row in found.processes))

    async def pause(self, asked: m.IdRequest) -> Empty:
        await self._tasks.pause(asked.id, paused=True)
        return Empty()

    async def resume(self, asked: m.IdRequest) -> Empty:
        await self._tasks.pause(asked.id, paused=False)
        return Empty()

    async def checkpoint(self, asked: m.CheckpointTaskRequest) -> Empty:
        raise Unimplemented(f"checkpoint {asked.id}: a machine's containers have none")

    async def kill(self, asked: m.KillRequest) -> Empty:
        await self._tasks.kill(asked)
        return Empty()

    async def execute(self, asked: m.ExecProcessRequest) -> Empty:
        self._tasks.execute(asked)
        return Empty()

    async def resize(self, asked: m.ResizePtyRequest) -> Empty:
        await self._tasks.find(asked.id).process(asked.exec_id).resize(asked.width, asked.height)
        return Empty()

    async def close_io(self, asked: m.CloseIORequest) -> Empty:
        if asked.stdin:
            await self._tasks.find(asked.id).process(asked.exec_id).end_stdin()
        return Empty()

    async def update(self, asked: m.UpdateTaskRequest) -> Empty:
        await self._tasks.update(asked)
        return Empty()

    async def wait(self, asked: m.ProcessRequest) -> m.WaitResponse:
        process = self._tasks.find(asked.id).process(asked.exec_id)
        await process.ended.wait()
        return m.WaitResponse(exit_status=process.exit_status, exited_at=process.exited_at)

    async def stats(self, asked: m.IdRequest) -> m.StatsResponse:
        name = self._tasks.find(asked.id).name
        used = await asyncio.to_thread(self._machine.call, operations.GET_STATS, None, name=name)
        found = m.Metrics(
            pids=m.PidsStat(current=used.processes, limit=used.processes_limit or 0),
            cpu=m.CPUStat(usage_usec=used.cpu_ns // 1000, throttled_usec=used.throttled_ns // 1000),
            memory=m.MemoryStat(usage=used.memory_bytes, usage_limit=used.memory_limit_bytes or 0),
        )
        return m.StatsResponse(stats=m.Any(type_url="io.containerd.cgroups.v2.Metrics", value=protobuf.encode(found)))

    async def connect(self, asked: m.IdRequest) -> m.ConnectResponse:
        self._tasks.find(asked.id)
        return m.ConnectResponse(shim_pid=self._tasks.pid, task_pid=self._tasks.pid, version=VERSION)

    async def shutdown(self, asked: m.ShutdownRequest) -> Empty:
        """Nothing while there are tasks, or are to be: others of the group, which containerd shuts down one by one."""
        if asked.now or not len(self._tasks):
            self.ended.set()
        return Empty()
