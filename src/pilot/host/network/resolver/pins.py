"""The addresses that names have led to, of one gateway: as elements of its sets, and remembered with their names.

A pin is in the kernel before its answer is sent, for a minute longer than the answer holds: programs keep addresses for
about that long. What is remembered lets a new policy keep what it still allows, and connections with it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence

from ....kernel import netns, nftables
from .. import ruleset
from ..addresses import Address

GRACE_S = 60
MOST = 8192
_MOST_NAMES = 16


class Pins:
    """Of the gateway with that namespace. Every method is quick, and raises `nftables.Refused` or `OSError`."""

    def __init__(self, gateway: str, updates: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._gateway = gateway
        self._updates = updates
        self._clock = clock
        self._serial: int | None = None
        self._known: dict[Address, dict[str, None]] = {}
        self._until: dict[Address, float] = {}

    def enforce(self, serial: int, open_: bool, allows: Callable[[str], bool]) -> None:
        """The policy with that serial is in force, with what is pinned for names that it `allows`."""
        before = self._serial_in_force()
        kept = {} if open_ or before == serial else self._kept(allows)
        nftables.run(ruleset.policy_script(serial, open_, ruleset.Pins(kept), before), self._gateway)
        self._serial = None if open_ else serial
        if before != serial:
            self._known = {address: self._known[address] for address in kept}
            self._until = {address: self._clock() + seconds for address, seconds in kept.items()}

    def add(self, name: str, addresses: Sequence[Address], ttl_s: int) -> None:
        """`name` leads to these, for that long. Nothing to do while everything is open."""
        if self._serial is None or not addresses:
            return
        now, seconds = self._clock(), ttl_s + GRACE_S
        late = {address: seconds for address in addresses if self._until.get(address, 0.0) < now + seconds}
        if late:
            nftables.run(ruleset.pin_script(self._serial, late, updates=self._updates), self._gateway)
        for address in addresses:
            self._remember(address, name)
        self._until.update((address, now + timeout) for address, timeout in late.items())

    def _remember(self, address: Address, name: str) -> None:
        names = self._known.pop(address, {})
        names[name] = None
        while len(names) > _MOST_NAMES:
            del names[next(iter(names))]
        self._known[address] = names  # at the end: the first is what was not asked for longest
        while len(self._known) > MOST:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._until.pop(oldest, None)

    def _kept(self, allows: Callable[[str], bool]) -> dict[Address, int]:
        now = self._clock()
        return {
            address: max(GRACE_S, int(self._until.get(address, 0.0) - now))
            for address, names in self._known.items()
            if any(allows(name) for name in names)
        }

    def _serial_in_force(self) -> int | None:
        """Asked of the kernel: the gateway may have been made anew, or by another resolver."""
        listed = json.loads(nftables.query(f"list sets table {ruleset.TABLE}", self._gateway))["nftables"]
        return ruleset.serial_of(entry["set"]["name"] for entry in listed if "set" in entry)


def probe_updates(directory: str) -> bool:
    """Whether this kernel takes a new time for an element that is there; tried in a namespace of its own."""
    path = os.path.join(directory, f"probe-{os.getpid()}")
    netns.ensure(path)
    try:
        nftables.run("add table inet t\nadd set inet t s { type ipv4_addr; flags timeout; }", path)
        for seconds in (100, 1000):
            nftables.run(f"add element inet t s {{ 192.0.2.1 timeout {seconds}s expires {seconds}s }}", path)
        listed = json.loads(nftables.query("list set inet t s", path))["nftables"]
        (elements,) = (entry["set"]["elem"] for entry in listed if "set" in entry)
        return bool(elements[0]["elem"]["expires"] > 100)
    finally:
        netns.remove(path)
