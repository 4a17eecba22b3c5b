"""What of a Machine pilot is asked for: containers of its graph, each on the root that it was given."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import msgspec

from ... import errors
from ...image.oci import execution
from ...image.oci.documents import Execution
from ...wire import graph
from . import checks
from . import config as configs
from .checks import place
from .config import ALONE, Config, Container, EnvFrom, File, Healthcheck, MachineProcess, Restart

STOP_S = 5.0  # Fly's: kill_timeout
MOST_STOP_S = 300.0
MOST_RETRIES = 10
SPRITE = "sprite://"  # an image that is a checkpoint: sprite://NAME/CHECKPOINT
_SIGNAL = "INT"  # Fly's, where neither the Machine nor its image says another


class OfCheckpoint(msgspec.Struct, frozen=True):
    """By ids. `environment`: of the sprite, until its disk has been looked at (`operations.fly_looks`); then None."""

    sprite: str
    checkpoint: str
    environment: dict[str, str] | None = None


class ImageOf(msgspec.Struct, frozen=True):
    """What a container's root is a fork of. `volume`: the sealed base of that digest. `of`: made of a sprite's disk."""

    container: str
    reference: str
    digest: str
    volume: str
    config: Execution = Execution()
    of: OfCheckpoint | None = None


class Platform(msgspec.Struct, frozen=True):
    """What each container reads about its Machine, over whatever was wanted under these names."""

    app: str
    machine: str
    version: str
    region: str
    image: str
    memory_mb: int
    private_ip: str = ""

    def environment(self) -> dict[str, str]:
        found = {
            "FLY_APP_NAME": self.app, "FLY_MACHINE_ID": self.machine, "FLY_ALLOC_ID": self.machine,
            "FLY_MACHINE_VERSION": self.version, "FLY_REGION": self.region, "PRIMARY_REGION": self.region,
            "FLY_IMAGE_REF": self.image, "FLY_VM_MEMORY_MB": str(self.memory_mb), "FLY_PRIVATE_IP": self.private_ip,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def field(self, name: str) -> str:
        """As `env_from` calls them."""
        fields = {
            "id": self.machine, "version": self.version, "app_name": self.app, "private_ip": self.private_ip,
            "region": self.region, "image": self.image,
        }  # fmt: skip
        return fields[name]


class Given(msgspec.Struct, frozen=True):
    """What a Machine has beside its images: roots by container and volumes by id, where they are in the machine; the
    values of its app's secrets, as they were at `secrets_version` or later."""

    roots: Mapping[str, str]
    volumes: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    secrets_version: int = 0


def plan(config: Config, images: Sequence[ImageOf], given: Given, platform: Platform) -> graph.GraphRequest:
    """`SpecError` for what no container can be."""
    by_name = {image.container: image for image in images}
    planned, checked = [], place(wanted(config))
    for each in wanted(config):
        root = each.name if config.containers else ALONE
        planned.append(_container(config, each, by_name[root], given, platform))
    return graph.GraphRequest(
        containers=[
            msgspec.structs.replace(each, checks=[*each.checks, *checks.plan(config)]) if each.name == checked else each
            for each in planned
        ],
        volumes=[
            graph.Volume(name=each.name, size_bytes=_bytes(each.temp_dir.size_mb if each.temp_dir else None))
            for each in config.volumes or ()
        ],
    )


def wanted(config: Config) -> tuple[Container, ...]:
    """What it consists of: its containers, or its image once for each of its processes, or once."""
    if config.containers:
        return config.containers
    if not config.processes:
        return (_alone(config),)
    return tuple(_process(config, each, number) for number, each in enumerate(config.processes))


def names(config: Config) -> tuple[str, ...]:
    """By which they are asked for, the first of them first."""
    return tuple(each.name for each in wanted(config))


def _alone(config: Config) -> Container:
    """The Machine's image as its only container."""
    init = config.init or configs.Init()
    return Container(
        name=ALONE, image=config.image or "", exec=init.exec, entrypoint=init.entrypoint, cmd=init.cmd,
        files=config.files, restart=config.restart, stop=config.stop_config,
        mounts=tuple(configs.ContainerMount(mount.volume or "", mount.path or "") for mount in config.mounts or ()),
    )  # fmt: skip


def _process(config: Config, wanted: MachineProcess, number: int) -> Container:
    """On the root that all of them share. `init` is what each does that says nothing else."""
    init, only = config.init or configs.Init(), wanted.secrets
    return msgspec.structs.replace(
        _alone(config),
        name=f"{ALONE}-{number}" if number else ALONE,
        exec=wanted.exec or init.exec,
        entrypoint=wanted.entrypoint or init.entrypoint,
        cmd=wanted.cmd or init.cmd,
        user=wanted.user,
        env=wanted.env,
        env_from=wanted.env_from,
        secrets=() if only is None and wanted.ignore_app_secrets else only,
    )


