"""Networks made and destroyed, many of them at a time; what the kernel holds before and after.

python -m tests.support.private -- python -m tests.support.networksoak 1000
"""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import tempfile
import time

from pilot.host.network.plan import NAMED, Settings
from pilot.host.network.service import Member, Networks
from pilot.ids import MachineId

AT_ONCE = 8


def run(networks: Networks, count: int, first: int = 1) -> None:
    """All of them exist at the same time, each with a machine of its own; then none does."""
    members = [Member(MachineId(f"soak{number}"), number) for number in range(first, first + count)]
    # One process in a namespace of its own would be a process each: the machine is a gateway's neighbour here.
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(networks.ensure, members))
        list(pool.map(lambda member: networks.remove(member.machine, member.number), members))


def observe() -> dict[str, frozenset[str]]:
    """Links, namespaces with a name, tables of nftables, zones and logs."""
    return {
        "links": frozenset(os.listdir("/sys/class/net")),
        "namespaces": frozenset(os.listdir(NAMED)) if os.path.isdir(NAMED) else frozenset(),
        "tables": frozenset(_lines("nft", "list", "tables")),
        "addresses": frozenset(_lines("ip", "-o", "addr")),
        "routes": frozenset(_lines("ip", "-o", "route")) | frozenset(_lines("ip", "-6", "-o", "route")),
    }


def left_since(before: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """What is there now and was not, by kind."""
    now = observe()
    return {kind: now[kind] - found for kind, found in before.items() if now[kind] - found}


def _lines(*command: str) -> list[str]:
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # What is left of a lifetime changes by itself.
    return [line.partition(" expires ")[0].partition(" valid_lft ")[0] for line in text.splitlines()]


def main(count: int) -> int:
    """The exit status: 1 when something is left."""
    with tempfile.TemporaryDirectory() as state:
        networks = Networks(Settings("50a450a4"), state, ["127.0.0.1"])
        networks.start()
        before, began = observe(), time.monotonic()
        run(networks, count)
        left = left_since(before)
        networks.stop()
    print(f"{count} networks made and destroyed in {time.monotonic() - began:.1f} s; left: {left or 'nothing'}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
