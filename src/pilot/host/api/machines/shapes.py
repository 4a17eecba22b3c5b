"""What the Machines API answers, as its clients read it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from ....image.oci import reference
from ....volume.client import Volume as Disk
from ....wire import secret_keys as wire_keys
from ....wire import timestamps
from ....wire.graph import ProcessRow
from ...fly import containers, key_names
from ...fly.checks import Found
from ...fly.containers import ImageOf
from ...store.fly import App, Event, Lease, Machine
from ...store.fly_keys import SecretKey
from ...store.fly_secrets import Secret
from ...store.fly_volumes import Volume

_BLOCK_BYTES = 4096

JSON = dict[str, object]


def app(row: App, organisation: str, machines: int, volumes: int) -> JSON:
    return {
        "id": row.id, "name": row.name, "status": "deployed" if machines else "pending", "network": row.network,
        "machine_count": machines, "volume_count": volumes,
        "organization": {"name": organisation, "slug": organisation},
    }  # fmt: skip


def address(row: App, ip: str) -> JSON:
    return {
        "ip": ip, "region": "local", "shared": False, "service_name": "",
        "created_at": timestamps.of_us(row.created_us),
    }  # fmt: skip


def machine(row: Machine, events: Sequence[Event], private_ip: str, checks: Sequence[Found]) -> JSON:
    """`host_status` is always ok: flyctl reads `incomplete_config` otherwise, and leases nothing."""
    shown: JSON = {
        "id": row.id, "name": row.name, "state": row.state, "region": row.region, "instance_id": row.version,
        "version": row.version, "private_ip": private_ip, "host_status": "ok", "cordoned": row.cordoned,
        "created_at": timestamps.of_us(row.created_us), "updated_at": timestamps.of_us(row.updated_us),
        "config": config(row), "image_ref": image(row.images[0]),
        "events": [event(each) for each in events], "checks": [check(each) for each in checks],
    }  # fmt: skip
    if row.config.get("containers"):
        state = "running" if row.state == "started" else "stopped"
        shown["containers"] = [{"name": each.container, "state": state} for each in row.images]
    if row.lease is not None:
        shown["nonce"] = row.lease.nonce
    return shown


def config(row: Machine) -> JSON:
    """As it was given, but for `autostop`, which is told as upstream tells it."""
    shown: JSON = {**row.config, "metadata": dict(row.metadata)}
    services = row.config.get("services")
    if isinstance(services, list):
        shown["services"] = [{**each, **_autostop(each)} for each in services]
    return shown


def _autostop(service: Mapping[str, object]) -> JSON:
    told = {"off": False, "": False, "stop": True}
    said = service.get("autostop")
    return {"autostop": told[said]} if isinstance(said, str) and said in told else {}


def image(found: ImageOf) -> JSON:
    """One of a sprite's checkpoint is of no registry."""
    shown = {"digest": found.digest, "labels": dict(found.config.labels or {})}
    if found.of is not None:
        name = found.reference.removeprefix(containers.SPRITE).partition("/")[0]
        return {"registry": "", "repository": f"sprite/{name}", "tag": found.of.checkpoint, **shown}
    named = _named(found.reference)
    return {"registry": named.domain, "repository": named.path, "tag": named.tag or "", **shown}


_named = functools.lru_cache(4096)(reference.parse)


def check(found: Found) -> JSON:
    """As it is now."""
    return {"name": found.name, "status": found.status, "output": found.output, "updated_at": timestamps.now()}


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


def volume(row: Volume, disk: Disk | None) -> JSON:
    """Blocks and bytes as the disk counts them: what its filesystem has for itself is in use."""
    total = disk.size_bytes if disk else row.size_gb << 30
    used = disk.allocated_bytes if disk else 0
    free = max(total - used, 0) // _BLOCK_BYTES
    return {
        "id": row.id, "name": row.name, "state": row.state, "region": row.region, "zone": row.region,
        "size_gb": row.size_gb, "encrypted": False, "fstype": "ext4", "host_status": "ok", "type": "local",
        "attached_machine_id": row.machine, "attached_alloc_id": None, "auto_backup_enabled": False,
        "snapshot_retention": row.snapshot_retention, "created_at": timestamps.of_us(row.created_us),
        "block_size": _BLOCK_BYTES, "blocks": total // _BLOCK_BYTES, "blocks_free": free, "blocks_avail": free,
        "bytes_used": used, "bytes_total": total,
    }  # fmt: skip


def snapshot(row: Volume, id: str, created_s: float) -> JSON:
    return {
        "id": id, "status": "created", "created_at": timestamps.of_us(int(created_s * 1e6)), "digest": "",
        "retention_days": row.snapshot_retention, "size": 0, "volume_size": row.size_gb << 30,
    }  # fmt: skip


def secret(row: Secret) -> JSON:
    """Without its value."""
    return {
        "name": row.name, "digest": row.digest, "created_at": timestamps.of_us(row.created_us),
        "updated_at": timestamps.of_us(row.updated_us),
    }  # fmt: skip


def secret_key(row: SecretKey) -> wire_keys.SecretKey:
    """Without the key. A version is never changed."""
    at = timestamps.of_us(row.created_us)
    name = key_names.joined(row.label, row.version)
    return wire_keys.SecretKey(name=name, type=row.kind, public_key=row.public, created_at=at, updated_at=at)


def process(container: str, row: ProcessRow) -> JSON:
    """`pid` as the container has it; `cpu` in seconds of a processor."""
    return {
        "pid": row.inner_pid, "command": row.command, "rss": row.memory_bytes, "cpu": int(row.cpu_s), "stime": 0,
        "rtime": 0, "directory": "", "listen_sockets": [], "container": container,
    }  # fmt: skip


def version(id: str, config: Mapping[str, object]) -> JSON:
    return {"version": id, "user_config": dict(config)}
