"""`linux.intelRdt` → the group of resctrl that a container's processes are in, and what is written there.

The rules are the specification's: without closID the group is the container's own and goes with it; with closID and no
schemata it must be there already; with both it is made when it is missing, and must agree when it is not. Pure.
"""

from __future__ import annotations

import msgspec

from ..spec.linux import IntelRdt

_ROOT = "/"


class RdtGroup(msgspec.Struct, frozen=True):
    """`name` below the mount point, "" for the root group; `monitor` names a monitoring group of it."""

    name: str
    schemata: tuple[str, ...] = ()
    is_own: bool = False
    must_exist: bool = False
    monitor: str = ""


def plan_rdt(asked: IntelRdt, container_id: str) -> RdtGroup:
    """The group, and what is done with it."""
    schemata = plan_schemata(asked)
    monitored = asked.enable_monitoring or asked.enable_cmt or asked.enable_mbm
    return RdtGroup(
        name="" if asked.clos_id == _ROOT else asked.clos_id or container_id,
        schemata=schemata,
        is_own=not asked.clos_id,
        must_exist=bool(asked.clos_id) and not schemata,
        monitor=container_id if monitored else "",
    )


def plan_schemata(asked: IntelRdt) -> tuple[str, ...]:
    """Lines in the order in which they are written; bandwidth inside l3CacheSchema gives way to memBwSchema."""
    cache = [line for line in asked.l3_cache_schema.splitlines() if line]
    if asked.mem_bw_schema:
        cache = [line for line in cache if not line.startswith("MB:")]
    bandwidth = [line for line in asked.mem_bw_schema.splitlines() if line]
    return (*cache, *bandwidth, *asked.schemata)
