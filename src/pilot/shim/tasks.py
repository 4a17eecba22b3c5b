"""The tasks of a group: what containerd calls a container that it has made, and the processes in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

from .. import errors
from ..kernel import mounts
from ..machine import lines
from ..spec import mount_options, parse
from ..spec.config import Spec
from ..spec.process import Process as Wished
from ..wire import events, faults, operations
from . import messages, wanted
from .machine import MEMORY_BYTES, Machine
from .messages import Status
from .process import LOST, Executed, First, Process
from .publishing import Publisher

RETRY_S = 0.1
IDLE_S = 1.0  # as long as nothing has been heard of a machine
# Signals that end no process that does nothing about them (signal(7)).
_HARMLESS = frozenset({0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_log = logging.getLogger(__name__)


class Task:
    """A container. `pid` is told for each of its processes: the host knows none of them by the machine's numbers."""

    def __init__(self, asked: messages.CreateTaskRequest, spec: Spec, first: First, *, mounted: bool) -> None:
        self.id = asked.id
        self.bundle = asked.bundle
        self.spec = spec
        self.first = first
        self.executed: dict[str, Executed] = {}
        self.mounted = mounted
        self.paused = False

    @property
    def name(self) -> str:
        return self.first.plan.name

    def process(self, exec_id: str) -> Process:
        """`NotFound`."""
        if not exec_id:
            return self.first
        if exec_id not in self.executed:
            raise errors.NotFound(f"process {exec_id} of {self.id}: there is none")
        return self.executed[exec_id]


