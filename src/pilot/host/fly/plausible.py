"""Whether a Machine of this config could begin, before anything is done for it, or to the one that runs.

    config ─ containers.plan, on an image that is good for everything ─► what pilot would be asked for ─► each rule

An update stops the Machine of before when it has the images of the new one. What no image and no secret can mend (a
file at a relative path, a variable with a `=`, containers that wait for each other) is therefore refused here. The
rules are those of the machine's own agent (`pilot.agent.graph.checking`), which has the last word; a test asks both.
"""

from __future__ import annotations

import graphlib
import re
import signal
from collections.abc import Iterator, Mapping, Sequence

from ... import errors
from ...image.oci.documents import Execution
from ...wire import graph
from . import config as configs
from . import containers
from .config import Config
from .containers import Given, ImageOf, Platform

MOST_S = 86_400.0
_MOST_BYTES = 1 << 50
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}(:[0-9]{1,10})?")
_VOLUME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_RESERVED = frozenset({"world", "machine"})
_MODE = re.compile(r"0?[0-7]{3,4}")
_METHOD, _TARGET = re.compile(r"[A-Z]{1,16}"), re.compile(r"/[\x21-\x7e]*")
_HEADER, _VALUE = re.compile(r"[A-Za-z0-9-]+"), re.compile(r"[\x20-\x7e]*")
_ANY = Platform(app="app", machine="machine", version="version", region="local", image="image", memory_mb=256)


class _Any(dict[str, str]):
    """Secrets, of which each name that is asked for is one: whether they are set is known when it starts."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""


def check(config: Config) -> None:
    """`SpecError` with the place of what cannot be."""
    images = [
        ImageOf(name, image, digest="", volume="", config=Execution(cmd=("program",)))
        for name, image in configs.images(config).items()
    ]
    roots = {image.container: "/run/disks/root" for image in images}
    volumes = dict.fromkeys(configs.volumes(config), "/run/disks/volume")
    planned = containers.plan(config, images, Given(roots, volumes, _Any()), _ANY)
    places = [_place(config, number) for number in range(len(planned.containers))]
    names = [volume.name for volume in planned.volumes]
    for number, volume in enumerate(planned.volumes):
        if not _VOLUME.fullmatch(volume.name) or volume.name in _RESERVED or names.index(volume.name) != number:
            raise errors.SpecError(f"config.volumes[{number}].name", f"{volume.name[:50]!r} is no name, or that of two")
        if volume.size_bytes is not None and not 4096 <= volume.size_bytes <= _MOST_BYTES:
            raise errors.SpecError(
                f"config.volumes[{number}].temp_dir.size_mb", f"{volume.size_bytes} bytes are no size"
            )
    for place, container in zip(places, planned.containers, strict=True):
        for where, what in _faults(container, frozenset(names)):
            raise errors.SpecError(f"{place}.{where}", what)
    _check_order(planned.containers, places)


def _place(config: Config, number: int) -> str:
    kind = "containers" if config.containers else "processes" if config.processes else None
    return "config" if kind is None else f"config.{kind}[{number}]"


def _faults(container: graph.Container, volumes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with one of them, by itself: where, and what."""
    if not container.command or not container.command[0] or any("\0" in word for word in container.command):
        yield "exec", "a command has a program, and no NUL"
    for name, value in container.environment.items():
        if not name or "=" in name or "\0" in name + value:
            yield f"env[{name[:50]!r}]", "a name has no = and no NUL, and a value no NUL"
    if container.user is not None and not _USER.fullmatch(container.user):
        yield "user", f"{container.user[:50]!r} is neither uid[:gid] nor a name"
    if container.restart.max_retries is not None and not 0 <= container.restart.max_retries <= 1 << 31:
        yield "restart.max_retries", f"{container.restart.max_retries} is no number of times"
    if not _is_signal(container.stop.signal):
        yield "stop_config.signal", f"there is none called {container.stop.signal[:50]!r}"
    if not 0 <= container.stop.timeout_s <= MOST_S:
        yield "stop_config.timeout", f"is not from 0 to {MOST_S:g} s"
    for number, file in enumerate(container.files):
        if not _is_absolute(file.path):
            yield f"files[{number}].guest_path", f"{file.path[:100]!r} is no absolute path"
        if not _MODE.fullmatch(file.mode):
            yield f"files[{number}].mode", f"{file.mode[:50]} is no mode"
    for number, mount in enumerate(container.mounts):
        if not _is_absolute(mount.path):
            yield f"mounts[{number}].path", f"{mount.path[:100]!r} is no absolute path"
        if mount.volume is not None and mount.volume not in volumes:
            yield f"mounts[{number}].name", f"there is no volume {mount.volume[:50]!r}"
    names: set[str] = set()
    for number, each in enumerate(container.checks):
        if not each.name or each.name in names:
            yield f"healthchecks[{number}].name", "each check of a container has a name of its own"
        names.add(each.name)
        for what in _faults_of_check(each):
            yield f"healthchecks[{number}]", what


def _faults_of_check(check: graph.Check) -> Iterator[str]:
    if len([1 for probe in (check.http, check.tcp, check.exec) if probe is not None]) != 1:
        yield "is exactly one of http, tcp and exec"
    probe = check.http or check.tcp
    if probe is not None and not 1 <= probe.port <= 65535:
        yield f"{probe.port} is no port"
    if check.http is not None and not (_METHOD.fullmatch(check.http.method) and _TARGET.fullmatch(check.http.path)):
        yield "has a method of capital letters, and a path that begins at /"
    for name, value in check.http.headers.items() if check.http is not None else ():
        if not (_HEADER.fullmatch(name) and _VALUE.fullmatch(value)):
            yield f"{name[:50]!r} is no header"
    if check.exec is not None and (not check.exec.command or not check.exec.command[0]):
        yield "a command has a program"
    if check.exec is not None and any("\0" in word for word in check.exec.command):
        yield "a command has no NUL"
    for seconds, least in ((check.interval_s, 0.01), (check.timeout_s, 0.01), (check.grace_period_s, 0.0)):
        if not least <= seconds <= MOST_S:
            yield f"{seconds:g} s is not from {least:g} to {MOST_S:g}"
    for threshold in (check.success_threshold, check.failure_threshold):
        if not 1 <= threshold <= 1000:
            yield f"a threshold of {threshold} is not from 1 to 1000"


def _check_order(wanted: Sequence[graph.Container], places: Sequence[str]) -> None:
    by_name: Mapping[str, graph.Container] = {container.name: container for container in wanted}
    for place, container in zip(places, wanted, strict=True):
        for number, each in enumerate(container.depends_on):
            here, other = f"{place}.depends_on[{number}]", by_name.get(each.name)
            if other is None:
                raise errors.SpecError(here, f"there is no container {each.name[:50]!r}")
            if each.condition == "healthy" and not other.checks:
                raise errors.SpecError(here, f"{other.name} has no check, and never becomes healthy")
            if each.condition == "exited_successfully" and other.restart.policy == "always":
                raise errors.SpecError(here, f"{other.name} is always started again")
    needs = {container.name: [each.name for each in container.depends_on] for container in wanted}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        way = " → ".join(reversed(error.args[1]))
        raise errors.SpecError("config.containers", f"{way}: none of them could be started") from error


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path


def _is_signal(text: str) -> bool:
    name = text.strip().upper()
    if name.isascii() and name.isdigit():
        return 0 < int(name) < signal.NSIG
    return name.removeprefix("SIG") in {each.name.removeprefix("SIG") for each in signal.Signals}
