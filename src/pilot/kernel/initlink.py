"""The agent's end of its link to init: descriptors and exit records that outlive the agent.

init (`native/init`) keeps the descriptors that are put into its store, and a record of every child that ended, over any
death of the agent, and hands them to the next agent before READY. One packet is one message of `_PACKET` (the same as
`native/init/message.h`), with at most one descriptor in SCM_RIGHTS:

    agent → init    PUT(seq, name, fd)   DROP(seq or 0, name)   ACK(seq)   SHUTDOWN(status: 0 halt, 1 reboot)
    init → agent    FD(name, fd)...  EXIT(seq, pid, status, start_time)...  READY    on each start of the agent
                    EXIT(...)                              from then on, when a child of init has ended
                    STORED(seq, name) | ERROR(seq, name, status=errno)   one for each PUT, and DROP with a seq; ERROR
                                                                         also for a bad packet

What must never happen here: a record that init sent and `read_records` did not return (those that arrive while `put`
waits for its answer are kept for it), or a descriptor that a child inherits.

Safe for use by several threads. Use on asyncio: `loop.add_reader(link.fileno(), ...)`, then `read_records()` there.
"""

from __future__ import annotations

import enum
import os
import resource
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

from .. import errors

MAGIC = 0x314C4950
NAME_SIZE = 96
VARIABLE = "PILOT_INIT_FD"
_PACKET = struct.Struct(f"<IIQIiQ{NAME_SIZE}s")
_CONTROL_SIZE = socket.CMSG_SPACE(4)


class Kind(enum.IntEnum):
    PUT = 1
    DROP = 2
    ACK = 3
    SHUTDOWN = 4
    FD = 16
    EXIT = 17
    READY = 18
    STORED = 19
    ERROR = 20


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """A child of init that ended. `status` is the raw wait status (`os.waitstatus_to_exitcode` reads it), `start_time`
    is field 22 of /proc/PID/stat: clock ticks since boot, 0 when init could not read it."""

    seq: int
    pid: int
    start_time: int
    status: int


@dataclass(frozen=True, slots=True)
class Packet:
    """What goes between init and its agent, either way."""

    kind: int
    seq: int = 0
    pid: int = 0
    status: int = 0
    start_time: int = 0
    name: bytes = b""

    def encode(self) -> bytes:
        return _PACKET.pack(MAGIC, self.kind, self.seq, self.pid, self.status, self.start_time, self.name)


def parse_packet(data: bytes) -> Packet:
    """Bytes of one packet → its fields; `PeerError` when they are not one."""
    if len(data) != _PACKET.size:
        raise errors.PeerError(f"read from init: a packet of {len(data)} bytes, not {_PACKET.size}")
    magic, kind, seq, pid, status, start_time, name = _PACKET.unpack(data)
    if magic != MAGIC:
        raise errors.PeerError(f"read from init: a packet that starts with {magic:#x}")
    return Packet(kind, seq, pid, status, start_time, name.partition(b"\0")[0])


def encode_name(name: str) -> bytes:
    """A descriptor's name as it stands in a packet: 1 to 95 bytes of UTF-8."""
    encoded = name.encode()
    if not 0 < len(encoded) < NAME_SIZE or b"\0" in encoded:
        raise errors.PilotError(f"name a descriptor {name!r}: it must be 1 to {NAME_SIZE - 1} bytes without NUL")
    return encoded


