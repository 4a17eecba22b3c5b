"""What names mean, asked in threads that nobody waits for: a resolver may be silent for much longer than any deadline,
and nothing can call it off. So there are no more of these threads than so many, and of one organisation's names a part
of that; who asks for a name that is being asked for already waits for that answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import socket
import threading
from collections.abc import Sequence

from .... import errors
from ...network.addresses import Address

MOST = 64
MOST_OF_ONE = 8
_Found = concurrent.futures.Future[Sequence[Address]]


class Busy(errors.PilotError):
    """As many names are being asked for as may be."""


class Names:
    """From any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], _Found] = {}

    async def addresses(self, who: str, host: str) -> Sequence[Address]:
        """`OSError`, `UnicodeError`, `Busy`. `who`: the organisation."""
        return await asyncio.wrap_future(self._asking((who, host)))

    def _asking(self, key: tuple[str, str]) -> _Found:
        with self._lock:
            if key in self._asked:
                return self._asked[key]
            if len(self._asked) >= MOST or sum(who == key[0] for who, _ in self._asked) >= MOST_OF_ONE:
                raise Busy("the resolver has not answered for other names yet")
            found: _Found = concurrent.futures.Future()
            found.set_running_or_notify_cancel()  # who gives up does not call it off for others
            try:
                threading.Thread(target=self._ask, args=(key, found), name="webhook-name", daemon=True).start()
            except RuntimeError as error:
                raise Busy(str(error)) from error
            self._asked[key] = found
            return found

    def _ask(self, key: tuple[str, str], found: _Found) -> None:
        try:
            rows = socket.getaddrinfo(key[1], None, type=socket.SOCK_STREAM)
            addresses = [ipaddress.ip_address(str(each[4][0])) for each in rows]
        except (OSError, ValueError) as error:
            self._forget(key)
            found.set_exception(error)
        else:
            self._forget(key)
            found.set_result(addresses)

    def _forget(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._asked.pop(key, None)
