"""What a run.json means, as containers of the graph: pure. What cannot be meant is a `SpecError` with its path."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import re

from ... import errors
from ...wire import schema
from ...wire.graph import Container, InjectedFile, Mount, Restart, Root, Stop
from ...wire.run_file import ImageConfig, IPConfig, RunFile
from .. import names
from ..graph import container_spec
from ..world_spec import Person

APP, MAIN = "app", "main"
REAPER = "/.pilot/init"
ROOT_DEVICE = "/dev/vdb"
_V4_WITH_NEXT = 30
# A private IPv6 network's: the default route is another address's.
_V6_WITHOUT_ROUTE = 112
_HOSTNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something of run.json is in the machine."""

    root: str
    mounts: tuple[str, ...]


def check(run: RunFile) -> None:
    """All that can be told without its root."""
    argv(run)
    _environment(run)
    network(run)
    if not _HOSTNAME.fullmatch(run.hostname):
        raise errors.SpecError("$.Hostname", f"{run.hostname!r} is no host name")
    for number, mount in enumerate(run.mounts or ()):
        for name, path in (("MountPath", mount.mount_path), ("DevicePath", mount.device_path)):
            _check_absolute(path, f"$.Mounts[{number}].{name}")
    _check_absolute(run.root_device or ROOT_DEVICE, "$.RootDevice")
    _check_absolute(_image(run).working_dir or "/", "$.ImageConfig.WorkingDir")


def argv(run: RunFile) -> list[str]:
    """The main process's words."""
    image = _image(run)
    command = image.cmd or [] if run.cmd_override is None else [run.cmd_override]
    words = [*(image.entrypoint or []), *command] if run.exec_override is None else run.exec_override
    if not words or not words[0]:
        raise errors.SpecError("$", "neither ExecOverride nor ImageConfig names a program")
    if any("\0" in word for word in words):
        raise errors.SpecError("$", "a NUL byte cannot be passed to a process")
    return list(words)


def user(run: RunFile) -> str:
    """Who runs it, as it is written."""
    return run.user_override or _image(run).user or "root"


def person(run: RunFile, passwd: str, group: str) -> Person:
    """Who that is by these texts. `user[:group]`, each a name or a number; no groups but that one."""
    name, _, group_name = user(run).partition(":")
    found = container_spec.person(name, passwd, group)
    if found is None:
        raise errors.HostError(f"find user {name!r}: /etc/passwd of the root has none of that name")
    gid = found.gid if not group_name else _gid(group_name, group)
    return Person(name=found.name, uid=found.uid, gid=gid, home=found.home)


def containers(run: RunFile, place: Place, person: Person, reaper: bytes) -> tuple[Container, Container]:
    """The root with its reaper, and the main process in it: signals of a PID 1 would be lost on it."""
    environment = {"HOME": person.home, **_environment(run)}
    never = Restart(policy="no")
    mounts = [
        Mount(path=mount.mount_path, source=source)
        for mount, source in zip(run.mounts or (), place.mounts, strict=True)
    ]
    app = Container(
        name=APP, root=Root(path=place.root), command=[REAPER, "--reaper"], environment=environment, restart=never,
        hostname=run.hostname, mounts=mounts, files=[*_files(run), _file(REAPER, reaper, "0755")],
    )  # fmt: skip
    main = Container(
        name=MAIN, within=APP, command=argv(run), environment=environment, restart=never,
        user=f"{person.uid}:{person.gid}", cwd=_image(run).working_dir or "/", stop=Stop(signal="INT", timeout_s=5.0),
    )  # fmt: skip
    return app, main


def network(run: RunFile) -> schema.NetworkCard | None:
    """Addresses and default routes of eth0."""
    addresses, gateways = [], []
    for number, config in enumerate(run.ip_configs or ()):
        try:
            addresses += _addresses(config)
            gateways += _gateways(config)
        except ValueError as error:
            raise errors.SpecError(f"$.IPConfigs[{number}]", str(error)) from error
    return schema.NetworkCard(addresses=addresses, gateways=gateways) if addresses else None


def hosts(run: RunFile) -> str:
    """/etc/hosts, anew at each start: it does not grow."""
    lines = [names.plan_hosts("", run.hostname)]
    for row in run.etc_hosts or ():
        lines.append(f"\n# {row.desc}\n" if row.desc else "\n")
        lines.append(f"{row.ip}\t{row.host}\n")
    return "".join(lines)


# ---- parts ----------------------------------------------------------------------------------------------------------


def _image(run: RunFile) -> ImageConfig:
    return run.image_config or ImageConfig()


def _environment(run: RunFile) -> dict[str, str]:
    found = {}
    for number, text in enumerate(_image(run).env or ()):
        name, separator, value = text.partition("=")
        _check_variable(name if separator else "", value, f"$.ImageConfig.Env[{number}]")
        found[name] = value
    for name, value in (run.extra_env or {}).items():
        _check_variable(name, value, f"$.ExtraEnv.{name}")
        found[name] = value
    return found


def _check_variable(name: str, value: str, path: str) -> None:
    if not name or "=" in name or "\0" in name + value:
        raise errors.SpecError(path, "each is NAME=value; a name has no = and no NUL, and a value no NUL")


def _check_absolute(place: str, path: str) -> None:
    if not place.startswith("/") or "\0" in place:
        raise errors.SpecError(path, f"{place!r} is no absolute path")


def _addresses(config: IPConfig) -> list[str]:
    """Of an IPv4 in a network of more than four the next one, too, is the machine's. `ValueError`."""
    ip = ipaddress.ip_interface(config.ip).ip
    own = [ip, ip + 1] if ip.version == 4 and config.mask < _V4_WITH_NEXT else [ip]
    return [str(ipaddress.ip_interface(f"{each}/{config.mask}")) for each in own]


def _gateways(config: IPConfig) -> list[str]:
    gateway = ipaddress.ip_interface(config.gateway).ip
    routed = gateway.version == 4 or config.mask != _V6_WITHOUT_ROUTE
    return [str(gateway)] if routed else []


def _gid(name: str, group: str) -> int:
    if name.isdecimal() and len(name) <= 10:
        return int(name)
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
            return int(fields[2])
    raise errors.HostError(f"find group {name!r}: /etc/group of the root has none of that name")


def _files(run: RunFile) -> list[InjectedFile]:
    contents = {"/etc/hosts": hosts(run)}
    if run.etc_resolv is not None:
        contents["/etc/resolv.conf"] = "".join(f"nameserver\t{each}\n" for each in run.etc_resolv.nameservers)
    return [_file(path, text.encode(), "0644") for path, text in contents.items()]


def _file(path: str, content: bytes, mode: str) -> InjectedFile:
    return InjectedFile(path=path, content=base64.b64encode(content).decode(), mode=mode)
