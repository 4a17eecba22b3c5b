"""The host end of a virtual machine's virtio port: dial.sock for many clients over the one byte stream.

    client ── dial.sock ── CONNECT <port> / OK <port> ── this process ── wire.mux ── port.sock ── QEMU ── guest's agent
    pilotd ── out.sock ◄── CONNECT <port> / OK <port> ── this process ◄─ OPEN(port) ──────────────────── guest's agent

A process per machine, so that it outlives pilotd as the machine does: `python -m pilot.host.vmm.qemu.mux DIRECTORY`.
It ends when QEMU closes the port (the machine is gone). It holds DIRECTORY/mux.pid while it lives; a second
one ends at once.
Killed and started anew it says hello again, by which the guest drops the streams of the former.

It must never read from a side what the other cannot take: a client is paused when the stream has no credit or the port
is behind, and credit goes back to the guest only for what a client's socket has taken. A guest that does not read is
not read: it could ask for more than can be kept of what it is to be told.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from .... import errors
from ....wire import dial, outward
from ....wire import mux as wire_mux
from . import pidfile

DIAL_SOCKET = "dial.sock"
PORT_SOCKET = "port.sock"
OUT_SOCKET = "out.sock"  # whoever answers what the machine asks its host (wire/outward.py)
PID = "mux.pid"

_CONNECT_LINE_S = 10.0
# A machine that is starting answers its hello late; the caller has a deadline of its own.
_ANSWER_S = 120.0
_BACKLOG_BYTES = 1 << 20


class Carried(asyncio.Protocol):
    """A connection that is a stream, once both sides have agreed to it. It begins with a line (`_read_line`)."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._unsent = bytearray()
        self._stream: int | None = None
        self._accepted = False
        self._before_line = True
        self._at_end = False
        self._paused = False
        self._owed_bytes = 0

    # -- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unsent += data
        if self._before_line:
            self._take_line()
        self.push()

    def eof_received(self) -> bool:
        self._at_end = True
        if self._before_line:
            return False
        self.push()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._link.forget(self, self._stream)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._give_credit(0)

    def _take_line(self) -> None:
        line, found, rest = bytes(self._unsent).partition(b"\n")
        if not found and len(line) < dial.MAX_LINE_BYTES:
            return
        self._before_line = False
        self._unsent = bytearray(rest)
        try:
            self._read_line(line + b"\n")
        except errors.PeerError as error:
            self.refuse(str(error))

    def _read_line(self, line: bytes) -> None:
        raise NotImplementedError

    # -- the stream

    def received(self, data: bytes) -> None:
        self._transport.write(data)
        self._give_credit(len(data))

    def ended(self) -> None:
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._close_if_over()

    def refuse(self, reason: str) -> None:
        """The stream is gone, or never came to be. A Unix socket cannot tell a broken stream from an ended one."""
        self._transport.close()

    def push(self) -> None:
        """Send what there is, as far as credit and port allow; read more from the client only when all went."""
        if self._accepted and self._stream in self._link.streams:
            self._send(self._stream)
        full = bool(self._unsent) and not self._before_line
        if not self._transport.is_closing():
            (self._transport.pause_reading if full else self._transport.resume_reading)()
        self._link.flush()

    def _send(self, stream: int) -> None:
        if self._unsent and not self._link.behind:
            taken = self._link.mux.send(stream, bytes(self._unsent))
            del self._unsent[:taken]
        if self._at_end and not self._unsent:
            self._link.mux.end(stream)
            self._close_if_over()

    def _close_if_over(self) -> None:
        """Both directions have ended: what is written goes out, then the socket closes."""
        if self._stream not in self._link.streams:
            self._transport.close()

    def _give_credit(self, size_bytes: int) -> None:
        self._owed_bytes += size_bytes
        if not self._paused and self._stream is not None:
            self._link.mux.consumed(self._stream, self._owed_bytes)
            self._owed_bytes = 0
            self._link.flush()


