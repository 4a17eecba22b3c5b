"""Volumes of a compose file: the app's own volumes, temporary directories, and files of this host, which are copied.

a named one                    a volume of the app of that name, made if there is none   (it outlives the Machine)
  with driver_opts type: tmpfs   a temporary directory in memory that its services share
an unnamed one                 a temporary directory of that service
tmpfs                          the same, in memory
a file of this host            a file of the container, as it is now; a directory is refused
"""

from __future__ import annotations

import os
import posixpath
import re

from . import fields
from .document import Item
from .files import Files, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    JSON = dict[str, Any]

_VOLUMES = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_TEMPORARY = re.compile(r"[a-z1-9][a-z0-9-]{0,30}", re.ASCII)
_RESERVED = frozenset({"world", "machine"})
_VOLUME = frozenset(["driver", "driver_opts", "external", "labels", "name"])
_LONG = frozenset(["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"])
_TMPFS = frozenset({"type", "device", "o"})
_FIXED = "a file of the host is copied into the Machine as it is now: what is written to it is not seen here"


def slug(called: str) -> str:
    """As containers and temporary volumes are called."""
    return re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-")


class Named:
    """A volume at the top of the file. `name` is the app's for it, or the Machine's for one that is `temporary`."""

    def __init__(self, item: Item, called: str) -> None:
        said = item.check_keys(_VOLUME)
        driver = said.get("driver")
        if driver is not None and driver.text() != "local":
            driver.refuse("only local is possible")
        external = said.get("external")
        if external is not None and external.is_mapping:
            said = {**said, **external.check_keys(frozenset({"name"}))}
        self.item = item
        self.is_external = external is not None and (external.is_mapping or external.boolean())
        name = said.get("name")
        self.name = called if name is None or name.is_nothing else name.text()
        self.temporary = _temporary(said["driver_opts"]) if "driver_opts" in said else None
        if self.temporary is not None:
            self.name = slug(called)
        known = _TEMPORARY if self.temporary is not None else _VOLUMES
        if not known.fullmatch(self.name) or (self.temporary is not None and self.name in _RESERVED):
            item.refuse(f"{self.name[:50]!r} is no name of a volume", hint="give it another one: name: …")


class Storage:
    """`named` are those at the top; `temporary` and `wanted` are filled by what services mount."""

    def __init__(self, named: Mapping[str, Named], notes: dict[str, str]) -> None:
        self._named = named
        self._notes = notes
        self.temporary: list[JSON] = []
        self.wanted: dict[str, Named] = {}

    def of(self, name: str, volumes: Item | None, tmpfs: Item | None, files: Files) -> tuple[list[JSON], list[JSON]]:
        """The mounts, and the files, of the container of that name."""
        mounts: list[JSON] = []
        injected: list[JSON] = []
        for item in volumes.items() if volumes else ():
            kind, source, target, readonly = _long(item) if item.is_mapping else _short(item)
            if not posixpath.isabs(target):
                item.refuse(f"{target[:50]!r} is no absolute path")
            if kind == "bind":
                injected.append(self._file(item, source, target, files))
            elif kind == "tmpfs":
                mounts.append(self._temporary(name, target, _of_memory(item)))
            elif not source:
                mounts.append(self._temporary(name, target, {"storage_type": "disk"}))
            else:
                if readonly:
                    item.refuse("a volume of a Machine is mounted to be written to")
                mounts.append({"name": self._volume(item, source), "path": target})
        for item in () if tmpfs is None else tmpfs.items() if tmpfs.is_list else [tmpfs]:
            target, _, options = item.text().partition(":")
            if not posixpath.isabs(target):
                item.refuse(f"{target[:50]!r} is no absolute path")
            mounts.append(self._temporary(name, target, {"storage_type": "memory", **_size(item, options)}))
        return mounts, injected

    def _volume(self, item: Item, source: str) -> str:
        named = self._named.get(source)
        if named is None:
            item.refuse(f"there is no volume {source[:50]!r} at the top of the file")
        if any(other.name == named.name and other is not named for other in self.wanted.values()):
            item.refuse(f"two volumes are called {named.name}")
        self.wanted[source] = named
        if named.temporary is not None and all(each["name"] != named.name for each in self.temporary):
            self.temporary.append({"name": named.name, "temp_dir": named.temporary})
        return named.name

    def _temporary(self, container: str, target: str, of: JSON) -> JSON:
        """Which no named one is called like: these have no such beginning."""
        name = f"0-{len(self.temporary)}-{container}"[:31].rstrip("-")
        self.temporary.append({"name": name, "temp_dir": of})
        return {"name": name, "path": target}

    def _file(self, item: Item, source: str, target: str, files: Files) -> JSON:
        path = os.path.normpath(os.path.join(files.base, os.path.expanduser(source)))
        if os.path.isdir(path):
            item.refuse(
                f"{source} is a directory of this host, which no Machine sees",
                hint="put it into the image, or onto a volume; single files are copied",
            )
        data, mode = files.read(path, item)
        self._notes.setdefault("bind", f"{item.file}:{item.line}: {item.path}: {_FIXED}")
        return {"guest_path": target, "raw_value": encoded(data), "mode": mode}