class Tasks:
    """Those of one machine. On the running loop."""

    def __init__(self, machine: Machine, publisher: Publisher) -> None:
        self._machine = machine
        self._publisher = publisher
        self._tasks: dict[str, Task] = {}
        self._creating: set[str] = set()
        self._watch: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()
        self._seq = 0  # of the machine's last event that was heard
        self._made = asyncio.Lock()  # the machine is made, or ended, by one at a time
        self.pid = os.getpid()

    def __len__(self) -> int:
        """With those that are being created."""
        return len(self._tasks) + len(self._creating)

    def find(self, id: str) -> Task:
        """`NotFound`."""
        if id not in self._tasks:
            raise errors.NotFound(f"task {id}: there is none")
        return self._tasks[id]

    # ---- a task's life ----------------------------------------------------------------------------------------------

    async def create(self, asked: messages.CreateTaskRequest) -> None:
        """What the container needs is in the machine; it is not started. Nothing is left of one that fails."""
        if asked.id in self._tasks or asked.id in self._creating:
            raise errors.Conflict(f"task {asked.id}: there is one")
        self._creating.add(asked.id)
        try:
            self._tasks[asked.id] = await self._create(asked)
        finally:
            self._creating.remove(asked.id)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watching(), name="events of the machine")
        streams = messages.TaskIO(stdin=asked.stdin, stdout=asked.stdout, stderr=asked.stderr)
        self._publisher.publish(
            messages.TaskCreate(
                container_id=asked.id, bundle=asked.bundle, rootfs=asked.rootfs, io=streams, pid=self.pid
            )
        )

    async def _create(self, asked: messages.CreateTaskRequest) -> Task:
        if asked.terminal:
            raise faults.Unsupported("a container's first process has no terminal", hint="those of exec have one")
        if asked.checkpoint:
            raise faults.Unsupported("a machine's containers start from no checkpoint")
        spec = await asyncio.to_thread(parse.read_spec, asked.bundle)
        rootfs = os.path.join(asked.bundle, spec.root.path if spec.root is not None else "rootfs")
        plan = wanted.plan(asked.id, spec, rootfs)
        check_directories(plan)
        mounted = await asyncio.to_thread(_mount_rootfs, asked.rootfs, rootfs)
        try:
            async with self._made:
                await self._look()
                await asyncio.to_thread(self._machine.start, wanted.memory_bytes(spec, MEMORY_BYTES))
            await asyncio.to_thread(self._machine.give, plan)
            return Task(asked, spec, First(asked, self._machine, plan), mounted=mounted)
        except BaseException:
            await self._undo(plan, mounted=mounted)
            raise

    def execute(self, asked: messages.ExecProcessRequest) -> None:
        """Another process, which is not started."""
        task = self.find(asked.id)
        if asked.exec_id in task.executed:
            raise errors.Conflict(f"process {asked.exec_id} of {asked.id}: there is one")
        if task.first.status is not Status.RUNNING:
            raise errors.StateError(f"exec in {asked.id}: it does not run")
        process = parse.parse_process(asked.spec.value if asked.spec is not None else b"")
        words = _words(process, task.first.plan.spec.user)
        task.executed[asked.exec_id] = Executed(asked, self._machine, task.name, words)
        self._publisher.publish(messages.TaskExecAdded(container_id=task.id, exec_id=asked.exec_id))

    async def start(self, id: str, exec_id: str) -> None:
        """It runs. Its start is told before its end."""
        task = self.find(id)
        process = task.process(exec_id)
        async with process.changing:
            if process.status is not Status.CREATED:
                raise errors.StateError(f"start {exec_id or id}: it was started before")
            try:
                await process.start()
            except errors.PilotError:
                await process.close()
                process.set_ended(LOST)
                raise
            self._tell_start(task, exec_id, process)

    def _tell_start(self, task: Task, exec_id: str, process: Process) -> None:
        self._publisher.publish(
            messages.TaskExecStarted(container_id=task.id, exec_id=exec_id, pid=self.pid)
            if exec_id
            else messages.TaskStart(container_id=task.id, pid=self.pid)
        )
        self._tell_end(task, exec_id, process)

    async def kill(self, asked: messages.KillRequest) -> None:
        """Send a signal. One that was never started has ended by it."""
        task = self.find(asked.id)
        process = task.process(asked.exec_id)
        async with process.changing:
            if process.status is Status.STOPPED:
                raise errors.NotFound(f"kill {asked.exec_id or asked.id}: process already finished")
            if process.status is Status.RUNNING:
                await self._signal(task, process, asked)
            elif asked.signal not in _HARMLESS:
                process.set_ended(128 + asked.signal)
                self._tell_end(task, asked.exec_id, process)

    async def delete(self, id: str, exec_id: str) -> messages.DeleteResponse:
        """Nothing is left of one that has ended."""
        task = self.find(id)
        process = task.process(exec_id)
        async with process.changing:
            if self.find(id).process(exec_id) is not process:
                raise errors.NotFound(f"delete {exec_id or id}: it has just been deleted")
            if process.status is Status.RUNNING:
                raise errors.StateError(f"delete {exec_id or id}: it runs")
            process.set_ended(0)  # one that was never started
            await process.close()
            if exec_id:
                del task.executed[exec_id]
            else:
                await self._forget(task)
        told = messages.DeleteResponse(pid=self.pid, exit_status=process.exit_status, exited_at=process.exited_at)
        self._publisher.publish(
            messages.TaskDelete(
                container_id=id, id=exec_id, pid=self.pid, exit_status=told.exit_status, exited_at=told.exited_at
            )
        )
        return told

    async def update(self, asked: messages.UpdateTaskRequest) -> None:
        """Other limits: those that are said, beside those that were."""
        task = self.find(asked.id)
        resources = parse.parse_resources(asked.resources.value if asked.resources is not None else b"{}")
        wanted.check_given(resources)
        plan = wanted.with_limits(task.first.plan, wanted.limits(resources, "$"))
        if task.first.status is Status.RUNNING:
            await asyncio.to_thread(self._machine.call, operations.PUT_CONTAINER, plan.spec, name=task.name)
        task.first.plan = plan

    async def pause(self, id: str, *, paused: bool) -> None:
        """Its processes stand still, or go on."""
        task = self.find(id)
        operation = operations.PAUSE_CONTAINER if paused else operations.RESUME_CONTAINER
        await asyncio.to_thread(self._machine.call, operation, None, name=task.name)
        task.paused = paused
        event = messages.TaskPaused if paused else messages.TaskResumed
        self._publisher.publish(event(container_id=id))

    async def close(self) -> None:
        """Nothing is watched any more."""
        for watch in (self._watch, *self._ends):
            if watch is not None:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

    # ---- ends -------------------------------------------------------------------------------------------------------

    def _tell_end(self, task: Task, exec_id: str, process: Process) -> None:
        async def tell() -> None:
            await process.ended.wait()
            self._publisher.publish(
                messages.TaskExit(
                    container_id=task.id,
                    id=exec_id or task.id,
                    pid=self.pid,
                    exit_status=process.exit_status,
                    exited_at=process.exited_at,
                )
            )

        end = asyncio.create_task(tell(), name=f"end of {exec_id or task.id}")
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)

    async def _watching(self) -> None:
        """What has ended, over deaths of the agent. What goes wrong again and again is told once."""
        told = ""
        while True:
            heard = self._seq
            try:
                await self._follow()
            except (errors.PilotError, OSError) as error:
                if self._seq != heard or str(error) != told:
                    _log.info("events: %s", error)
                told = str(error)
            await asyncio.sleep(RETRY_S if self._seq else IDLE_S)

    async def _follow(self) -> None:
        """To the end of the connection. A machine that is no more has ended all."""
        try:
            query = [("follow", "true"), ("since", str(self._seq))]
            async for event in lines.follow(self._machine.dial_path, operations.WATCH_EVENTS, query=query):
                self._seq = event.seq
                self._hear(event)
        except errors.PilotError:
            async with self._made:
                await self._look()
            raise

    async def _look(self) -> None:
        """A machine that has ended: the next one counts its events from the first again."""
        if not await asyncio.to_thread(self._machine.runs):
            if self._seq:
                _log.error("the machine has ended")
            self._seq = 0
            for task in self._tasks.values():
                task.first.set_over(LOST, None)

    def _hear(self, event: events.Event) -> None:
        if event.type != "container.ended":
            return
        for task in self._tasks.values():
            if task.name == event.container:
                task.first.set_over(LOST if event.exit_code is None else event.exit_code, event.exit)

    async def _undo(self, plan: wanted.Wanted, *, mounted: bool) -> None:
        """Of a container that could not be made; why is told by whoever calls."""
        try:
            await asyncio.to_thread(self._machine.take_out, plan)
        except errors.PilotError as error:
            _log.error("%s: what there is of it in the machine: %s", plan.name, error)
        if mounted:
            mounts.umount(plan.root.source, mounts.Unmount.DETACH)

    async def _signal(self, task: Task, process: Process, asked: messages.KillRequest) -> None:
        """A machine that does not answer ends with its last task's SIGKILL, which would be the end of all in it."""
        try:
            await process.kill(asked.signal, everybody=asked.all)
        except errors.PeerError as error:
            if asked.signal != signal.SIGKILL or process is not task.first or len(self) > 1:
                raise
            await self._end_machine(f"kill {task.id}: {error}")
            task.first.set_over(128 + signal.SIGKILL, None)

    async def _end_machine(self, why: str) -> None:
        _log.error("%s: the machine is ended", why)
        async with self._made:
            await asyncio.to_thread(self._machine.kill)

    async def _forget(self, task: Task) -> None:
        try:
            await self._take_out(task)
        except errors.PilotError as error:
            if len(self) > 1:
                raise
            await self._end_machine(f"delete {task.id}: {error}")
        for each in task.executed.values():  # those that were never deleted
            each.set_ended(LOST)
            await each.close()
        if task.mounted:
            with contextlib.suppress(OSError):  # somebody else has unmounted it
                mounts.umount(task.first.plan.root.source, mounts.Unmount.DETACH)
        del self._tasks[task.id]

    async def _take_out(self, task: Task) -> None:
        if await asyncio.to_thread(self._machine.runs):
            await asyncio.to_thread(self._machine.remove, task.first.plan)
            if task.first.seq is not None:
                seq = str(task.first.seq)
                await asyncio.to_thread(self._machine.call, operations.ACKNOWLEDGE_EXIT, None, name=task.name, seq=seq)


