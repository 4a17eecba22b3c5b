"""A Machine's `config`, as its clients write it: only what is acted upon has a type, all of it is kept and told again.

Durations are texts (`15s`) or integer nanoseconds; those of container health checks are integer seconds. What would
matter if it were ignored, and is not there (mounts of nothing, GPUs), is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from ... import errors
from ...wire import duration
from ..vmm import Size

# The container of a Machine that declares none.
ALONE = "app"
# Of each there are some; what is looked through for each of another is bounded before that.
MOST: Mapping[str, int] = {"containers": 128, "processes": 64, "mounts": 64, "volumes": 256}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_MIB = 1 << 20
_LEAST_MEMORY_MIB, _MOST_MEMORY_MIB = 128, 1 << 20

Duration = str | int
Condition = Literal["started", "healthy", "exited_successfully"]


class Init(msgspec.Struct, frozen=True):
    """What is run instead of what the image says."""

    exec: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    tty: bool | None = None
    swap_size_mb: int | None = None


class Guest(msgspec.Struct, frozen=True):
    cpu_kind: str | None = None
    cpus: Annotated[int, msgspec.Meta(ge=0, le=256)] | None = None
    memory_mb: Annotated[int, msgspec.Meta(ge=0, le=_MOST_MEMORY_MIB)] | None = None
    gpus: int | None = None
    gpu_kind: str | None = None
    persist_rootfs: str | int | None = None


class Restart(msgspec.Struct, frozen=True):
    policy: Literal["no", "always", "on-failure", "spot-price"] | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] | None = None


class Stop(msgspec.Struct, frozen=True):
    signal: str | None = None
    timeout: Duration | None = None


class File(msgspec.Struct, frozen=True):
    """`raw_value` is base64, as is a secret's value that is to be a file."""

    guest_path: str
    raw_value: str | None = None
    secret_name: str | None = None
    image_config: str | None = None
    mode: int | None = None


class Mount(msgspec.Struct, frozen=True):
    """`volume`: its id. With several containers their own mounts say where, by this `name` or the id."""

    path: str | None = None
    volume: str | None = None
    name: str | None = None


class Secret(msgspec.Struct, frozen=True):
    """`name`: of the app's secret, where the variable is called something else."""

    env_var: str
    name: str | None = None


class EnvFrom(msgspec.Struct, frozen=True):
    """A variable that is something of the Machine."""

    env_var: str
    field_ref: Literal["id", "version", "app_name", "private_ip", "region", "image"]


class Rootfs(msgspec.Struct, frozen=True):
    persist: Literal["never", "restart", "always"] | None = None


class DependsOn(msgspec.Struct, frozen=True):
    name: str
    condition: Condition | None = None


class HttpCheck(msgspec.Struct, frozen=True):
    port: int
    method: str | None = None
    path: str | None = None


class TcpCheck(msgspec.Struct, frozen=True):
    port: int


class ExecCheck(msgspec.Struct, frozen=True):
    command: tuple[str, ...]


class Healthcheck(msgspec.Struct, frozen=True):
    """Of a container; times in seconds."""

    name: str | None = None
    interval: int | None = None
    grace_period: int | None = None
    timeout: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    kind: Literal["readiness", "liveness"] | None = None
    unhealthy: Literal["stop"] | None = None
    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    exec: ExecCheck | None = None


class Header(msgspec.Struct, frozen=True):
    name: str
    values: tuple[str, ...]


class Check(msgspec.Struct, frozen=True):
    """Of a Machine or of its service, whose port it has where it says none."""

    type: Literal["http", "tcp"]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    grace_period: Duration | None = None
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    headers: tuple[Header, ...] | None = None


PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]


class Port(msgspec.Struct, frozen=True):
    """Where a service is reached: one port or a range, and what is done to a connection on its way."""

    port: PortNumber | None = None
    start_port: PortNumber | None = None
    end_port: PortNumber | None = None
    handlers: tuple[str, ...] | None = None
    force_https: bool | None = None


class Concurrency(msgspec.Struct, frozen=True):
    type: Literal["connections", "requests", ""] | None = None
    soft_limit: Count | None = None
    hard_limit: Count | None = None


class Service(msgspec.Struct, frozen=True):
    """What is reached from outside (`services`)."""

    protocol: str | None = None
    internal_port: PortNumber | None = None
    ports: tuple[Port, ...] | None = None
    concurrency: Concurrency | None = None
    autostart: bool | None = None
    autostop: bool | str | None = None
    min_machines_running: Count | None = None
    checks: tuple[Check, ...] | None = None


class ContainerMount(msgspec.Struct, frozen=True):
    name: str
    path: str


class Container(msgspec.Struct, frozen=True):
    """One of several in a Machine."""

    name: str
    image: str
    exec: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str | None = None
    env: dict[str, str] | None = None
    files: tuple[File, ...] | None = None
    restart: Restart | None = None
    stop: Stop | None = None
    depends_on: tuple[DependsOn, ...] | None = None
    healthchecks: tuple[Healthcheck, ...] | None = None
    mounts: tuple[ContainerMount, ...] | None = None
    secrets: tuple[Secret, ...] | None = None
    env_from: tuple[EnvFrom, ...] | None = None


