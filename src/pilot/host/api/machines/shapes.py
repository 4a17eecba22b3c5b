"""What the Machines API answers, as its clients read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....image.oci import reference
from ....wire import timestamps
from ...fly.containers import ImageOf
from ...store.fly import App, Event, Lease, Machine

JSON = dict[str, object]


def app(row: App, organisation: str, machines: int) -> JSON:
    return {
        "id": row.id, "name": row.name, "status": "deployed" if machines else "pending", "network": row.network,
        "machine_count": machines, "volume_count": 0, "organization": {"name": organisation, "slug": organisation},
    }  # fmt: skip


def machine(row: Machine, events: Sequence[Event], private_ip: str) -> JSON:
    """`host_status` is always ok: flyctl reads `incomplete_config` otherwise, and leases nothing."""
    shown: JSON = {
        "id": row.id, "name": row.name, "state": row.state, "region": row.region, "instance_id": row.version,
        "version": row.version, "private_ip": private_ip, "host_status": "ok", "cordoned": row.cordoned,
        "created_at": timestamps.of_us(row.created_us), "updated_at": timestamps.of_us(row.updated_us),
        "config": {**row.config, "metadata": dict(row.metadata)}, "image_ref": image(row.images[0]),
        "events": [event(each) for each in events], "checks": [],
    }  # fmt: skip
    if row.config.get("containers"):
        state = "running" if row.state == "started" else "stopped"
        shown["containers"] = [{"name": each.container, "state": state} for each in row.images]
    if row.lease is not None:
        shown["nonce"] = row.lease.nonce
    return shown


def image(found: ImageOf) -> JSON:
    named = reference.parse(found.reference)
    labels = found.config.labels or {}
    return {
        "registry": named.domain, "repository": named.path, "tag": named.tag or "", "digest": found.digest,
        "labels": dict(labels),
    }  # fmt: skip


def event(found: Event) -> JSON:
    """Times in milliseconds."""
    shown: JSON = {
        "id": f"{found.at_us // 1000:013d}{found.seq:013d}", "type": found.type, "status": found.status,
        "source": found.source, "timestamp": found.at_us // 1000,
    }  # fmt: skip
    if found.request:
        shown["request"] = dict(found.request)
    return shown


def lease(row: Machine, held: Lease) -> JSON:
    """In the envelope that only leases have."""
    data = {
        "nonce": held.nonce, "expires_at": held.expires_us // 1_000_000, "owner": held.owner,
        "description": held.description, "version": row.version,
    }  # fmt: skip
    return {"status": "success", "data": data}


def version(id: str, config: Mapping[str, object]) -> JSON:
    return {"version": id, "user_config": dict(config)}
