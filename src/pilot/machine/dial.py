"""Reach a port of a machine through its dial socket, blocking or on asyncio. The stream belongs to the caller."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

from .. import errors
from ..kernel import fds
from ..wire import dial as lines

CONNECT_TIMEOUT_S = 5.0
READ_BYTES = 65536
BACKLOG_PAUSE_S = 0.05


class Busy(errors.PeerError):
    """The machine is there, and does not take or answer the connection now: for all that is known, it is busy."""


def connect(path: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """A stream to `port`, within `timeout_s`, which stays its timeout. `PeerError`: no answer, or a refusal."""
    end_s = time.monotonic() + timeout_s
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        stream.settimeout(timeout_s)
        with fds.short_path(path) as address:
            _connect(stream, address, timeout_s)
        stream.sendall(lines.connect_line(port))
        _parse(_read_line(stream, end_s))
        stream.settimeout(timeout_s)
    except OSError as error:
        stream.close()
        raise _unreachable(path, error) from error
    except BaseException:
        stream.close()
        raise
    return stream


class Stream:
    """A dialled connection on asyncio, whose two directions fail apart. Close it when nobody waits in it any more.

    Not asyncio's own streams: there a write that fails (the machine has said all and closed) throws away what is still
    to be read, which is the end of a command's output and its exit code.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._early = b""

    async def receive(self) -> bytes:
        """What has come; nothing at the end, however the other side ended."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            return await self._loop.sock_recv(self._socket, READ_BYTES)
        except ConnectionError:
            return b""  # closed with something of ours unread: all that it had to say has been read before this

    async def receive_through(self, mark: bytes, limit: int, *, at_end: bytes | None = None) -> bytes:
        """All up to and with `mark`; what follows is for `receive`. `PeerError` when it does not come, but `at_end`,
        where that is given, when nothing at all does."""
        data = b""
        while mark not in data and len(data) <= limit:
            piece = await self.receive()
            if not piece and not data and at_end is not None:
                return at_end
            if not piece:
                raise errors.PeerError("the machine closed the connection", hint="is the agent running?")
            data += piece
        before, found, self._early = data.partition(mark)
        if not found or len(before) > limit:
            raise errors.PeerError(f"the machine sent no end of its head within {limit} bytes")
        return before + found

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has it all; OSError when the machine takes no more."""
        await self._loop.sock_sendall(self._socket, data)

    def end(self) -> None:
        """Say that nothing more comes; what the machine says is still to be read."""
        with contextlib.suppress(OSError):  # it has closed already
            self._socket.shutdown(socket.SHUT_WR)

    def detach(self) -> tuple[socket.socket, bytes]:
        """The connection itself, which is the caller's now, and what has come on it already."""
        early, self._early = self._early, b""
        return self._socket, early

    def close(self) -> None:
        self._socket.close()


async def open_stream(path: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> Stream:
    """`connect` on asyncio."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    stream = Stream(sock)
    try:
        async with asyncio.timeout(timeout_s):
            with fds.short_path(path) as address:
                await _connect_when_it_can(sock, address)
            await stream.send(lines.connect_line(port))
            _parse(await stream.receive_through(b"\n", lines.MAX_LINE_BYTES, at_end=b""))
    except OSError as error:
        stream.close()
        raise _unreachable(path, error) from error
    except BaseException:
        stream.close()
        raise
    return stream


def _read_line(stream: socket.socket, end_s: float) -> bytes:
    line = b""
    # Byte by byte: what follows the line is the caller's.
    while not line.endswith(b"\n") and len(line) < lines.MAX_LINE_BYTES:
        if (left_s := end_s - time.monotonic()) <= 0:
            raise TimeoutError("timed out")
        stream.settimeout(left_s)
        byte = stream.recv(1)
        if not byte:
            return b""
        line += byte
    return line


def _connect(stream: socket.socket, address: str, timeout_s: float) -> None:
    """A Unix socket whose backlog is full says EAGAIN, at once, to everyone who does not wait for ever (unix(7))."""
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            stream.connect(address)
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise
            time.sleep(BACKLOG_PAUSE_S)
        else:
            return


async def _connect_when_it_can(sock: socket.socket, address: str) -> None:
    """`_connect` on asyncio, which takes EAGAIN for a connection that is under way."""
    while True:
        try:
            sock.connect(address)
        except BlockingIOError:
            await asyncio.sleep(BACKLOG_PAUSE_S)
        else:
            return


def _parse(line: bytes) -> None:
    """Who closes without a word has more connections than it takes; a refusal has words."""
    if not line:
        raise Busy("dial: the machine closed the connection", hint="is the agent running?")
    lines.parse_answer(line)


_BUSY = (TimeoutError, BlockingIOError, ConnectionResetError, BrokenPipeError)


def _unreachable(path: str, error: OSError) -> errors.PeerError:
    kind = Busy if isinstance(error, _BUSY) else errors.PeerError
    return kind(f"dial {path}: {error.strerror or type(error).__name__.lower()}")