class Client(Carried):
    """One connection to dial.sock: asks for a port, then is a stream."""

    port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(_CONNECT_LINE_S, self.refuse, "no CONNECT line came")

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(error)

    def _read_line(self, line: bytes) -> None:
        self.port = dial.parse_connect(line)
        self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(_ANSWER_S, self.refuse, "the machine does not answer")
        self._link.want(self)

    def opened(self, stream: int) -> None:
        """The request is on its way to the machine."""
        self._stream = stream

    def accepted(self) -> None:
        self._deadline.cancel()
        self._accepted = True
        self._transport.write(dial.ok_line(self.port))
        self.push()

    def refuse(self, reason: str) -> None:
        if not self._accepted:
            self._transport.write(dial.error_line(reason))
        super().refuse(reason)


class Question(Carried):
    """One connection to out.sock, for a stream that the guest asks for: it is accepted when the host has said OK.

    What the guest sends before is kept, which it has credit for.
    """

    def __init__(self, link: Link, stream: int, port: int) -> None:
        super().__init__(link)
        self._stream = stream
        self._port = port
        self._early = bytearray()
        self._early_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._stream is None or not self._link.carries(self, self._stream):  # it has gone meanwhile
            self._transport.close()
            return
        self._deadline = asyncio.get_running_loop().call_later(_CONNECT_LINE_S, self._not_answered)
        self._transport.write(dial.connect_line(self._port))

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_deadline"):
            self._deadline.cancel()
        self._link.answered(self)
        super().connection_lost(error)

    def _not_answered(self) -> None:
        self._deny("the host does not answer")

    def _read_line(self, line: bytes) -> None:
        self._deadline.cancel()
        try:
            dial.parse_answer(line)
        except errors.PeerError as error:
            self._deny(str(error).removeprefix("dial: refused: "))
            return
        self._accepted = True
        if self._stream is not None and self._link.carries(self, self._stream):
            self._link.mux.accept(self._stream)
        if self._early:
            super().received(bytes(self._early))
        if self._early_end:
            super().ended()

    def _deny(self, reason: str) -> None:
        assert self._stream is not None
        self._link.deny(self, self._stream, reason)
        self._transport.close()

    def received(self, data: bytes) -> None:
        if self._accepted:
            super().received(data)
        else:
            self._early += data

    def ended(self) -> None:
        if self._accepted:
            super().ended()
        else:
            self._early_end = True

    def refuse(self, reason: str) -> None:
        if hasattr(self, "_transport"):
            super().refuse(reason)

    def push(self) -> None:
        if hasattr(self, "_transport"):  # who does not hear of it yet has sent nothing
            super().push()


