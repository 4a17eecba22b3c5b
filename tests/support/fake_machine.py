"""A machine without init and without containers: a store in memory, and a runtime that runs local processes.

`FakeLink` outlives an Application as init's store outlives the agent; `FakeRuntime` gives what `pilot.runtime` gives,
so that sessions, frames and files can be tested over a real socket, with real processes.
"""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import AsyncIterator, Callable
from typing import Literal

from pilot import errors
from pilot.agent import application, machine
from pilot.kernel import cgroup_stats, waiter
from pilot.runtime.values import Spawned, Stdio, Terminal
from pilot.server import stream
from pilot.spec.process import Process
from pilot.spec.resources import Resources
from pilot.spec.seccomp import Seccomp
from pilot.wire import dial

# A process that sees only the directory it is given, and waits.
_ROOTED = "import os,sys,signal; os.chroot(sys.argv[1]); os.chdir('/'); os.close(1); signal.pause()"


# A child between fork and exec holds copies of its siblings' pipes.
_forking = threading.Lock()


class FakeLink:
    """init's descriptor store, in this process."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {}
        self.inherited: dict[str, int] = {}
        self.shut_down: bool | None = None

    def put(self, name: str, fd: int) -> None:
        self.drop(name)
        self.stored[name] = os.dup(fd)

    def drop(self, name: str) -> None:
        if (fd := self.stored.pop(name, None)) is not None:
            os.close(fd)

    def take(self, name: str) -> int:
        try:
            return self.inherited.pop(name)
        except KeyError:
            raise errors.NotFound(f"take descriptor {name}") from None

    def shutdown(self, *, reboot: bool = False) -> None:
        self.shut_down = reboot

    def successor(self) -> FakeLink:
        """What the next agent gets; this one's descriptors are the dead agent's now."""
        next_link = FakeLink()
        next_link.stored = self.stored
        next_link.inherited = {name: os.dup(fd) for name, fd in self.stored.items()}
        self.stored = {}
        return next_link

    def close(self) -> None:
        for fd in [*self.stored.values(), *self.inherited.values()]:
            os.close(fd)


class FakeContainer:
    """A first process chrooted into `rootfs`; exec runs on the host."""

    def __init__(self, rootfs: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", _ROOTED, rootfs], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        with self._process.stdout as ready:
            ready.read()
        self.pid = self._process.pid
        self.deleted = False
        self.paused = False

    def other_namespaces(self) -> int:
        return 0

    def cgroup_descriptors(self) -> list[int]:
        return []

    def start(self) -> None:
        pass

    def status(self) -> str:
        return "stopped" if self.deleted else "paused" if self.paused else "running"

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stats(self) -> cgroup_stats.Stats:
        return cgroup_stats.Stats()

    def update(self, resources: Resources) -> None:
        self.resources = resources

    def processes(self) -> list[int]:
        return [self.pid]

    def kill(self, signal: int, all: bool = False) -> None:
        os.kill(self.pid, signal)

    def delete(self, force: bool = False) -> None:
        if not self.deleted:
            self._process.kill()
            self._process.wait()
        self.deleted = True

    def exec(
        self,
        process: Process,
        stdio: Stdio,
        *,
        terminal: Terminal | None = None,
        before_start: Callable[[Spawned], None] | None = None,
        executable: str | None = None,
    ) -> Spawned:
        with _forking:
            return _execute(process, executable or process.args[0], stdio, terminal, before_start)


def _execute(
    process: Process,
    executable: str,
    stdio: Stdio,
    terminal: Terminal | None,
    before_start: Callable[[Spawned], None] | None,
) -> Spawned:
    master_fd, fds = None, (stdio.stdin, stdio.stdout, stdio.stderr)
    if terminal is not None:
        master_fd, slave_fd = pty.openpty()
        os.set_inheritable(master_fd, False)
        termios.tcsetwinsize(slave_fd, (terminal.rows, terminal.cols))
        fds = (slave_fd, slave_fd, slave_fd)
    wait_read, wait_write = os.pipe()
    error_read, error_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(process, executable, fds, terminal is not None, (wait_read, wait_write), error_write)
    for fd in {wait_read, error_write} | ({fds[0]} if terminal is not None else set()):
        os.close(fd)  # type: ignore[arg-type]
    spawned = Spawned(pid, _start_time(pid), os.pidfd_open(pid), master_fd)
    if before_start is not None:
        before_start(spawned)
    os.close(wait_write)
    with os.fdopen(error_read, "rb") as file:
        problem = file.read()
    if problem:
        os.waitpid(pid, 0)
        spawned.close()
        raise errors.StepError(0, 1, f"execute {executable}", 2, problem.decode())
    return spawned


def _become(
    process: Process,
    executable: str,
    fds: tuple[int | None, ...],
    tty: bool,
    wait: tuple[int, int],
    error_fd: int,
) -> None:
    """In the child: wait for the barrier, then exec."""
    try:
        os.close(wait[1])
        os.read(wait[0], 1)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for number, fd in enumerate(fds):
            os.dup2(null if fd is None else fd, number)
        if tty:
            import fcntl

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(process.cwd if os.path.isdir(process.cwd) else "/")
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvpe(executable, list(process.args), dict(item.split("=", 1) for item in process.env))
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        os.write(error_fd, str(error).encode())
        os._exit(127)


def _start_time(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])


class FakeCreated:
    def __init__(self, container: FakeContainer) -> None:
        self.container = container
        self.process = Spawned(container.pid, _start_time(container.pid), os.pidfd_open(container.pid))


class FakeRuntime:
    """Runs local processes; `bundle` is not looked at."""

    def __init__(self, rootfs: str) -> None:
        self._rootfs = rootfs
        self.container: FakeContainer | None = None

    def create(self, id: str, bundle: str, *, stdio: Stdio) -> FakeCreated:
        self.container = FakeContainer(self._rootfs)
        return FakeCreated(self.container)

    def prepare(self, seccomp: Seccomp | None = None) -> None:
        """There is nothing to load."""

    def exec_here(
        self,
        process: Process,
        stdio: Stdio,
        *,
        terminal: Terminal | None = None,
        before_start: Callable[[Spawned], None] | None = None,
        executable: str | None = None,
    ) -> Spawned:
        with _forking:
            return _execute(process, executable or process.args[0], stdio, terminal, before_start)

    def load(self, id: str) -> FakeContainer:
        if self.container is None or self.container.deleted:
            raise errors.NotFound("container does not exist")
        return self.container


class OwnExits:
    """Statuses of our own children, each told once."""

    def status(self, process: waiter.Process, timeout_s: float | None) -> waiter.ExitStatus:
        return waiter.OwnChildren().wait(process, timeout_s)

    def acknowledge(self, process: waiter.Process) -> None:
        pass


class FakeMachine:
    """Directories, a store and a runtime; `agent()` runs an Application on them, several one after the other."""

    def __init__(self, directory: str, isolation: Literal["container", "vm"] = "container") -> None:
        self.directory = directory
        self.memory_bytes: int | None = None
        self.isolation = isolation
        self.link = FakeLink()
        self.paths = machine.Paths(run=directory, init="/bin/true")
        self.runtime = FakeRuntime(self.paths.rootfs)
        self.dial_path = os.path.join(tempfile.mkdtemp(prefix="pilot-dial-"), "dial.sock")
        os.makedirs(os.path.join(self.paths.rootfs, "home/sprite"))
        self._dialled: list[stream.SocketStream] = []

    def run_world(self) -> None:
        """As if PUT /v1/world had been: without a disk."""
        for name in ("etc", "tmp", "root"):
            os.makedirs(os.path.join(self.paths.rootfs, name), exist_ok=True)
        with open(os.path.join(self.paths.rootfs, "etc/passwd"), "w") as passwd:
            passwd.write("root:x:0:0::/root:/bin/sh\n")
        self.runtime.create("world", "", stdio=Stdio()).process.close()

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[application.Application]:
        """An agent that listens at `dial_path`."""
        import asyncio

        here = machine.Machine(
            link=self.link,
            runtime=self.runtime,
            exits=OwnExits(),
            isolation=self.isolation,
            boot_id="boot",
            paths=self.paths,
            memory_bytes=self.memory_bytes,
        )
        app = application.Application(here)
        app.restore()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.dial_path)
            listening.listen(64)
            serving = asyncio.create_task(app.listener.serve_socket(listening))
            try:
                yield app
            finally:
                os.unlink(self.dial_path)
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                await app.listener.close()
                await app.close()
                for dialled in self._dialled:
                    await dialled.close()

    async def dial(self, port: int = dial.PORT_API) -> stream.SocketStream:
        """A connection that ends with the agent, whatever the test does with it."""
        dialled = await stream.dial_unix(self.dial_path, port, timeout_s=10)
        self._dialled.append(dialled)
        return dialled

    def die(self) -> None:
        """kill -9 of the agent, as far as its descriptors are concerned."""
        self.link = self.link.successor()

    def close(self) -> None:
        if self.runtime.container is not None:
            self.runtime.container.delete(force=True)
        self.link.close()
        os.rmdir(os.path.dirname(self.dial_path))