class InitLink:
    """One per agent. Owns its socket, and `inherited` until they are taken."""

    def __init__(self, init_fd: int, *, timeout_s: float = 30.0) -> None:
        """Takes over `init_fd` and reads up to READY; `PeerError` when that does not come in time."""
        self._socket = socket.socket(fileno=init_fd)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)
        self._lock = threading.Lock()
        self._last_seq = 0
        self._records: list[ExitRecord] = []
        self._kept = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable while `_records` holds something
        self._events = select.epoll()
        self._events.register(self._socket, select.EPOLLIN)
        self._events.register(self._kept, select.EPOLLIN)
        self.inherited: dict[str, int] = {}
        try:
            self._read_until_ready(time.monotonic() + timeout_s)
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_environment(cls, *, timeout_s: float = 30.0) -> InitLink:
        """The link that init gave this process. Takes PILOT_INIT_FD out of the environment, so that no child looks for
        it, and raises the soft limit of descriptors to the hard one, since all that is stored arrives at once."""
        text = os.environ.pop(VARIABLE, "")
        if not text.isdecimal():
            raise errors.HostError(f"find init: {VARIABLE} is {text!r}", hint="the agent is started by pilot-init")
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return cls(int(text), timeout_s=timeout_s)

    def take(self, name: str) -> int:
        """The inherited descriptor of this name; the caller owns it from now on, and init keeps its own."""
        try:
            return self.inherited.pop(name)
        except KeyError:
            raise errors.NotFound(f"take descriptor {name}: init did not hand it over") from None

    def put(self, name: str, fd: int, *, timeout_s: float = 10.0) -> None:
        """Stores a duplicate of `fd` under `name`, in place of what has that name; it is safe when this returns.
        `HostError` when init refuses (it is full), `PeerError` when it does not answer."""
        encoded = encode_name(name)
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._last_seq += 1
            self._send(Packet(Kind.PUT, seq=self._last_seq, name=encoded), deadline, fd)
            answer = self._read_answer(self._last_seq, deadline)
        if answer.kind == Kind.ERROR:
            cause = OSError(answer.status, os.strerror(answer.status))
            raise errors.HostError(f"store descriptor {name}: {cause.strerror}") from cause

    def drop(self, name: str, *, wait: bool = False, timeout_s: float = 10.0) -> None:
        """Lets init close what it stores under `name`; nothing happens when there is none. With `wait` it is closed
        when this returns; `PeerError` when init does not answer."""
        encoded = encode_name(name)
        deadline = time.monotonic() + timeout_s
        with self._lock:
            if not wait:
                self._send(Packet(Kind.DROP, name=encoded), deadline)
                return
            self._last_seq += 1
            self._send(Packet(Kind.DROP, seq=self._last_seq, name=encoded), deadline)
            self._read_answer(self._last_seq, deadline)

    def acknowledge(self, seq: int, *, timeout_s: float = 10.0) -> None:
        """The record is dealt with: the next agent will not be told again."""
        self._request(Packet(Kind.ACK, seq=seq), timeout_s)

    def shutdown(self, *, reboot: bool = False, timeout_s: float = 10.0) -> None:
        """Asks init to end everything, this process too."""
        self._request(Packet(Kind.SHUTDOWN, status=1 if reboot else 0), timeout_s)

    def fileno(self) -> int:
        """Readable when `read_records` has something to return (now and then it returns nothing all the same)."""
        return self._events.fileno()

    def read_records(self) -> list[ExitRecord]:
        """The records that have come since the last call, oldest first; never waits for one. `PeerError` when init is
        gone."""
        with self._lock:
            while (received := self._receive()) is not None:
                self._keep(received)
            records, self._records = self._records, []
            if records:
                self._clear_kept()
        return records

    def close(self) -> None:
        """Closes the link and the inherited descriptors that nobody took; init keeps its own."""
        while self.inherited:
            os.close(self.inherited.popitem()[1])
        self._events.close()
        os.close(self._kept)
        self._socket.close()

    def __enter__(self) -> InitLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_until_ready(self, deadline: float) -> None:
        while True:
            packet, fd = self._receive_by(deadline)
            if packet.kind == Kind.READY:
                return
            if packet.kind == Kind.FD and fd is not None:
                self.inherited[packet.name.decode(errors="surrogateescape")] = fd
            else:
                self._keep((packet, fd))

    def _read_answer(self, seq: int, deadline: float) -> Packet:
        while True:
            packet, fd = self._receive_by(deadline)
            if packet.kind in (Kind.STORED, Kind.ERROR) and packet.seq == seq:
                return packet
            self._keep((packet, fd))

    def _keep(self, received: tuple[Packet, int | None]) -> None:
        """Keeps an exit record for `read_records`. Any other packet here is the late answer to a request that was given
        up, or of a kind that a newer init knows: neither concerns anybody."""
        packet, fd = received
        if fd is not None:
            os.close(fd)
        if packet.kind == Kind.EXIT:
            self._records.append(ExitRecord(packet.seq, packet.pid, packet.start_time, packet.status))
            os.eventfd_write(self._kept, 1)

    def _clear_kept(self) -> None:
        try:
            os.eventfd_read(self._kept)
        except BlockingIOError:
            pass  # it says nothing new: zero is what we want

    def _request(self, packet: Packet, timeout_s: float) -> None:
        with self._lock:
            self._send(packet, time.monotonic() + timeout_s)

    def _send(self, packet: Packet, deadline: float, fd: int | None = None) -> None:
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]
        while True:
            try:
                self._socket.sendmsg([packet.encode()], rights)
                return
            except BlockingIOError:
                # init reads nothing while it owes an answer that we do not take in: so take in what there is.
                self._wait(select.POLLOUT | select.POLLIN, deadline)
                while (received := self._receive()) is not None:
                    self._keep(received)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise errors.PeerError("write to init: it closed the link") from error

    def _receive_by(self, deadline: float) -> tuple[Packet, int | None]:
        while (received := self._receive()) is None:
            self._wait(select.POLLIN, deadline)
        return received

    def _wait(self, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, events)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise errors.PeerError("wait for init: no answer in time")

    def _receive(self) -> tuple[Packet, int | None] | None:
        """One packet and the descriptor that came with it, which the caller owns; None when there is none now."""
        try:
            data, parts, flags, _ = self._socket.recvmsg(_PACKET.size, _CONTROL_SIZE, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            data, parts, flags = b"", [], 0
        if not data:
            raise errors.PeerError("read from init: it closed the link")
        if flags & socket.MSG_CTRUNC:
            raise errors.HostError("take over a descriptor: the limit of open files is reached")
        fds = [fd for _, _, part in parts for (fd,) in struct.iter_unpack("i", part)]
        return parse_packet(data), fds[0] if fds else None