def _words(process: Wished, user: str | None) -> list[tuple[str, str]]:
    """What the contract is asked for of a process of config.json."""
    if wanted.user(process) != user:
        raise faults.Unsupported(f"exec as {wanted.user(process)}: only the container's own user {user} is possible")
    found = [("cmd", word) for word in process.args]
    found += [("env", each) for each in process.env]
    return [*found, ("dir", process.cwd or "/")]


def check_directories(plan: wanted.Wanted) -> None:
    for bind in plan.binds:
        if not os.path.isdir(bind.source):
            raise errors.SpecError("$.mounts", f"{bind.source} at {bind.path}: only directories can be mounted")
        if bind.recursive:
            _check_nothing_below(bind)


def _check_nothing_below(bind: wanted.Bind) -> None:
    source = os.path.realpath(bind.source)
    for entry in mounts.mounts_below(mounts.read_mountinfo(), source):
        if entry.mount_point != source:
            problem = f"{bind.source} at {bind.path}: {entry.mount_point} is mounted below it"
            raise errors.SpecError("$.mounts", problem, hint="bind it alone, without `rbind`")


def _mount_rootfs(asked: tuple[messages.Mount, ...], rootfs: str) -> bool:
    """What the snapshotter says; whether there was anything."""
    with contextlib.ExitStack() as made:  # all of them, or none
        for each in asked:
            options = mount_options.parse_options(each.options)
            flags = mounts.Flag(int(options.set_flags))
            mounts.mount(each.source, rootfs, each.type, flags, ",".join(options.data) or None)
            made.callback(mounts.umount, rootfs, mounts.Unmount.DETACH)
            if flags & mounts.Flag.RDONLY:
                mounts.set_attributes(rootfs, add=mounts.Attribute.RDONLY)  # a bind mount does not take it at once
        made.pop_all()
    return bool(asked)
