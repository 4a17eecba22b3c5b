"""Asking a check: whether it passes, and else why not, in words for who has written it.

http and tcp are asked of 127.0.0.1 (then ::1) in the network of what is checked: the world's, or the one that all other
containers of a machine share; exec is a process in the container. Each ends by its `timeout_s`, whatever it meets.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import shlex
import signal
from collections.abc import Sequence

import h11
import msgspec

from ... import errors
from ...runtime.values import Stdio
from ...spec.process import Process
from ...wire.graph import Check, HttpProbe
from .. import tcp_ports
from ..machine import Exits, Inner
from ..readiness import readable
from ..session import Known, exit_status

_HEAD_BYTES = 16 << 10
_SAID_BYTES = 200


class Failed(errors.PilotError):
    """The check does not pass."""


@dataclasses.dataclass(frozen=True)
class Inside:
    """Where an exec check is run, and as what: a process as the container's own, but for its command."""

    container: Inner
    process: Process


async def ask(check: Check, inside: Inside | None, exits: Exits, network: int) -> str | None:
    """None when it passes, else why not. `inside` is for exec alone; `network`: a process of the one that is asked."""
    try:
        async with asyncio.timeout(check.timeout_s):
            if check.http is not None:
                await _http(network, check.http)
            elif check.tcp is not None:
                (await _connect(network, check.tcp.port))[1].close()
            elif check.exec is not None and inside is not None:
                await _execute(check.exec.command, inside, exits)
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except (errors.PilotError, OSError) as error:
        return str(error)
    return None


async def _connect(network: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        made = await tcp_ports.connect_any([network], tcp_ports.loopback(port), tcp_ports.CONNECT_S)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise Failed(f"connect to port {port}: {reason}") from error
    return await asyncio.open_connection(sock=made)


async def _http(network: int, probe: HttpProbe) -> None:
    reader, writer = await _connect(network, probe.port)
    try:
        status = await _status(reader, writer, probe)
    except (h11.ProtocolError, ConnectionError) as error:
        raise Failed(f"{probe.method} {probe.path} of port {probe.port}: {error}") from error
    finally:
        writer.close()
    if not 200 <= status < 400:
        raise Failed(f"{probe.method} {probe.path} of port {probe.port}: status {status}")


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, probe: HttpProbe) -> int:
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    named = {"Host": f"localhost:{probe.port}", "User-Agent": "pilot", **probe.headers, "Connection": "close"}
    request = h11.Request(method=probe.method, target=probe.path, headers=list(named.items()))
    writer.write((protocol.send(request) or b"") + (protocol.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    while True:
        event = protocol.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is h11.NEED_DATA:
            data = await reader.read(4096)
            if not data:
                raise ConnectionResetError("closed without an answer")
            protocol.receive_data(data)


async def _execute(command: Sequence[str], inside: Inside, exits: Exits) -> None:
    process = msgspec.structs.replace(inside.process, args=tuple(command))
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.set_blocking(write_fd, True)
        try:
            spawned = await asyncio.to_thread(inside.container.exec, process, Stdio(None, write_fd, write_fd))
        except errors.StepError as error:
            raise Failed(_why_not_started(command, error)) from error
        finally:
            os.close(write_fd)
        tail = _Tail(read_fd)
        try:
            code = await _end_of(Known(spawned.pid, spawned.start_time, spawned.pid_fd), exits)
        finally:
            said = tail.close()
        if code:
            raise Failed(f"{shlex.join(command)} ended with code {code}{f': {said}' if said else ''}")
    finally:
        os.close(read_fd)


async def _end_of(known: Known, exits: Exits) -> int:
    """Its exit code; whoever is cancelled ends it first."""
    try:
        await readable(known.pid_fd)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(known.pid_fd, signal.SIGKILL)
        await asyncio.shield(asyncio.to_thread(_reap, known, exits))
        raise
    return await asyncio.shield(asyncio.to_thread(_reap, known, exits))


def _reap(known: Known, exits: Exits) -> int:
    """Its exit code is told once, and nobody else asks for it. Takes the pidfd."""
    try:
        code = exit_status(exits, known).exit_code()
        exits.acknowledge(known)
        return code
    finally:
        os.close(known.pid_fd)


def _why_not_started(command: Sequence[str], error: errors.StepError) -> str:
    """One argument that is a whole command line is what people write most often."""
    program = command[0]
    if error.errno == errno.ENOENT and len(command) == 1 and len(words := program.split()) > 1:
        meant = '["sh", "-c", ' + msgspec.json.encode(program).decode() + "]"
        return f"there is no program {program!r}; did you mean {msgspec.json.encode(words).decode()}, or {meant}?"
    if error.errno == errno.ENOENT:
        return f"there is no program {program!r} in the container"
    return str(error)


class _Tail:
    """Reads what a check says, so that it never waits for us, and remembers the end of it. Borrows the descriptor."""

    def __init__(self, read_fd: int) -> None:
        self._fd = read_fd
        self._said = b""
        asyncio.get_running_loop().add_reader(read_fd, self._read)

    def close(self) -> str:
        """All of it."""
        asyncio.get_running_loop().remove_reader(self._fd)
        while self._take():
            pass
        return self._said.decode(errors="replace").strip()

    def _read(self) -> None:
        if not self._take():
            asyncio.get_running_loop().remove_reader(self._fd)

    def _take(self) -> bytes:
        """The next piece; empty when there is none now, or ever."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return b""
        self._said = (self._said + data)[-_SAID_BYTES:]
        return data
