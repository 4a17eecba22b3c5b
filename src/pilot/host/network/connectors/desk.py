"""One machine's connectors: sockets in its gateway, a certificate for each host, and the connections that there are.

Who connects there is that gateway's machine, whatever it says. The name in its handshake has to be a connector's: for
any other there is no certificate, and the handshake ends with `unrecognized_name`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from ....kernel import netns
from ...fly.vault import Vault
from .. import binding
from ..plan import TLS_PORT
from ..policy import Action
from ..ruleset import CONNECTOR_STREAMS
from . import authority, grants, outside
from .authority import Authority
from .client import Client
from .grants import Grants
from .names import Names
from .outside import PIECE_BYTES, Outside
from .passing import Grant, Passing
from .uses import Outcome, Uses

HANDSHAKE_S = 10.0
_BACKLOG = 64
_log = logging.getLogger(__name__)


class Places:
    """How many connections of all machines there may be at a time."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextlib.contextmanager
    def one(self) -> Iterator[bool]:
        """Whether there was one, which is given back."""
        has = self._left > 0
        self._left -= has
        try:
            yield has
        finally:
            self._left += has


class Desk:
    """`await Desk.open(…)`; close it. `identity` is that of the namespace that the sockets are in."""

    def __init__(self, given: Grants, vault: Vault, names: Names, trusted: ssl.SSLContext, places: Places) -> None:
        self.uses = Uses(given.log)
        self.identity = binding.identity(given.gateway)
        self._vault, self._names, self._trusted, self._places = vault, names, trusted, places
        self._gateway = given.gateway
        self._granted: dict[str, Grant] = {}
        self._certificates = _Certificates()
        self._servers: list[asyncio.Server] = []
        self._passing: dict[asyncio.Task[None], str] = {}
        self._is_closed = False

    @classmethod
    async def open(cls, given: Grants, vault: Vault, names: Names, trusted: ssl.SSLContext, places: Places) -> Desk:
        """`OSError`: there is no such namespace, or somebody has the port; `HostError` as `adopt`."""
        desk = cls(given, vault, names, trusted, places)
        try:
            desk.adopt(given)
            for each in netns.inside(given.gateway, lambda: _bind(given.listen)):
                desk._servers.append(await desk._serve(each))
        except BaseException:
            desk.close()
            raise
        return desk

    @property
    def counts(self) -> Mapping[str, int]:
        return self.uses.counts

    def adopt(self, given: Grants) -> None:
        """In force when it returns: connections to hosts that are not there any more are cut. `HostError`: a secret
        cannot be opened, and then nothing has changed."""
        effective = given.effective()
        granted = {
            host: Grant(each.name, each.attach, grants.opened(self._vault, given.machine, each))
            for each in given.connectors
            for host in each.hosts
            if effective.decide(host).action is Action.ALLOW
        }
        self._certificates.sign(given.authority, authority.Signer(self._vault, given.machine, given.authority), granted)
        self._granted = granted
        for task, host in self._passing.items():
            if host not in granted:
                task.cancel()

    def close(self) -> None:
        """Idempotent."""
        self._is_closed = True
        for server in self._servers:
            server.close()
        for task in self._passing:
            task.cancel()
        self.uses.close()

    async def _serve(self, listening: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(
            self._accept,
            sock=listening,
            limit=PIECE_BYTES,
            ssl=self._certificates.context,
            ssl_handshake_timeout=HANDSHAKE_S,
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handshake = cast(ssl.SSLObject, writer.get_extra_info("ssl_object"))
        host = self._certificates.host(handshake.context)  # its present grant is looked up with each request
        task = asyncio.current_task()
        with self._places.one() as has_place:
            if host is None or task is None or not has_place or len(self._passing) >= CONNECTOR_STREAMS:
                self.uses.count(Outcome.LIMITED)
                writer.transport.abort()
                return
            self._passing[task] = host
            outside.hold_little(writer)
            client = Client(reader, writer)
            try:
                await Passing(client, host, lambda: self._granted.get(host), self._connect(host), self.uses).run()
            except asyncio.CancelledError:
                client.cut()  # its connector has gone: not asked for by whoever runs us, so it ends here
            except Exception:  # noqa: BLE001 - what a machine sends may be made to hurt us: it costs that connection, and is told
                _log.exception("connection not served")
                client.cut()
            finally:
                del self._passing[task]
                if self._is_closed:  # and it has written down how it ended
                    self.uses.close()

    def _connect(self, host: str) -> Callable[[], asyncio.Future[Outside]]:
        async def connect() -> Outside:
            addresses = await self._names.addresses(host)
            return await outside.connect(host, addresses, self._gateway, self._trusted)

        return lambda: asyncio.ensure_future(connect())


class _Certificates:
    """By the name in a handshake. They are made anew when half of their time has passed, or their authority has another
    certificate."""

    def __init__(self) -> None:
        self.context = authority.bare_context()
        self.context.sni_callback = self._choose
        self._signer: authority.Signer | None = None
        self._authority: Authority | None = None
        self._made: dict[str, tuple[ssl.SSLContext, float]] = {}
        self._of: weakref.WeakKeyDictionary[ssl.SSLContext, str] = weakref.WeakKeyDictionary()
        self._hosts: set[str] = set()

    def sign(self, given: Authority, signer: authority.Signer, hosts: Iterable[str]) -> None:
        """For these hosts, and no others, from here on."""
        if given != self._authority:
            self._made = {}
        self._authority, self._signer, self._hosts = given, signer, set(hosts)

    def host(self, context: ssl.SSLContext) -> str | None:
        """Whose certificate was shown in a handshake that was continued with that context."""
        return self._of.get(context)

    def _choose(self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        host = (name or "").lower()
        if host not in self._hosts or self._signer is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context, until_s = self._made.get(host, (None, 0.0))
        if context is None or time.monotonic() > until_s:
            context = self._signer.context(host)
            self._of[context] = host
            self._made[host] = context, time.monotonic() + authority.LEAF_DAYS * 86400 / 2
        handshake.context = context
        return None


def _bind(addresses: Sequence[str]) -> list[socket.socket]:
    with contextlib.ExitStack() as undo:
        made = []
        for address in addresses:
            made.append(undo.enter_context(binding.bound(socket.SOCK_STREAM, address, TLS_PORT)))
            made[-1].listen(_BACKLOG)
        undo.pop_all()
        return made
