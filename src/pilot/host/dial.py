"""Reach a port of a machine through its dial socket, blocking or on asyncio. The stream belongs to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

from .. import errors
from ..wire import dial as lines

CONNECT_TIMEOUT_S = 5.0
MAX_ADDRESS_BYTES = 80  # of 107, so that a caller may add a name


def connect(path: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """A stream to `port`; its timeout stays `timeout_s`. `PeerError` when nobody answers or the machine refuses."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        stream.settimeout(timeout_s)
        with short_path(path) as address:
            stream.connect(address)
        stream.sendall(lines.connect_line(port))
        lines.parse_answer(_read_line(stream))
    except OSError as error:
        stream.close()
        raise _unreachable(path, error) from error
    except BaseException:
        stream.close()
        raise
    return stream


async def open_stream(
    path: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same on asyncio."""
    try:
        async with asyncio.timeout(timeout_s):
            with short_path(path) as address:
                reader, writer = await asyncio.open_unix_connection(address)
            try:
                writer.write(lines.connect_line(port))
                lines.parse_answer(await reader.readline())
            except BaseException:
                writer.close()
                raise
    except OSError as error:
        raise _unreachable(path, error) from error
    return reader, writer


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """A name for `path` that fits a socket address (107 bytes), as long as the block lasts."""
    directory, name = os.path.split(path)
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield path
        return
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory_fd}/{name}"
    finally:
        os.close(directory_fd)


def _read_line(stream: socket.socket) -> bytes:
    line = b""
    # Byte by byte: what follows the line is the caller's.
    while not line.endswith(b"\n") and len(line) < lines.MAX_LINE_BYTES:
        byte = stream.recv(1)
        if not byte:
            return b""
        line += byte
    return line


def _unreachable(path: str, error: OSError) -> errors.PeerError:
    return errors.PeerError(f"dial {path}: {error.strerror or type(error).__name__.lower()}")
