"""The agent's process: started by init, again and again if need be, and never the only holder of anything.

link to init ► Application ► restore ► listen on `dial` or the virtio port ► until SHUTDOWN or SIGTERM
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import socket
import sys
import uuid
from concurrent import futures

from .. import errors, runtime
from ..kernel import cgroups, hierarchies, initlink, waiter
from . import listener, machine, upgrade, world_limits, world_spec
from .application import Application

THREADS = 64


class Ending(enum.Enum):
    """What comes after this agent."""

    HALT = enum.auto()
    REBOOT = enum.auto()
    LEAVE = enum.auto()  # another one


_log = logging.getLogger(__name__)


def run(paths: machine.Paths | None = None) -> int:
    """Serve until told to stop; the exit status. `paths` are other than the usual in tests."""
    paths = paths or machine.Paths()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="agent: %(levelname)s: %(message)s")
    link = initlink.InitLink.from_environment()
    records = waiter.InitRecords(link)
    with open("/proc/self/uid_map") as uid_map:
        isolation = machine.probe_isolation(uid_map.read())
    _step_aside()
    here = machine.Machine(
        link=link,
        runtime=runtime.Runtime(os.path.join(paths.run, "pilot"), waiter=records),
        exits=records,
        isolation=isolation,
        boot_id=str(uuid.uuid4()),
        paths=paths,
        memory_bytes=world_limits.probe_size().memory_bytes,
    )
    asyncio.run(_serve_and_leave(here))
    return 0


async def _serve_and_leave(here: machine.Machine) -> None:
    if await serve(here) is Ending.LEAVE:
        # Threads that wait for a disk that hangs must not hold up the next agent.
        os._exit(0)


async def serve(here: machine.Machine) -> Ending:
    """Until SIGTERM or a shutdown by the API, when init ends the machine; or until another agent is to take over."""
    stopping: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def stop(ending: Ending) -> None:
        if not stopping.done():
            stopping.set_result(ending)

    # More than asyncio's default: calls on a disk that hangs must not take the threads that end sessions.
    asyncio.get_running_loop().set_default_executor(futures.ThreadPoolExecutor(THREADS, thread_name_prefix="agent"))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPWR):
        asyncio.get_running_loop().add_signal_handler(number, stop, Ending.HALT)
    application = Application(here)
    application.machine_api.on_shutdown = lambda reboot: stop(Ending.REBOOT if reboot else Ending.HALT)
    application.legacy.on_end = lambda: stop(Ending.HALT)
    application.upgrade.on_upgrade = lambda: stop(Ending.LEAVE)
    application.restore()
    _bring_up_loopback()
    application.machine_api.is_prepared = False
    serving = _listen(here, application)
    upgrade.came_up(here.paths.run)
    preparing = asyncio.create_task(_prepare(here, application), name="prepare")
    try:
        ending = await stopping
        if ending is Ending.LEAVE:
            _log.info("another agent takes over")
            return ending
        application.machine_api.state = "draining"
        _log.info("stopping")
        await application.graph.drain()
        await application.world.stop()
        await application.legacy.clean()
        here.link.shutdown(reboot=ending is Ending.REBOOT)
        return ending
    finally:
        serving.cancel()
        await asyncio.gather(serving, preparing, return_exceptions=True)
        await application.close()


async def _prepare(here: machine.Machine, application: Application) -> None:
    """A machine that waits in a pool, or to be a template, does now what its first world would wait for."""
    try:
        await asyncio.to_thread(here.runtime.prepare, world_spec.seccomp(os.uname().machine))
    except errors.PilotError as error:
        # Who asks for a world will be told.
        _log.warning("prepare: %s", error)
    application.machine_api.is_prepared = True


def _listen(here: machine.Machine, application: Application) -> asyncio.Task[None]:
    if "dial" in here.link.inherited:
        listening = socket.socket(fileno=here.link.take("dial"))
        return asyncio.create_task(application.listener.serve_socket(listening), name="listen")
    return asyncio.create_task(_serve_port(application), name="listen")


async def _serve_port(application: Application) -> None:
    """The virtio port, once it is there: its driver may still be probing."""
    while (path := listener.find_port()) is None:  # noqa: ASYNC110 - sysfs tells nobody when a name appears
        await asyncio.sleep(0.02)
    port = application.listener.serve_port(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    application.outward.use(port.open)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        port.close()


def _step_aside() -> None:
    """Into a cgroup of init's and our own, once: in v2 the world's could have no limits beside us (joints, 9)."""
    try:
        cgroups.vacate(hierarchies.probe_hierarchies())
    except (errors.HostError, OSError) as error:
        # Nothing was delegated to this machine; a world that wants limits says what is missing.
        _log.warning("step aside in the cgroup tree: %s", error)


def _bring_up_loopback() -> None:
    """A new network namespace has `lo`, but down; whoever set the machine up may have done it already."""
    import fcntl
    import struct

    siocgifflags, siocsifflags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        request = struct.pack("16sH22x", b"lo", 0)
        try:
            flags = struct.unpack("16sH22x", fcntl.ioctl(probe, siocgifflags, request))[1]
            if not flags & up:
                fcntl.ioctl(probe, siocsifflags, struct.pack("16sH22x", b"lo", flags | up))
        except OSError as error:
            _log.warning("bring up lo: %s", error.strerror)
