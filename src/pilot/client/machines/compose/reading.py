"""A whole compose file as a plan: values alone, with nothing asked of a server yet."""

from __future__ import annotations

import graphlib
import re

from . import keys
from .document import Item, read
from .files import Files, encoded
from .services import Service, container
from .storage import Named, Storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    JSON = dict[str, Any]

# As the server has them.
MOST_SERVICES = 128
_MOST_VOLUMES, _MOST_TEMPORARY, _MOST_PORTS, _MOST_SECRET_BYTES = 64, 256, 1024, 64 << 10
_SECRETS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_SECRET = frozenset(["file", "environment", "external", "name", "labels", "content"])


class Plan:
    """`config` lacks its `mounts`, as ids of `volumes` (by name: whether it must be there already) are the server's.

    `secrets`: values, in base64, that the app's secrets of these names are to have. `notes`: what people are told.
    """

    def __init__(self, config: JSON, volumes: Mapping[str, bool], secrets: Mapping[str, str], notes: list[str]) -> None:
        self.config = config
        self.volumes = dict(volumes)
        self.secrets = dict(secrets)
        self.notes = notes


def plan(data: bytes, file: str, files: Files) -> Plan:
    """`SpecError` with the file, the line and the place in it."""
    top = read(data, file, files.environment)
    sections = _sections(top)
    notes: dict[str, str] = {}
    services = _services(sections.get("services"), top)
    for service in services.values():
        service.check(notes)
    storage = Storage({name: Named(item, name) for name, item in _named(sections, "volumes")}, notes)
    secrets: dict[str, str] = {}
    grants = {
        "configs": {name: _config(item, files) for name, item in _named(sections, "configs")},
        "secrets": {name: _secret(item, name, files, secrets) for name, item in _named(sections, "secrets")},
        "declared": "secrets" in sections,
    }
    containers = [container(each, services, files, storage, grants) for each in services.values()]
    _check_order(containers, services)
    _put_names(containers, services)
    _check_many(top, services, storage)
    config: JSON = {"containers": containers}
    if ports := _ports(services):
        config["services"] = ports
    if storage.temporary:
        config["volumes"] = storage.temporary
    return Plan(
        config,
        {each.name: each.is_external for each in storage.wanted.values() if each.temporary is None},
        secrets,
        list(notes.values()),
    )


def _sections(top: Item) -> dict[str, Item]:
    for key, item in top.mapping().items():
        if key in keys.TOP_REFUSED:
            item.refuse("is not there", hint=keys.TOP_REFUSED[key])
    return top.check_keys(keys.TOP)


def _named(sections: Mapping[str, Item], name: str) -> list[tuple[str, Item]]:
    item = sections.get(name)
    return [(key, each) for key, each in item.mapping().items() if not key.startswith("x-")] if item else []


def _services(item: Item | None, top: Item) -> dict[str, Service]:
    every = [Service(each, name) for name, each in item.mapping().items()] if item is not None else []
    found = {each.called: each for each in every if each.is_wanted}
    if not found:
        (item or top).refuse("there is no service")
    assert item is not None
    if len(found) > MOST_SERVICES:
        item.refuse(f"more than {MOST_SERVICES} services")
    names: dict[str, str] = {}
    for each in found.values():
        if each.name in names:
            each.item.refuse(f"{each.called} and {names[each.name]} would be one container, {each.name}")
        names[each.name] = each.called
    return found


def _check_many(top: Item, services: Mapping[str, Service], storage: Storage) -> None:
    rows = (
        ("volumes", sum(each.temporary is None for each in storage.wanted.values()), _MOST_VOLUMES),
        ("temporary directories", len(storage.temporary), _MOST_TEMPORARY),
        ("ports", sum(len(each.ports()) for each in services.values()), _MOST_PORTS),
    )
    for what, many, most in rows:
        if many > most:
            top.refuse(f"more than {most} {what} of all services")


def _check_order(containers: list[JSON], services: Mapping[str, Service]) -> None:
    needs = {each["name"]: [other["name"] for other in each.get("depends_on", [])] for each in containers}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        way = list(reversed(error.args[1]))
        place = next(each.item for each in services.values() if each.name == way[0])
        place.refuse(f"{' → '.join(way)}: none of them could be started")


def _ports(services: Mapping[str, Service]) -> list[JSON]:
    """One service of the Machine for each port inside. Who listens at a port of a network is one alone."""
    found: dict[tuple[int, str], tuple[Service, JSON]] = {}
    outside: set[tuple[int, str]] = set()
    for service in services.values():
        for inside, protocol, port, item in service.ports():
            owner, row = found.setdefault(
                (inside, protocol), (service, {"protocol": protocol, "internal_port": inside, "ports": []})
            )
            if owner is not service:
                item.refuse(
                    f"port {inside} is that of {owner.called}, too, and both are in one network",
                    hint="let one of them listen at another port",
                )
            if (port["port"], protocol) in outside:
                item.refuse(f"port {port['port']} is said twice")
            outside.add((port["port"], protocol))
            row["ports"].append(port)
    return [row for _, row in found.values()]


def _put_names(containers: list[JSON], services: Mapping[str, Service]) -> None:
    """Services ask each other by name: in one network, at this host. Who brings its own file of names keeps it."""
    names = dict.fromkeys(alias for service in services.values() for alias in service.aliases)
    if len(services) < 2:
        return
    text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t" + " ".join(names) + "\n"
    for each in containers:
        files = each.setdefault("files", [])
        if all(file["guest_path"] != "/etc/hosts" for file in files):
            files.append({"guest_path": "/etc/hosts", "raw_value": encoded(text.encode()), "mode": 0o644})


def _config(item: Item, files: Files) -> JSON:
    return {"raw_value": encoded(_content(item, item.check_keys(_SECRET), files))}


def _secret(item: Item, called: str, files: Files, values: dict[str, str]) -> JSON:
    said = item.check_keys(_SECRET - {"content"})
    name = said["name"].text() if "name" in said else re.sub(r"\W", "_", called, flags=re.ASCII)
    name = f"_{name}" if name[:1].isdecimal() else name
    if not _SECRETS.fullmatch(name):
        item.refuse(f"{name[:50]!r} is no name of a secret of an app", hint="letters, digits and _")
    if name in values:
        item.refuse(f"two secrets would be the app's {name}")
    if "external" not in said or not said["external"].boolean():
        values[name] = encoded(_content(item, said, files))
        if len(values[name]) > _MOST_SECRET_BYTES:
            item.refuse(f"more than {_MOST_SECRET_BYTES} bytes, in base64, are no secret of an app")
    return {"secret_name": name}


def _content(item: Item, said: Mapping[str, Item], files: Files) -> bytes:
    import os

    sources = [key for key in ("file", "environment", "content") if key in said]
    if len(sources) != 1:
        item.refuse("has exactly one of file, environment and content")
    source = said[sources[0]]
    if sources[0] == "content":
        return source.text().encode()
    if sources[0] == "file":
        return files.read(os.path.join(files.base, os.path.expanduser(source.text())), source)[0]
    if source.text() not in files.environment:
        source.refuse(f"variable {source.text()[:50]} is not set")
    return files.environment[source.text()].encode(errors="surrogateescape")