class Link(asyncio.Protocol):
    """The connection to QEMU's port, and the clients that share it."""

    def __init__(self, nonce: bytes, closed: Callable[[], None], out_path: str = "") -> None:
        """`out_path`: the socket of who answers what the guest asks ("": nobody)."""
        self.mux = wire_mux.Mux(wire_mux.Role.HOST, nonce=nonce)
        self._closed = closed
        self._out_path = out_path
        self._clients: dict[int, Carried] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._questions: set[Question] = set()  # also those whose stream has gone, and whose connection has not yet
        self._waiting: list[Client] = []
        self._blocked = False

    # -- the port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.mux.receive(data):
            self._dispatch(event)
        self._open_waiting()
        self.flush()
        if self.mux.pending_bytes > _BACKLOG_BYTES:  # only of answers: `behind` has held up the rest long since
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        for client in (*self._clients.values(), *self._waiting):
            client.refuse("the machine is gone")
        self._closed()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self.flush()
        for client in list(self._clients.values()):
            client.push()
        self._transport.resume_reading()

    # -- for clients

    @property
    def streams(self) -> frozenset[int]:
        return self.mux.streams

    @property
    def behind(self) -> bool:
        """The port does not take more for now; `push` is called when it does."""
        return self._blocked or self.mux.pending_bytes > _BACKLOG_BYTES

    def flush(self) -> None:
        if not self._blocked and self.mux.pending_bytes:
            self._transport.write(self.mux.take_output())

    def want(self, client: Client) -> None:
        """Open a stream for this client as soon as the machine has said hello."""
        self._waiting.append(client)
        self._open_waiting()
        self.flush()

    def forget(self, client: Carried, stream: int | None) -> None:
        """The client's socket is gone."""
        if isinstance(client, Client) and client in self._waiting:
            self._waiting.remove(client)
        if stream is not None and self.carries(client, stream):
            del self._clients[stream]
            self.mux.reset(stream, "the client is gone")
            self.flush()

    def carries(self, client: Carried, stream: int) -> bool:
        """Whether the stream of that number is its still: a guest may reset one, and begin another of the number."""
        return self._clients.get(stream) is client

    def _open_waiting(self) -> None:
        while self._waiting and self.mux.ready:
            client = self._waiting.pop(0)
            try:
                stream = self.mux.open(client.port)
            except errors.PilotError as error:
                client.refuse(str(error))
                continue
            self._clients[stream] = client
            client.opened(stream)

    def _dispatch(self, event: wire_mux.Event) -> None:
        match event:
            case wire_mux.Restarted():
                pass
            case wire_mux.Opened(stream, port):
                self._ask(stream, port)
            case wire_mux.Accepted(stream):
                client = self._clients.get(stream)
                if isinstance(client, Client):
                    client.accepted()
            case wire_mux.Data(stream, data):
                self._with(stream, lambda client: client.received(data))
            case wire_mux.Writable(stream):
                self._with(stream, Carried.push)
            case wire_mux.Ended(stream):
                self._with(stream, Carried.ended)
            case wire_mux.Reset(stream, reason):
                gone = self._clients.pop(stream, None)
                if gone is not None:
                    gone.refuse(reason)

    def _ask(self, stream: int, port: int) -> None:
        """The guest wants a port of the host's."""
        if stream not in self.streams:
            return  # and has given it up already
        if len(self._questions) >= outward.MOST_STREAMS:
            self.mux.reset(stream, f"{outward.MOST_STREAMS} streams to the host are open already")
            return
        question = self._clients[stream] = Question(self, stream, port)
        self._questions.add(question)
        task = asyncio.create_task(self._connect(question, stream), name=f"question {stream}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _connect(self, question: Question, stream: int) -> None:
        try:
            async with asyncio.timeout(_CONNECT_LINE_S):
                await asyncio.get_running_loop().create_unix_connection(lambda: question, self._out_path)
        except OSError as error:  # TimeoutError is one
            self.answered(question)
            self.deny(question, stream, f"the host does not listen: {(error.strerror or type(error).__name__).lower()}")

    def answered(self, question: Question) -> None:
        """Nothing of it is left."""
        self._questions.discard(question)

    def deny(self, question: Question, stream: int, reason: str) -> None:
        """What the guest asked for is not to be had."""
        if self.carries(question, stream):
            del self._clients[stream]
            self.mux.reset(stream, reason)
            self.flush()

    def _with(self, stream: int, act: Callable[[Carried], None]) -> None:
        client = self._clients.get(stream)
        if client is not None:
            act(client)


async def serve(directory: str, ready: Callable[[], None]) -> None:
    """Carry streams between `directory`/dial.sock and `directory`/port.sock until QEMU closes the port."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    link = Link(os.urandom(wire_mux.NONCE_BYTES), over.set, os.path.join(directory, OUT_SOCKET))
    await loop.create_unix_connection(lambda: link, os.path.join(directory, PORT_SOCKET))
    # Whoever finds the path finds it served: bound under another name, then moved.
    path = os.path.join(directory, DIAL_SOCKET)
    temporary = f"{path}.new"
    server = await loop.create_unix_server(lambda: Client(link), temporary, backlog=128)
    os.chmod(temporary, 0o600)
    os.rename(temporary, path)
    ready()
    await over.wait()
    server.close()
    os.unlink(path)


def main(arguments: list[str]) -> int:
    """`python -m pilot.host.vmm.qemu.mux DIRECTORY`: says `ready` when dial.sock is served."""
    (directory,) = arguments
    if pidfile.hold(os.path.join(directory, PID)) is None:
        return 0
    asyncio.run(serve(directory, _say_ready))
    return 0


def _say_ready() -> None:
    try:
        os.write(1, b"ready\n")
    except BrokenPipeError:
        # Who started us is gone; the machine is not, and is found again by dial.sock.
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
