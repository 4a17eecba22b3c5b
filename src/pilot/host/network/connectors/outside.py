"""A connection to the real host: from inside of the machine's gateway, with TLS that is verified as the host's system
trusts, for that name alone. One machine's connection has one of these at a time; nobody else ever has it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Protocol, cast

import h11

from .... import errors
from ....kernel import netns
from ..addresses import Address
from ..plan import TLS_PORT
from .head import MOST_BYTES

CONNECT_S = 10.0
STALL_S = 600.0  # of either side; models think for minutes before they answer
MOST_TRIED = 4
PIECE_BYTES = 64 << 10
# What a host sends when it ends a connection is often cut; HTTP says for itself where a message ends.
_ENDED = (OSError, ssl.SSLError, asyncio.IncompleteReadError)


def trust(path: str | None = None) -> ssl.SSLContext:
    """What this host's system trusts, or what is in that file. HTTP/1.1 is all that is spoken."""
    context = ssl.create_default_context(cafile=path)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Limited(Protocol):
    """What a transport of TLS has beside what asyncio's types know."""

    def set_write_buffer_limits(self, high: int) -> None: ...
    def set_read_buffer_limits(self, high: int) -> None: ...


def hold_little(writer: asyncio.StreamWriter) -> None:
    """Of what nobody takes: TLS would keep half a MiB that is to be written, and another that was read."""
    transport = cast(_Limited, writer.transport)
    transport.set_write_buffer_limits(PIECE_BYTES)
    transport.set_read_buffer_limits(PIECE_BYTES)


class Outside:
    """`http` says where the conversation is; `is_fresh`: nothing was asked of it yet. Close it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_BYTES)
        self.is_fresh = True

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent on it."""
        if self.http.our_state is not h11.IDLE or self.http.their_state is not h11.IDLE:
            return False
        return not self.reader.at_eof() and not self.writer.is_closing()

    async def send(self, event: h11.Event) -> None:
        """`OSError` when the host takes no more."""
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            async with asyncio.timeout(STALL_S):
                await self.writer.drain()

    async def receive(self) -> h11.Event:
        """The next thing that it says. `PeerError` when that is nothing, or no HTTP."""
        while True:
            try:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    async with asyncio.timeout(STALL_S):
                        self.http.receive_data(await self.reader.read(PIECE_BYTES))
                    continue
            except h11.RemoteProtocolError as error:
                # h11's words have the answer's, which may say the secret.
                raise errors.PeerError("its answer is no HTTP") from error
            except TimeoutError as error:
                raise errors.PeerError(f"it has said nothing for {STALL_S:.0f} s") from error
            except _ENDED as error:
                raise errors.PeerError(f"its connection ended: {errors.told(error)}") from error
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise errors.PeerError("its connection ended")
            assert isinstance(event, h11.Event)
            return event

    def close(self) -> None:
        """At once; nothing is waited for."""
        self.writer.transport.abort()


async def connect(host: str, addresses: tuple[Address, ...], gateway: str, trusted: ssl.SSLContext) -> Outside:
    """To the first of these that answers. `PeerError` when none does, or who does is not `host`."""
    problem = "it leads nowhere"
    for address in addresses[:MOST_TRIED]:
        try:
            return await _connect(host, address, gateway, trusted)
        except ssl.SSLCertVerificationError as error:
            raise errors.PeerError(f"reach {host}: {error.verify_message}") from error
        except TimeoutError:
            problem = f"{address}: no answer in {CONNECT_S:.0f} s"
        except OSError as error:
            problem = f"{address}: {errors.told(error)}"
    raise errors.PeerError(f"reach {host}: {problem}")


async def _connect(host: str, address: Address, gateway: str, trusted: ssl.SSLContext) -> Outside:
    made = await asyncio.to_thread(netns.inside, gateway, lambda: _socket(address))
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(made, (str(address), TLS_PORT))
            reader, writer = await asyncio.open_connection(
                sock=made, ssl=trusted, server_hostname=host, limit=PIECE_BYTES
            )
    except BaseException:
        made.close()
        raise
    hold_little(writer)
    return Outside(reader, writer)


def _socket(address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
