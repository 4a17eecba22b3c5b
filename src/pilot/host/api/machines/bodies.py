"""Bodies of the Machines API. Be liberal: unknown keys are kept where they are the config's, and ignored elsewhere."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal, TypeVar

import msgspec

from .... import errors
from ....wire import bodies as wire_bodies
from ....wire import faults
from ...fly import config as configs
from ...operations.fly_requests import Halt

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES = 4 << 20  # files of a config are in it
MOST_EXEC_S = 300.0


class CreateApp(msgspec.Struct, frozen=True):
    """`app_name` as the documentation has it, `name` as the specification does."""

    name: str | None = None
    app_name: str | None = None
    org_slug: str | None = None
    network: str | None = None


class CreateDeployToken(msgspec.Struct, frozen=True):
    """`expiry`: how long it is good for, as `720h`; without, as long as the key that asks for it."""

    expiry: str | None = None


class AssignIP(msgspec.Struct, frozen=True):
    """An app has one address here, whatever is asked for, and each app is a network of its own."""

    type: Literal["v4", "v6", "shared_v4", "private_v6"] | None = None
    network: str | None = None
    region: str | None = None
    org_slug: str | None = None
    service_name: str | None = None


class CreateMachine(msgspec.Struct, frozen=True):
    """Also of an update, which ignores name and region."""

    config: dict[str, object]
    name: str | None = None
    region: str | None = None
    lease_ttl: int | None = None
    skip_launch: bool = False
    current_version: str | None = None


class StopMachine(msgspec.Struct, frozen=True):
    """A signal by name or number."""

    signal: str | int | None = None
    timeout: str | int | float | None = None


class Signal(msgspec.Struct, frozen=True):
    signal: str | int


class CreateVolume(msgspec.Struct, frozen=True):
    """`snapshot_id` or `source_volume_id`: what it begins as."""

    name: str
    region: str | None = None
    size_gb: int | None = None
    snapshot_id: str | None = None
    snapshot_retention: int | None = None
    source_volume_id: str | None = None


class UpdateVolume(msgspec.Struct, frozen=True):
    auto_backup_enabled: bool | None = None
    snapshot_retention: int | None = None


class ExtendVolume(msgspec.Struct, frozen=True):
    size_gb: int


class SetSecret(msgspec.Struct, frozen=True):
    value: str


class Secrets(msgspec.Struct, frozen=True):
    """None: it goes."""

    values: dict[str, str | None]


class Memory(msgspec.Struct, frozen=True):
    limit_mb: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class Exec(msgspec.Struct, frozen=True):
    """`cmd` is a command line, `command` its words. `machine`: not in a container."""

    command: tuple[str, ...] | None = None
    cmd: str | None = None
    container: str | None = None
    stdin: str | None = None
    timeout: float | None = None
    machine: bool = False


class AcquireLease(msgspec.Struct, frozen=True):
    ttl: int | None = None
    description: str | None = None


class Metadata(msgspec.Struct, frozen=True):
    metadata: dict[str, str]
    machine_version: str | None = None


class MetadataValue(msgspec.Struct, frozen=True):
    value: str


def parse(kind: type[T], data: bytes) -> T:
    """`InvalidRequest`; an empty body is an empty object, whatever its type is said to be."""
    try:
        return wire_bodies.decode(data, kind)
    except errors.UNREADABLE as error:
        text = str(error)
        raise faults.InvalidRequest(f"body: {text[:1].lower()}{text[1:]}") from error


def halt(wanted: StopMachine) -> Halt:
    """`SpecError` for what is no signal's name, or no duration."""
    timeout = wanted.timeout
    if timeout is None or timeout == "":
        timeout_s = None
    elif isinstance(timeout, float):
        timeout_s = timeout
    else:
        timeout_s = configs.seconds(timeout, 0, "timeout")
    signal = None if wanted.signal in (None, "") else str(wanted.signal)
    return Halt(signal, timeout_s)


def words(wanted: Exec) -> tuple[str, ...]:
    """`InvalidRequest` when there are none."""
    if wanted.command:
        return wanted.command
    try:
        found = tuple(shlex.split(wanted.cmd or ""))
    except ValueError as error:
        raise faults.InvalidRequest(f"cmd: {error}") from error
    if not found:
        raise faults.InvalidRequest("command: is required")
    return found
