"""What a host may want: refused here, with the JSON path, or good to be carried out. Pure."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Mapping, Sequence

from ... import errors
from ...wire import faults
from ...wire.graph import Check, Container, ContainerSpec, InjectedFile, Limits, Mount, Restart, Volume
from .. import signal_names
from ..containers import naming
from . import deciding

MOST_CONTAINERS = 128
MOST_LOG_BYTES = 16 << 20
MOST_S = 86_400.0
RESERVED = frozenset({naming.WORLD, "machine"})
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}(:[0-9]{1,10})?")


def check_graph(containers: Sequence[Container], volumes: Sequence[Volume], run: str) -> None:
    """`SpecError` where something cannot be wanted. `run` is the agent's own directory, which no container sees."""
    if len(containers) > MOST_CONTAINERS:
        raise errors.SpecError("$.containers", f"{len(containers)} where at most {MOST_CONTAINERS} are possible")
    _check_volumes(volumes)
    names: dict[str, int] = {}
    for number, container in enumerate(containers):
        path = f"$.containers[{number}]"
        _check_name(container.name, f"{path}.name")
        if container.name in names:
            raise errors.SpecError(
                f"{path}.name", f"{container.name} is the name of $.containers[{names[container.name]}]"
            )
        names[container.name] = number
        check_container(container, frozenset(volume.name for volume in volumes), run, path)
    by_name = {container.name: container for container in containers}
    for number, container in enumerate(containers):
        _check_needs(container, by_name, f"$.containers[{number}]")
    _check_cycles(by_name, names)


def check_container(container: ContainerSpec, volumes: frozenset[str], run: str, path: str) -> None:
    """One of them, by itself."""
    _check_command(container.command, f"{path}.command")
    if (container.root is None) == (container.within is None):
        raise errors.SpecError(path, "it has either a root or a container to be within")
    if container.root is not None:
        check_place(container.root.path, run, f"{path}.root.path")
    else:
        _check_within(container, path)
    _check_environment(container.environment, f"{path}.environment")
    if container.cwd is not None:
        _check_absolute(container.cwd, f"{path}.cwd")
    if container.user is not None and not _USER.fullmatch(container.user):
        raise errors.SpecError(f"{path}.user", f"{container.user!r} is neither uid[:gid] nor a name")
    if container.hostname is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}", container.hostname):
        raise errors.SpecError(f"{path}.hostname", f"{container.hostname!r} is no host name")
    _check_restart(container.restart, f"{path}.restart")
    _check_stop(container, f"{path}.stop")
    _check_checks(container.checks, f"{path}.checks")
    for number, file in enumerate(container.files):
        _check_file(file, f"{path}.files[{number}]")
    for number, mount in enumerate(container.mounts):
        _check_mount(mount, volumes, run, f"{path}.mounts[{number}]")
    _check_limits(container.limits, f"{path}.limits")
    _check_range(container.log_bytes, 1, MOST_LOG_BYTES, f"{path}.log_bytes")


def check_place(place: str, run: str, path: str) -> None:
    """What a container may see of the machine: nothing that has the agent's own things in it, or is in them."""
    _check_absolute(place, path)
    clean = posixpath.normpath(place)
    secret = (f"{run}/pilot", f"{run}/containers", f"{run}/pilot-agent", "/proc", "/sys", "/dev", "/usr/lib/pilot")
    for mine in secret:
        if clean == "/" or f"{mine}/".startswith(f"{clean}/") or f"{clean}/".startswith(f"{mine}/"):
            raise errors.SpecError(path, f"{place} would show the container what is the machine's own ({mine})")


def _check_name(name: str, path: str) -> None:
    try:
        naming.check_name(name)
    except faults.InvalidRequest as error:
        raise errors.SpecError(path, str(error)) from error
    if name in RESERVED:
        raise errors.SpecError(path, f"{name} is the name of something else")


def _check_within(container: ContainerSpec, path: str) -> None:
    """What another container decides cannot be wanted."""
    for name, given in (
        ("files", container.files), ("mounts", container.mounts), ("hostname", container.hostname),
        ("limits", container.limits != Limits()),
    ):  # fmt: skip
        if given:
            raise errors.SpecError(f"{path}.{name}", f"it runs within {container.within}, whose {name} it has")


def _check_command(command: Sequence[str], path: str) -> None:
    if not command or not command[0]:
        raise errors.SpecError(path, "it has a program")
    if any("\0" in word for word in command):
        raise errors.SpecError(path, "a NUL byte cannot be passed to a process")


def _check_environment(environment: Mapping[str, str], path: str) -> None:
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise errors.SpecError(f"{path}.{name}", "a name has no = and no NUL, and a value no NUL")


def _check_absolute(place: str, path: str) -> None:
    if not place.startswith("/") or "\0" in place:
        raise errors.SpecError(path, f"{place!r} is no absolute path")


def _check_range(number: float, least: float, most: float, path: str) -> None:
    if not least <= number <= most:
        raise errors.SpecError(path, f"{number:g} is not from {least:g} to {most:g}")


def _check_restart(restart: Restart, path: str) -> None:
    _check_range(restart.first_delay_s, 0.01, MOST_S, f"{path}.first_delay_s")
    _check_range(restart.most_delay_s, restart.first_delay_s, MOST_S, f"{path}.most_delay_s")
    _check_range(restart.stable_s, 0, MOST_S, f"{path}.stable_s")
    if restart.max_retries is not None:
        _check_range(restart.max_retries, 0, 1 << 31, f"{path}.max_retries")


def _check_stop(container: ContainerSpec, path: str) -> None:
    _check_range(container.stop.timeout_s, 0, MOST_S, f"{path}.timeout_s")
    try:
        signal_names.parse_signal(container.stop.signal)
    except faults.InvalidRequest as error:
        raise errors.SpecError(f"{path}.signal", str(error)) from error