class MachineProcess(msgspec.Struct, frozen=True):
    """One of several of a Machine's image, in its one root. The Machine ends with the first of them that does."""

    exec: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    user: str | None = None
    env: dict[str, str] | None = None
    env_from: tuple[EnvFrom, ...] | None = None
    secrets: tuple[Secret, ...] | None = None
    ignore_app_secrets: bool = False


class TempDir(msgspec.Struct, frozen=True):
    storage_type: Literal["disk", "memory"] | None = None
    size_mb: int | None = None


class TempVolume(msgspec.Struct, frozen=True):
    name: str
    temp_dir: TempDir | None = None
    image: str | None = None


class Config(msgspec.Struct, frozen=True):
    """What is acted upon of a `config`."""

    image: str | None = None
    init: Init | None = None
    env: dict[str, str] | None = None
    guest: Guest | None = None
    restart: Restart | None = None
    stop_config: Stop | None = None
    files: tuple[File, ...] | None = None
    mounts: tuple[Mount, ...] | None = None
    rootfs: Rootfs | None = None
    containers: tuple[Container, ...] | None = None
    volumes: tuple[TempVolume, ...] | None = None
    processes: tuple[MachineProcess, ...] | None = None
    metadata: dict[str, str] | None = None
    auto_destroy: bool | None = None
    schedule: Literal["hourly", "daily", "weekly", "monthly", ""] | None = None
    checks: dict[str, Check] | None = None
    services: tuple[Service, ...] | None = None
    statics: tuple[object, ...] | None = None


def parse(document: Mapping[str, object]) -> Config:
    """`SpecError` with the place for what cannot be carried out."""
    try:
        config = msgspec.convert(document, type=Config)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        raise errors.SpecError(place.strip("`").replace("$", "config", 1) or "config", problem.lower()) from error
    _check(config)
    return config


def images(config: Config) -> dict[str, str]:
    """By container, the first of them first: what it is made of, as it was written."""
    if config.containers:
        return {each.name: each.image for each in config.containers}
    assert config.image is not None
    return {ALONE: config.image}


def size(config: Config) -> Size:
    """What the machine has; a `guest` that says nothing has Fly's smallest: one shared cpu, 256 MiB."""
    guest = config.guest or Guest()
    memory_mib = max(guest.memory_mb or 256, _LEAST_MEMORY_MIB)
    return Size(memory_mib * _MIB, guest.cpus or 1)


def volumes(config: Config) -> tuple[str, ...]:
    """The ids of what it mounts, in order."""
    return tuple(mount.volume for mount in config.mounts or () if mount.volume is not None)


def keeps_root(config: Config) -> bool:
    """Whether what was written to a root is there again after a stop."""
    rootfs = (config.rootfs.persist if config.rootfs else None) or (config.guest.persist_rootfs if config.guest else 0)
    return rootfs in ("always", "restart", 2, 3)


def seconds(text: Duration | None, default_s: float, where: str) -> float:
    """`SpecError` for what is no duration."""
    if text is None or text == "":
        return default_s
    if isinstance(text, int):
        return text / 1e9
    try:
        return duration.parse_duration_s(text)
    except errors.PilotError as error:
        raise errors.SpecError(where, f"{text[:50]!r} is no duration") from error


def _check(config: Config) -> None:
    if not config.image and not config.containers:
        raise errors.SpecError("config.image", "is required")
    if config.processes and config.containers:
        raise errors.SpecError("config.processes", "a machine has either containers or processes of its image")
    for what, most in MOST.items():
        if len(getattr(config, what) or ()) > most:
            raise errors.SpecError(f"config.{what}", f"more than {most}")
    if config.guest is not None and (config.guest.gpus or config.guest.gpu_kind):
        raise errors.SpecError("config.guest.gpus", "this host has none")
    names = [each.name for each in config.containers or ()]
    for number, container in enumerate(config.containers or ()):
        place = f"config.containers[{number}]"
        if not _NAME.fullmatch(container.name) or container.name in ("world", "machine"):
            raise errors.SpecError(f"{place}.name", f"{container.name[:50]!r} is no name of a container")
        if names.index(container.name) != number:
            raise errors.SpecError(f"{place}.name", f"{container.name} is the name of two")
    _check_mounts(config)
    for number, volume in enumerate(config.volumes or ()):
        if volume.image is not None or volume.temp_dir is None:
            raise errors.SpecError(f"config.volumes[{number}]", "only a temp_dir is possible")


def _check_mounts(config: Config) -> None:
    """Each is of a volume, once, and somewhere: what was written nowhere would be lost."""
    ids, paths = volumes(config), [mount.path for mount in config.mounts or ()]
    named = {each.name for container in config.containers or () for each in container.mounts or ()}
    for number, mount in enumerate(config.mounts or ()):
        place = f"config.mounts[{number}]"
        if not mount.volume:
            raise errors.SpecError(f"{place}.volume", "the id of a volume is required")
        if ids.index(mount.volume) != number:
            raise errors.SpecError(f"{place}.volume", f"{mount.volume[:50]} is mounted twice")
        if config.containers:
            if not named & {mount.volume, mount.name}:
                raise errors.SpecError(place, "no container mounts it: containers[].mounts[].name is its name or id")
        elif not mount.path or not mount.path.startswith("/") or mount.path.strip("/") == "":
            raise errors.SpecError(f"{place}.path", "a directory below / is required")
        elif paths.index(mount.path) != number:
            raise errors.SpecError(f"{place}.path", f"two volumes cannot be at {mount.path[:100]}")
