"""`pilot ssh --dial PATH --authority FILE --host-key FILE`: one SSH connection on standard input and output.

For a ProxyCommand of ssh(1), and for whatever accepts connections and starts a program for each (systemd, inetd).
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import select
import socket
import sys
import threading
from collections.abc import Sequence

import asyncssh

from . import gate, session
from .log import Log

KEEPALIVE_S, KEEPALIVES = 15, 4
_READ_BYTES = 64 * 1024


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="pilot ssh", description="let operators into a machine by ssh, on standard input and output"
    )
    made.add_argument("--dial", required=True, metavar="PATH", help="the machine's dial socket")
    made.add_argument(
        "--authority", required=True, metavar="FILE", help="public keys of those whose certificates are believed"
    )
    made.add_argument("--host-key", required=True, metavar="FILE", help="the private key that the machine is known by")
    made.add_argument("--log", metavar="FILE", help="is told who was let in by which certificate, and what was asked")
    return made


def main(arguments: list[str]) -> int:
    """0 when the connection has ended, however it did."""
    asked = parser().parse_args(arguments)
    authorities, host_key = gate.read_authorities(asked.authority), gate.read_host_key(asked.host_key)
    with Log(asked.log) as log:
        asyncio.run(_serve(asked.dial, authorities, host_key, log))
    return 0


async def serve_socket(
    connected: socket.socket,
    dial_path: str,
    authorities: Sequence[asyncssh.SSHKey],
    host_key: asyncssh.SSHKeyPair,
    log: Log,
) -> None:
    """One connection, to its end. Takes the socket."""
    connection = await asyncssh.run_server(
        connected,
        server_factory=functools.partial(gate.Gate, authorities, log),
        server_host_keys=[host_key],
        gss_host=None,
        process_factory=functools.partial(session.serve, dial_path=dial_path),
        encoding=None,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        keepalive_interval=KEEPALIVE_S,
        keepalive_count_max=KEEPALIVES,
    )
    await connection.wait_closed()


async def _serve(
    dial_path: str, authorities: Sequence[asyncssh.SSHKey], host_key: asyncssh.SSHKeyPair, log: Log
) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    carrying = asyncio.create_task(_carry(reader, writer), name="standard input and output")
    try:
        await serve_socket(theirs, dial_path, authorities, host_key, log)
    except (OSError, asyncssh.Error, ValueError) as error:
        # ValueError: of a certificate that is for an address, which standard input has none of.
        print(f"pilot ssh: {str(error).lower() or 'the connection ended'}", file=sys.stderr)
    finally:
        await asyncio.gather(carrying, return_exceptions=True)
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Between standard input and output and that socket; until the server has no more to say."""
    loop = asyncio.get_running_loop()
    standard_in = asyncio.StreamReader()
    # Copies: what is given here is closed, and 0 and 1 are still wanted at the end.
    ours = os.fdopen(_waitable(0), "rb", 0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(standard_in), ours)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb", 0))
    standard_out = asyncio.StreamWriter(transport, protocol, None, loop)
    inward = asyncio.create_task(_copy(standard_in, writer), name="standard input")
    try:
        await _copy(reader, standard_out)
    finally:
        inward.cancel()
        await asyncio.gather(inward, return_exceptions=True)


def _waitable(fd: int) -> int:
    """A copy of it, which a loop can wait for; of a file or /dev/null, which none can, a pipe with what it holds."""
    with select.epoll() as poll:
        try:
            poll.register(fd, select.EPOLLIN)
            return os.dup(fd)
        except PermissionError:
            pass
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    threading.Thread(target=_pour, args=(os.dup(fd), write_fd), name="standard input", daemon=True).start()
    return read_fd


def _pour(source_fd: int, target_fd: int) -> None:
    """All of it; both are closed."""
    try:
        while data := os.read(source_fd, _READ_BYTES):
            _write_all(target_fd, data)
    except BrokenPipeError:
        pass  # nobody wants the rest
    finally:
        os.close(source_fd)
        os.close(target_fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_READ_BYTES):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
