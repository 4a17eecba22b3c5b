"""One connection as a stream of bytes, whatever carries it: a socket, or a stream of the mux.

`drain` waits while the peer is slow (back-pressure), and what was written may be changed when it returns; `abort` never
waits. Whoever holds a Stream ends it, by `close`.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from .. import errors
from ..wire import dial

READ_BYTES = 64 * 1024


class Stream(Protocol):
    """What the server needs of a connection."""

    async def read(self) -> bytes:
        """Some bytes, or `b""` when the peer sends nothing more (or is gone)."""

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes, which stay as they are until `drain` returns."""

    async def drain(self) -> None:
        """Wait until the queue is short; `PeerError` when the peer is gone."""

    def write_eof(self) -> None:
        """Say that nothing more comes; reading goes on."""

    def abort(self) -> None:
        """Drop the connection at once."""

    async def close(self) -> None:
        """Send what is queued, then close. Never raises, never waits longer than a moment for a slow peer."""


class SocketStream:
    """A connected stream socket, which it owns."""

    CLOSE_TIMEOUT_S = 5.0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, first: bytes = b"") -> None:
        self._reader = reader
        self._writer = writer
        # So that `drain` returns when the kernel has all.
        writer.transport.set_write_buffer_limits(high=0)
        self._first = first

    @classmethod
    async def of_socket(cls, connection: socket.socket, *, first: bytes = b"") -> SocketStream:
        """Take over a connected, non-blocking socket; `first` was read from it already."""
        reader, writer = await asyncio.open_connection(sock=connection)
        return cls(reader, writer, first=first)

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:
            # Reset by the peer: for a reader that is an end like any other.
            return b""

    def write(self, data: bytes | memoryview) -> None:
        self._writer.write(data)

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise errors.PeerError(f"write to connection: {error.strerror or 'the peer has gone'}") from error

    def write_eof(self) -> None:
        try:
            self._writer.write_eof()
        except OSError:
            # Not connected any more: the peer cannot be told, and need not.
            pass

    def abort(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(self.CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            # The peer went first, or does not read: what was queued has no reader.
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise


async def dial_unix(path: str, port: int, *, timeout_s: float) -> SocketStream:
    """A stream to `port` of the machine whose dial socket is at `path`; `PeerError` when it cannot be reached."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(path, limit=2 * READ_BYTES)
            try:
                writer.write(dial.connect_line(port))
                dial.parse_answer(await reader.readline())
            except BaseException:
                writer.transport.abort()
                raise
    except TimeoutError as error:
        raise errors.PeerError(f"dial {path}: no answer within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise errors.PeerError(f"dial {path}: {error}") from error
    return SocketStream(reader, writer)


async def relay(one: Stream, other: Stream) -> None:
    """Copy bytes both ways until both directions have ended, or one side is gone. Closes neither."""
    copies = [asyncio.create_task(_copy(one, other)), asyncio.create_task(_copy(other, one))]
    try:
        await asyncio.gather(*copies)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(source: Stream, target: Stream) -> None:
    while data := await source.read():
        target.write(data)
        await target.drain()
    target.write_eof()
