"""The output of a process that is executed, and signals to it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal

import pytest
from tests.support import broken_machine

from pilot import errors
from pilot.shim import messages, streams
from pilot.shim.group import Group
from pilot.shim.machine import Machine
from pilot.shim.process import Executed

SENT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MUCH = b"x" * (1 << 20)  # more than a FIFO takes


@pytest.fixture
def fifo(tmp_path: pathlib.Path) -> pathlib.Path:
    os.mkfifo(tmp_path / "stdout")
    return tmp_path / "stdout"


async def _write(process: Executed) -> None:
    async for _ in process.sinks["stdout"].write(MUCH):
        pass


async def _read(fd: int) -> int:
    """How much there is until `_write` has ended, or somebody has closed it."""
    count = 0
    while count < len(MUCH):
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            await asyncio.sleep(0.001)
            continue
        if not data:
            break
        count += len(data)
    return count


async def _after(number: int, fifo: pathlib.Path) -> int:
    """How much of the output a reader gets that does nothing for a while after the signal."""
    reader_fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    machine = Machine(Group("/nowhere"))
    async with broken_machine.answering(SENT) as machine.dial_path:
        process = Executed(messages.ExecProcessRequest(stdout=str(fifo)), machine, "web", [])
        writing = asyncio.create_task(_write(process))
        await process.kill(number, everybody=False)
        await asyncio.wait([writing], timeout=streams.PATIENCE_S * 20)
        try:
            return await _read(reader_fd)
        finally:
            await writing
            await process.close()
            os.close(reader_fd)


def test_only_a_kill_gives_up_what_nobody_reads(fifo: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other signal may mean nothing to it, as the size of its client's window."""
    monkeypatch.setattr(streams, "PATIENCE_S", 0.02)
    assert asyncio.run(_after(signal.SIGWINCH, fifo)) == len(MUCH)
    assert asyncio.run(_after(signal.SIGKILL, fifo)) < len(MUCH)


def test_of_streams_that_cannot_all_be_opened_none_stays_open(fifo: pathlib.Path) -> None:
    before = os.listdir("/proc/self/fd")
    for stdin, stderr in (("", "/nowhere"), ("/nowhere", ""), ("", "binary:///bin/true")):
        asked = messages.ExecProcessRequest(stdin=stdin, stdout=str(fifo), stderr=stderr)
        with pytest.raises((OSError, errors.PilotError)):
            Executed(asked, Machine(Group("/nowhere")), "web", [])
    assert os.listdir("/proc/self/fd") == before
