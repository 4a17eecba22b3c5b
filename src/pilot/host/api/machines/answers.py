"""What the Machines API answers, as its document says it; every answer that a test sees is held against that.

Answers are made in `shapes`: clients read more there than the official document has, and some fields only at times.
"""

from __future__ import annotations

import msgspec

from ...network.connectors.connector import Attachment


class Organization(msgspec.Struct):
    name: str
    slug: str


class App(msgspec.Struct):
    id: str
    name: str
    status: str
    network: str
    machine_count: int
    volume_count: int
    organization: Organization


class Apps(msgspec.Struct):
    apps: list[App]
    total_apps: int


class DeployToken(msgspec.Struct):
    """Told once."""

    token: str


class IPAssignment(msgspec.Struct):
    ip: str
    region: str
    shared: bool
    service_name: str
    created_at: str


class IPAssignments(msgspec.Struct):
    ips: list[IPAssignment]


class ImageRef(msgspec.Struct):
    registry: str
    repository: str
    tag: str
    digest: str
    labels: dict[str, str]


class MachineEvent(msgspec.Struct):
    """`timestamp` in milliseconds; `request` where there is something to tell, as how it ended."""

    id: str
    type: str
    status: str
    source: str
    timestamp: int
    request: dict[str, object] | msgspec.UnsetType = msgspec.UNSET


class CheckStatus(msgspec.Struct):
    """`status`: passing, warning or critical."""

    name: str
    status: str
    output: str
    updated_at: str


class ContainerState(msgspec.Struct):
    name: str
    state: str


class Machine(msgspec.Struct):
    """`instance_id` and `version` are the same; `nonce` is told to who has the lease."""

    id: str
    name: str
    state: str
    region: str
    instance_id: str
    version: str
    private_ip: str
    host_status: str
    cordoned: bool
    created_at: str
    updated_at: str
    config: dict[str, object]
    image_ref: ImageRef
    events: list[MachineEvent]
    checks: list[CheckStatus]
    containers: list[ContainerState] | msgspec.UnsetType = msgspec.UNSET
    nonce: str | msgspec.UnsetType = msgspec.UNSET


class MachineVersion(msgspec.Struct):
    version: str
    user_config: dict[str, object]


class Started(msgspec.Struct):
    previous_state: str
    migrated: bool
    new_host: str


class Waited(msgspec.Struct):
    ok: bool
    state: str
    version: str
    event_id: str


class Executed(msgspec.Struct):
    exit_code: int
    exit_signal: int
    stdout: str
    stderr: str


class LeaseData(msgspec.Struct):
    """`expires_at` in seconds."""

    nonce: str
    expires_at: int
    owner: str
    description: str
    version: str


class Lease(msgspec.Struct):
    status: str
    data: LeaseData


class Process(msgspec.Struct):
    pid: int
    command: str
    rss: int
    cpu: int
    stime: int
    rtime: int
    directory: str
    listen_sockets: list[dict[str, object]]
    container: str


class MachineMemory(msgspec.Struct):
    limit_mb: int
    available_mb: int


class Volume(msgspec.Struct):
    id: str
    name: str
    state: str
    region: str
    zone: str
    size_gb: int
    encrypted: bool
    fstype: str
    host_status: str
    type: str
    attached_machine_id: str | None
    attached_alloc_id: str | None
    auto_backup_enabled: bool
    snapshot_retention: int
    created_at: str
    block_size: int
    blocks: int
    blocks_free: int
    blocks_avail: int
    bytes_used: int
    bytes_total: int


class Extended(msgspec.Struct):
    volume: Volume
    needs_restart: bool


class VolumeSnapshot(msgspec.Struct):
    id: str
    status: str
    created_at: str
    digest: str
    retention_days: int
    size: int
    volume_size: int


class AppSecret(msgspec.Struct):
    """`version` where it has just been set."""

    name: str
    digest: str
    created_at: str
    updated_at: str
    version: int | msgspec.UnsetType = msgspec.UNSET


class AppSecrets(msgspec.Struct):
    secrets: list[AppSecret]
    version: int | msgspec.UnsetType = msgspec.UNSET


class Connector(msgspec.Struct):
    """Without its secret."""

    name: str
    hosts: list[str]
    attach: Attachment
    created_at: str
    updated_at: str


class Connectors(msgspec.Struct):
    connectors: list[Connector]


class ConnectorUse(msgspec.Struct):
    """A request that got the secret, or was refused; `outcome` as docs/reference/connectors.md has it."""

    machine: str
    at: str
    connector: str
    host: str
    outcome: str
    method: str | msgspec.UnsetType = msgspec.UNSET
    path: str | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    why: str | msgspec.UnsetType = msgspec.UNSET


class ConnectorWithUses(Connector):
    """`uses`: the last hundred, oldest first."""

    uses: list[ConnectorUse]


class SecretsVersion(msgspec.Struct):
    version: int


class MetadataEntry(msgspec.Struct):
    value: str


class Region(msgspec.Struct):
    code: str
    name: str
    capacity: int


class Regions(msgspec.Struct):
    Regions: list[Region]
    nearest: str


class Ok(msgspec.Struct):
    ok: bool


class Failure(msgspec.Struct):
    """`<code>: <text>`; clients act on the HTTP status."""

    error: str
    status: str
