"""How an image of a sprite is run: its config's `config` (image-spec, config.md), from what the sprite is.

Of its services one is the image's command: that with the HTTP port, else the only one. What all of them are is told by
the label `pilot.services`; who runs the image may start the others as containers beside it. Without a service the
command is a shell.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ... import errors
from ...image.oci.documents import Execution
from ...wire.services import ServiceRequest
from . import rules
from .about import PERSON, About

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL = ("/bin/bash",)


class _Entry(msgspec.Struct, frozen=True):
    wanted: ServiceRequest
    stopped: bool = False


class _Book(msgspec.Struct, frozen=True):
    services: dict[str, _Entry] = {}


class Origin(msgspec.Struct, frozen=True):
    """What it is an image of; labels tell it."""

    sprite: str
    checkpoint: str


class Settings(msgspec.Struct, frozen=True):
    """`left_out`: the names of variables that look like secrets."""

    config: Execution
    left_out: tuple[str, ...]


def of_nothing_seen(sprite: str, checkpoint: str) -> Execution:
    """What is said of it before its disk was looked at."""
    return Execution(labels=_labels(Origin(sprite, checkpoint)))


def plan(origin: Origin, environment: Mapping[str, str], found: About) -> Settings:
    """`HostError` for services that cannot be read."""
    services = _services(found.services)
    main = _main(services)
    wanted = {**environment, **(main.env if main else {})}
    shown = _without_secrets(wanted)
    home = found.home or "/root"
    variables = {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8", **shown}
    labels = _labels(origin)
    if services:
        labels["pilot.services"] = msgspec.json.encode(_told(services), order="deterministic").decode()
    config = Execution(
        user=PERSON if found.home else "root",
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        cmd=_SHELL if main is None else (main.cmd, *main.args),
        working_dir=(main.dir if main else None) or home,
        exposed_ports={f"{main.http_port}/tcp": {}} if main and main.http_port else None,
        labels=labels,
    )
    return Settings(config, tuple(sorted({*wanted} - {*shown} | _secrets_of(services))))


def _labels(origin: Origin) -> dict[str, str]:
    return {"pilot.sprite": origin.sprite, "pilot.checkpoint": origin.checkpoint}


def _services(text: str) -> dict[str, ServiceRequest]:
    """Those that are to run."""
    if not text:
        return {}
    try:
        book = msgspec.json.decode(text.encode(), type=_Book)
    except errors.UNREADABLE as error:
        raise errors.HostError(f"read the sprite's services: {error}") from error
    return {name: entry.wanted for name, entry in sorted(book.services.items()) if not entry.stopped}


def _main(services: Mapping[str, ServiceRequest]) -> ServiceRequest | None:
    serving = [each for each in services.values() if each.http_port]
    if serving:
        return serving[0]
    return next(iter(services.values())) if len(services) == 1 else None


def _told(services: Mapping[str, ServiceRequest]) -> dict[str, ServiceRequest]:
    return {name: msgspec.structs.replace(each, env=_without_secrets(each.env)) for name, each in services.items()}


def _without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not rules.is_secret_variable(name, value)}


def _secrets_of(services: Mapping[str, ServiceRequest]) -> set[str]:
    return {
        name
        for each in services.values()
        for name, value in each.env.items()
        if name not in _without_secrets({name: value})
    }