def _short(item: Item) -> tuple[str, str, str, bool]:
    """[SOURCE:]TARGET[:OPTIONS]."""
    parts = item.text().split(":")
    options = parts.pop().split(",") if len(parts) > 2 else []
    if len(parts) > 2 or not all(parts):
        item.refuse(f"{item.text()[:50]!r} is no [SOURCE:]TARGET[:OPTIONS]")
    if unknown := [each for each in options if each not in ("ro", "rw", "z", "Z", "cached", "delegated", "consistent")]:
        item.refuse(f"the option {unknown[0][:20]!r} is not there")
    if len(parts) == 1:
        return "volume", "", parts[0], False
    kind = "bind" if re.match(r"[./~]", parts[0]) else "volume"
    return kind, parts[0], parts[1], "ro" in options


def _long(item: Item) -> tuple[str, str, str, bool]:
    said = item.check_keys(_LONG)
    kind = said["type"].text() if "type" in said else ""
    if kind not in ("volume", "bind", "tmpfs"):
        item.refuse("type is volume, bind or tmpfs")
    if "target" not in said:
        item.refuse("target is missing")
    for key in ("subpath", "nocopy"):
        options = said["volume"].mapping() if "volume" in said else {}
        if key in options and options[key].text() != "false":
            options[key].refuse("is not there")
    source = said["source"].text() if "source" in said else ""
    if kind == "bind" and not source:
        item.refuse("source is missing")
    return kind, source, said["target"].text(), "read_only" in said and said["read_only"].boolean()


def _of_memory(item: Item) -> JSON:
    options = item.mapping().get("tmpfs")
    said = options.check_keys(frozenset({"size", "mode"})) if options is not None else {}
    return {"storage_type": "memory", **({"size_mb": _mebibytes(said["size"])} if "size" in said else {})}


def _temporary(item: Item) -> JSON | None:
    """Of `driver_opts`; None where they say nothing."""
    said = item.mapping()
    if not said:
        return None
    if not said.keys() <= _TMPFS or "type" not in said or said["type"].text() != "tmpfs":
        item.refuse("only a tmpfs is possible", hint="type: tmpfs, device: tmpfs, o: size=64m")
    return {"storage_type": "memory", **_size(item, said["o"].text() if "o" in said else "")}


def _size(item: Item, options: str) -> JSON:
    """Of mount options; the others would not be missed by who may write anything in its own container."""
    for option in options.split(","):
        name, _, value = option.partition("=")
        if name == "size":
            return {"size_mb": _mebibytes(Item(value, item.path, item.line, item.file))}
    return {}


def _mebibytes(item: Item) -> int:
    return max(-(-fields.size_bytes(item) >> 20), 1)