def _check_checks(checks: Sequence[Check], path: str) -> None:
    names = [check.name for check in checks]
    for number, check in enumerate(checks):
        here = f"{path}[{number}]"
        if names.index(check.name) != number or not check.name:
            raise errors.SpecError(f"{here}.name", "each check of a container has a name of its own")
        asked = [kind for kind in ("http", "tcp", "exec") if getattr(check, kind) is not None]
        if len(asked) != 1:
            raise errors.SpecError(here, "it is exactly one of http, tcp and exec")
        probe = check.http or check.tcp
        if probe is not None:
            _check_range(probe.port, 1, 65535, f"{here}.{asked[0]}.port")
        if check.http is not None:
            _check_http(check.http.method, check.http.path, check.http.headers, f"{here}.http")
        if check.exec is not None:
            _check_command(check.exec.command, f"{here}.exec.command")
        for name in ("interval_s", "timeout_s"):
            _check_range(getattr(check, name), 0.01, MOST_S, f"{here}.{name}")
        _check_range(check.grace_period_s, 0, MOST_S, f"{here}.grace_period_s")
        for name in ("success_threshold", "failure_threshold"):
            _check_range(getattr(check, name), 1, 1000, f"{here}.{name}")


def _check_http(method: str, target: str, headers: Mapping[str, str], path: str) -> None:
    if not re.fullmatch(r"[A-Z]{1,16}", method):
        raise errors.SpecError(f"{path}.method", f"{method!r} is no method")
    if not re.fullmatch(r"/[\x21-\x7e]*", target):
        raise errors.SpecError(f"{path}.path", f"{target!r} is no path of a URL")
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise errors.SpecError(f"{path}.headers.{name}", "it is no header")


def _check_file(file: InjectedFile, path: str) -> None:
    _check_absolute(file.path, f"{path}.path")
    if not re.fullmatch(r"0?[0-7]{3,4}", file.mode):
        raise errors.SpecError(f"{path}.mode", f"{file.mode!r} is no mode in octal")
    for name in ("uid", "gid"):
        _check_range(getattr(file, name), 0, 65535, f"{path}.{name}")
    if file.version is not None:
        _check_range(file.version, 0, 1 << 62, f"{path}.version")
    check_content(file.content, f"{path}.content")


def check_content(content: str, path: str) -> None:
    """`SpecError` for what is no base64."""
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.SpecError(path, f"it is no base64: {error}") from error


def _check_mount(mount: Mount, volumes: frozenset[str], run: str, path: str) -> None:
    _check_absolute(mount.path, f"{path}.path")
    if (mount.volume is None) == (mount.source is None):
        raise errors.SpecError(path, "it has either a volume or a source")
    if mount.volume is not None and mount.volume not in volumes:
        raise errors.SpecError(f"{path}.volume", f"there is no volume {mount.volume!r}")
    if mount.source is not None:
        check_place(mount.source, run, f"{path}.source")


def _check_limits(limits: Limits, path: str) -> None:
    for name, least, most in (("memory_bytes", 1 << 20, 1 << 62), ("processes", 1, 1 << 22), ("cpus", 0.01, 4096)):
        given = getattr(limits, name)
        if given is not None:
            _check_range(given, least, most, f"{path}.{name}")


def _check_volumes(volumes: Sequence[Volume]) -> None:
    names = [volume.name for volume in volumes]
    for number, volume in enumerate(volumes):
        path = f"$.volumes[{number}]"
        _check_name(volume.name, f"{path}.name")
        if names.index(volume.name) != number:
            raise errors.SpecError(f"{path}.name", f"there are two volumes {volume.name}")
        if volume.size_bytes is not None:
            _check_range(volume.size_bytes, 4096, 1 << 50, f"{path}.size_bytes")


def _check_needs(container: Container, by_name: Mapping[str, Container], path: str) -> None:
    within = container.within
    if within is not None and within != naming.WORLD:
        if within not in by_name:
            raise errors.SpecError(f"{path}.within", f"there is no container {within!r}")
        if by_name[within].root is None:
            raise errors.SpecError(f"{path}.within", f"{within} has no root of its own")
    for number, dependency in enumerate(container.depends_on):
        here = f"{path}.depends_on[{number}]"
        other = by_name.get(dependency.name)
        if other is None:
            raise errors.SpecError(f"{here}.name", f"there is no container {dependency.name!r}")
        if dependency.condition == "healthy" and not other.checks:
            raise errors.SpecError(f"{here}.condition", f"{other.name} has no check, and never becomes healthy")
        if dependency.condition == "exited_successfully" and other.restart.policy == "always":
            raise errors.SpecError(f"{here}.condition", f"{other.name} is always started again")


def _check_cycles(by_name: Mapping[str, Container], numbers: Mapping[str, int]) -> None:
    """Depth first; what is found is told as the way round."""
    done: set[str] = set()
    for start in by_name:
        way: list[str] = []
        _walk(start, by_name, numbers, way, done)


def _walk(
    name: str, by_name: Mapping[str, Container], numbers: Mapping[str, int], way: list[str], done: set[str]
) -> None:
    if name in way:
        round_ = [*way[way.index(name) :], name]
        path = f"$.containers[{numbers[way[-1]]}].depends_on"
        raise errors.SpecError(path, f"{' → '.join(round_)}: none of them could be started")
    if name in done or name not in by_name:
        return
    way.append(name)
    for other in sorted(deciding.needs(by_name[name])):
        _walk(other, by_name, numbers, way, done)
    way.pop()
    done.add(name)