def _container(config: Config, wanted: Container, image: ImageOf, given: Given, platform: Platform) -> graph.Container:
    platform = msgspec.structs.replace(platform, image=image.reference)
    environment = {
        **(config.env or {}), **(wanted.env or {}), **_fields(wanted.env_from, platform), **_secrets(wanted, given),
        **platform.environment(),
    }  # fmt: skip
    said = execution.Wanted(wanted.exec, wanted.entrypoint, wanted.cmd, environment, wanted.user)
    planned = execution.plan(image.config, said)
    return graph.Container(
        name=wanted.name,
        command=list(planned.arguments),
        root=graph.Root(path=given.roots[image.container]),
        environment=dict(planned.environment),
        cwd=planned.cwd,
        user=planned.user,
        hostname=platform.machine,
        depends_on=[
            graph.Dependency(name=each.name, condition=each.condition or "started") for each in wanted.depends_on or ()
        ],
        restart=_restart(wanted.restart or config.restart, config),
        checks=[_check(each, number) for number, each in enumerate(wanted.healthchecks or ())],
        stop=_stop(wanted.stop or config.stop_config, image.config),
        files=[_file(each, given, f"{wanted.name}.files[{number}]") for number, each in enumerate(wanted.files or ())],
        mounts=[_mount(config, each, given) for each in wanted.mounts or ()],
    )


def _fields(wanted: Sequence[EnvFrom] | None, platform: Platform) -> dict[str, str]:
    return {each.env_var: platform.field(each.field_ref) for each in wanted or ()}


def _secrets(wanted: Container, given: Given) -> dict[str, str]:
    """As variables: those that it names, else all of the app's."""
    if wanted.secrets is None:
        return dict(given.secrets)
    place = f"{wanted.name}.secrets"
    return {each.env_var: _secret(given, each.name or each.env_var, place) for each in wanted.secrets}


def _secret(given: Given, name: str, place: str) -> str:
    if name not in given.secrets:
        raise errors.SpecError(place, f"the app has no secret {name[:100]!r}")
    return given.secrets[name]


def _mount(config: Config, wanted: configs.ContainerMount, given: Given) -> graph.Mount:
    """Of a volume of the Machine by its name or id, else of a directory that its containers share."""
    for mount in config.mounts or ():
        if wanted.name in (mount.name, mount.volume) and mount.volume is not None:
            return graph.Mount(path=wanted.path, source=given.volumes[mount.volume])
    return graph.Mount(path=wanted.path, volume=wanted.name)


def _restart(wanted: Restart | None, config: Config) -> graph.Restart:
    """Fly's: on-failure, ten times, unless the Machine goes when it has ended."""
    policy = (wanted.policy if wanted else None) or ("no" if config.auto_destroy else "on-failure")
    if policy == "spot-price":
        raise errors.SpecError("config.restart.policy", "this host has no spot prices")
    if policy != "on-failure":
        return graph.Restart(policy=policy)
    retries = wanted.max_retries if wanted else None
    return graph.Restart(policy=policy, max_retries=MOST_RETRIES if retries is None else retries)


def stop_of(config: Config, container: str) -> configs.Stop | None:
    """How a container of the Machine wants to be stopped, if it says."""
    for each in config.containers or ():
        if each.name == container and each.stop is not None:
            return each.stop
    return config.stop_config


def _stop(wanted: configs.Stop | None, image: Execution) -> graph.Stop:
    signal = (wanted.signal if wanted else None) or image.stop_signal or _SIGNAL
    timeout_s = configs.seconds(wanted.timeout if wanted else None, STOP_S, "config.stop_config.timeout")
    return graph.Stop(signal=signal, timeout_s=min(timeout_s, MOST_STOP_S))


def _check(wanted: Healthcheck, number: int) -> graph.Check:
    return graph.Check(
        name=wanted.name or f"check-{number}",
        http=None if wanted.http is None else graph.HttpProbe(
            port=wanted.http.port, path=wanted.http.path or "/", method=wanted.http.method or "GET"),
        tcp=None if wanted.tcp is None else graph.TcpProbe(port=wanted.tcp.port),
        exec=None if wanted.exec is None else graph.ExecProbe(command=list(wanted.exec.command)),
        kind=wanted.kind or "readiness",
        interval_s=float(wanted.interval or 30),
        timeout_s=float(wanted.timeout or 10),
        grace_period_s=float(wanted.grace_period or 0),
        success_threshold=wanted.success_threshold or 1,
        failure_threshold=wanted.failure_threshold or 3,
        unhealthy="stop" if wanted.unhealthy else "report",
    )  # fmt: skip


def _file(wanted: File, given: Given, place: str) -> graph.InjectedFile:
    if (wanted.raw_value is None) == (wanted.secret_name is None):
        raise errors.SpecError(place, "has either a raw_value or a secret_name")
    content = wanted.raw_value
    if content is None:
        content = _secret(given, wanted.secret_name or "", f"{place}.secret_name")
    try:
        base64.b64decode(content, validate=True)
    except ValueError as error:
        what = "raw_value" if wanted.secret_name is None else "secret_name"
        raise errors.SpecError(f"{place}.{what}", "is no base64") from error
    version = None if wanted.secret_name is None else given.secrets_version
    mode = f"{wanted.mode or 0o644:04o}"
    return graph.InjectedFile(path=wanted.guest_path, content=content, mode=mode, version=version)


def secret_files(config: Config, secrets: Mapping[str, str], version: int) -> dict[str, list[graph.FileContent]]:
    """By container, what its files that are secrets say by now. One whose secret has gone, or can be no file any more,
    says what it has said."""
    found: dict[str, list[graph.FileContent]] = {}
    for each in wanted(config):
        for file in each.files or ():
            content = secrets.get(file.secret_name or "")
            if content is not None and _is_base64(content):
                told = graph.FileContent(path=file.guest_path, content=content, version=version)
                found.setdefault(each.name, []).append(told)
    return found


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _bytes(mebibytes: int | None) -> int | None:
    return mebibytes << 20 if mebibytes else None
