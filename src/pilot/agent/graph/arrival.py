"""Whether a start that a former agent had begun has come about."""

from __future__ import annotations

import asyncio
import os
import time

from ...wire.graph import Container
from ..machine import status_of
from ..session import open_process
from .instance import Instances
from .state import Process

# Long enough for the kernel to let go of a process that waits for an agent that has died.
_EXECUTED_S = 2.0


async def came_up(instances: Instances, name: str, made: Container | None, process: Process) -> bool:
    """Whether it executes what it was made for, or has: one within another that does not ends, since nobody holds its
    barrier. One with a root of its own waits at its barrier until it is started, whoever dies, and says so (`created`);
    so it was started when it has ended, and how it ended is what is to be told.
    """
    if made is None or made.within is None:
        container = await asyncio.to_thread(instances.find, name)
        return container is not None and status_of(container) != "created"
    deadline = time.monotonic() + _EXECUTED_S
    while (pid_fd := open_process(process.pid, process.start_time)) >= 0:
        os.close(pid_fd)
        if _executes_another(process.pid) or time.monotonic() > deadline:
            return True
        await asyncio.sleep(0.01)
    return False


def _executes_another(pid: int) -> bool:
    """Whether its program is another one than ours, which it had when it was cloned."""
    try:
        return not os.path.samestat(os.stat(f"/proc/{pid}/exe"), os.stat("/proc/self/exe"))
    except OSError:
        return False  # it has just ended
