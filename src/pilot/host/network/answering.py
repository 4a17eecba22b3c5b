"""The process of a daemon of networks: it knows each machine by a file, and brings that into force when asked.

files of machines ─► load ─► socket ─► questions (`control`) ─► SIGTERM
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from typing import Protocol

import msgspec

from ... import errors
from ...ids import MachineId
from ...kernel import fds
from . import control

_QUESTION_BYTES = 4096


class Served(Protocol):
    """What a daemon does for machines."""

    async def load(self) -> None:
        """All of them, as their files say."""

    async def sync(self, machine: MachineId) -> None:
        """One of them: in force when this returns. `PilotError` or `OSError`."""

    def counts(self, machine: MachineId) -> dict[str, int]:
        """How often was decided what. `NotFound`."""
        ...

    def close(self) -> None:
        """Nothing is served any more."""


def raise_limits() -> None:
    """As many descriptors as the host lets us have: each machine takes some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(directory: str, who: str, served: Served) -> None:
    """Until SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await served.load()
    # Who finds the socket may count on what was there already.
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = control.socket_path(directory, who)
    with fds.short_path(os.path.dirname(path)) as short:
        temporary = os.path.join(short, f".{who}.{os.getpid()}")
        server = await asyncio.start_unix_server(lambda r, w: _answer(r, w, served), temporary, limit=_QUESTION_BYTES)
        os.rename(temporary, os.path.join(short, os.path.basename(path)))
    await stopping.wait()
    server.close()
    served.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, served: Served) -> None:
    try:
        question = msgspec.json.decode(await reader.readline(), type=control.Question)
        answer = control.Answer(msgspec.Raw(msgspec.json.encode(await _carry_out(question, served))))
    except (errors.PilotError, OSError, ValueError) as error:
        answer = control.Answer(error=str(error))
    writer.write(msgspec.json.encode(answer) + b"\n")
    try:
        await writer.drain()
    except OSError:
        pass  # who asked has gone
    writer.close()


async def _carry_out(question: control.Question, served: Served) -> object:
    machine = MachineId(question.machine)
    if question.op == "sync":
        await served.sync(machine)
        return None
    if question.op == "status":
        return served.counts(machine)
    if question.op == "settings":
        return sys.argv[1:]
    raise errors.StateError(f"there is no {question.op!r}")
