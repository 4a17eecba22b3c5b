"""The guest's end of a virtio port: streams of `wire.mux` for the server, over one character device.

    host ══ port ══► Mux.receive ─► MuxStream.read    ─► endpoint
    host ◄══ port ══ Mux.take_output ◄─ MuxStream.write ◄─ endpoint      held back by credit, and by a port that is full

The port is watched edge-triggered, through an epoll of its own: while no host process has it open, the kernel reports
it as ended for as long as one cares to ask, and a level-triggered loop would spin (16 % of a CPU, measured).
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Awaitable, Callable

from .. import errors
from ..wire import dial, mux

_READ_BYTES = 64 * 1024
# Beyond this much unwritten output nothing more is taken from streams.
_BACKLOG_BYTES = 256 * 1024
_QUEUE_BYTES = 64 * 1024
OnStream = Callable[["MuxStream", int], Awaitable[None]]


class MuxStream:
    """One stream, with the interface of `server.stream.Stream`."""

    def __init__(self, port: MuxPort, number: int) -> None:
        self._port = port
        self.number = number
        self._input = bytearray()
        self._output = bytearray()
        self._ended = False
        self._ending = False
        self._gone: str | None = None
        self._readable = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._answered = asyncio.Event()

    async def read(self) -> bytes:
        await self._readable.wait()
        data = bytes(self._input[:_READ_BYTES])
        del self._input[: len(data)]
        if data:
            self._port.consumed(self.number, len(data))
        if not self._input and not self._ended and self._gone is None:
            self._readable.clear()
        return data

    def write(self, data: bytes | memoryview) -> None:
        if self._gone is None:
            self._output += data
            self.push()

    async def drain(self) -> None:
        await self._room.wait()
        if self._gone is not None:
            raise errors.PeerError(f"write to stream: {self._gone}")

    def write_eof(self) -> None:
        self._ending = True
        self.push()

    def accept(self) -> None:
        """Say to who opened it that it is served."""
        self._port.accept(self.number)

    def refuse(self, reason: str) -> None:
        """Say why it is not."""
        if self._gone is None:
            self._port.reset(self.number, reason)
            self.lost(reason)

    async def wait_accepted(self) -> None:
        """Of one that we opened: `Refused` when the host has no such port, `PeerError` when it takes none for now."""
        await self._answered.wait()
        if self._gone is not None:
            final = self._gone.startswith(dial.NO_SUCH_PORT)
            raise (dial.Refused if final else errors.PeerError)(f"open a stream to the host: {self._gone}")

    def abort(self) -> None:
        self.refuse("aborted")

    async def close(self) -> None:
        self.write_eof()
        try:
            async with asyncio.timeout(5):
                await self._room.wait()
                # The peer's end: until then a reset would destroy what it has not read.
                while not self._ended and self._gone is None:
                    self._input.clear()
                    self._readable.clear()
                    await self._readable.wait()
        except TimeoutError:
            pass  # it does not end its half; abort does
        finally:
            self.abort()

    # -- called by the port

    def push(self) -> None:
        """Give the mux what it takes."""
        while self._output and self._gone is None and not self._port.is_behind:
            taken = self._port.send(self.number, memoryview(self._output)[: mux.WINDOW])
            del self._output[:taken]
            if not taken:
                break
        if self._ending and not self._output and self._gone is None:
            self._port.end(self.number)
        if len(self._output) <= _QUEUE_BYTES and not (self._ending and self._output):
            self._room.set()
        else:
            self._room.clear()

    def received(self, data: bytes) -> None:
        self._input += data
        self._readable.set()

    def accepted(self) -> None:
        self._answered.set()

    def end(self) -> None:
        self._ended = True
        self._readable.set()

    def lost(self, why: str) -> None:
        self._gone = why
        self._output.clear()
        self._readable.set()
        self._room.set()
        self._answered.set()


class MuxPort:
    """Owns the port's descriptor. `on_stream(stream, port)` runs as a task for each stream, which ends with it.

    It accepts the stream, or refuses it.
    """

    def __init__(self, port_fd: int, on_stream: OnStream) -> None:
        os.set_blocking(port_fd, False)
        self._fd = port_fd
        self._on_stream = on_stream
        self._mux = mux.Mux(mux.Role.GUEST)
        self._unwritten = b""
        self._streams: dict[int, MuxStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoll = select.epoll()
        self._epoll.register(port_fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLHUP | select.EPOLLET)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._on_edge)
        self._flush()

    def close(self) -> None:
        """Stop serving; streams are lost."""
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        for stream in self._streams.values():
            stream.lost("the port is closed")
        for task in self._tasks:
            task.cancel()
        self._epoll.close()
        os.close(self._fd)

    async def open(self, port: int) -> MuxStream:
        """A stream to a port of the host, which the caller ends; errors as `MuxStream.wait_accepted`."""
        number = self._mux.open(port)
        stream = self._streams[number] = MuxStream(self, number)
        self._flush()
        try:
            await stream.wait_accepted()
        except BaseException:
            stream.abort()
            raise
        return stream

    @property
    def is_behind(self) -> bool:
        """The host does not read as fast as we write."""
        return self._mux.pending_bytes + len(self._unwritten) > _BACKLOG_BYTES

    def send(self, number: int, data: memoryview) -> int:
        if number not in self._mux.streams:
            return 0
        taken = self._mux.send(number, data)
        self._flush()
        return taken

    def end(self, number: int) -> None:
        self._mux.end(number)
        self._flush()

    def accept(self, number: int) -> None:
        self._mux.accept(number)
        self._flush()

    def reset(self, number: int, reason: str) -> None:
        self._mux.reset(number, reason)
        self._streams.pop(number, None)
        self._flush()

    def consumed(self, number: int, size_bytes: int) -> None:
        self._mux.consumed(number, size_bytes)
        self._flush()

    def _on_edge(self) -> None:
        self._epoll.poll(0)
        was_behind = self.is_behind
        self._read()
        self._flush()
        if was_behind and not self.is_behind:
            for stream in list(self._streams.values()):
                stream.push()

    def _read(self) -> None:
        """Up to EAGAIN, as an edge demands; an end means that no host process is there: another edge tells of one."""
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            for event in self._mux.receive(data):
                self._on_event(event)

    def _flush(self) -> None:
        while self._unwritten or self._mux.pending_bytes:
            self._unwritten = self._unwritten or self._mux.take_output()
            try:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
            except (BlockingIOError, OSError):
                # Full, or no host: the next edge goes on. A new host begins with a hello, whatever it is sent before.
                return

    def _on_event(self, event: mux.Event) -> None:
        match event:
            case mux.Opened(number, port):
                self._open(number, port)
            case mux.Accepted(number) if number in self._streams:
                self._streams[number].accepted()
            case mux.Data(number, data) if number in self._streams:
                self._streams[number].received(data)
            case mux.Writable(number) if number in self._streams:
                self._streams[number].push()
            case mux.Ended(number) if number in self._streams:
                self._streams[number].end()
            case mux.Reset(number, reason) if number in self._streams:
                self._streams.pop(number).lost(reason)

    def _open(self, number: int, port: int) -> None:
        stream = self._streams[number] = MuxStream(self, number)
        task = asyncio.create_task(self._serve(stream, port), name=f"mux stream {number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: MuxStream, port: int) -> None:
        try:
            await self._on_stream(stream, port)
        finally:
            stream.abort()
            self._streams.pop(stream.number, None)
