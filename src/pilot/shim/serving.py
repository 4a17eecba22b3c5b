"""The shim of a group: it serves containerd until its last task has been deleted, then its machine ends, and it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket

from ..server import accepting
from .group import Group
from .machine import Machine
from .publishing import Publisher
from .service import Service
from .tasks import Tasks
from .ttrpc import Connection

TOLD_S = 10.0
MOST_CONNECTIONS = 256
THREADS = 64


def run(group: Group, listening: socket.socket, namespace: str) -> None:
    """To the end. Takes the socket; what it holds as a lock goes with it."""
    logging.basicConfig(format="pilot: %(message)s", level=logging.INFO)
    logging.raiseExceptions = False  # nobody reads the log, and it is full
    asyncio.run(_serve(group, listening, namespace))
    Machine(group).stop()  # which one of those threads may have made meanwhile
    group.remove()


async def _serve(group: Group, listening: socket.socket, namespace: str) -> None:
    """Until containerd has deleted the last of its tasks, and says so; then the machine has ended."""
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(THREADS))
    publisher = Publisher(os.environ.get("TTRPC_ADDRESS", ""), namespace)
    machine = Machine(group)
    tasks = Tasks(machine, publisher)
    service = Service(tasks, machine)

    async def serve(connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        await Connection(service.services(), writer).serve(reader)

    accepted = asyncio.create_task(accepting.accept(listening, MOST_CONNECTIONS, serve), name="containerd")
    published = asyncio.create_task(publisher.run(), name="events")
    await service.ended.wait()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(group.socket)  # who comes now waits for our end, and starts another shim
    await tasks.close()
    try:
        async with asyncio.timeout(TOLD_S):
            await publisher.told()
    except TimeoutError:
        logging.error("events: containerd has not heard of all")
    for task in (accepted, published):
        task.cancel()
    await asyncio.gather(accepted, published, return_exceptions=True)
    machine.stop()  # in here: the threads that the loop's end waits for may wait for what the machine does not say
