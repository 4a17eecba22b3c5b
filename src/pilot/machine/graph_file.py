"""A graph as people write it: YAML where there is PyYAML, else JSON; names of roots for short."""

from __future__ import annotations

import importlib
import os
from typing import Any

import msgspec

from .. import errors
from ..wire import graph

_DISKS = "/run/disks"


def read(path: str) -> graph.GraphRequest:
    """`SpecError` with the path to what is wrong. `root: NAME` is the disk of that name."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise errors.HostError(f"read {path}: {(error.strerror or '').lower()}") from error
    return parse(data, path)


def parse(data: bytes, path: str) -> graph.GraphRequest:
    """As `read`; `path` is for what is said of it, and its end says what it is."""
    document = _yaml(data, path) if os.path.splitext(path)[1] in (".yaml", ".yml") else _json(data, path)
    try:
        return msgspec.convert(_whole(document), graph.GraphRequest)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).rpartition(" - at ")
        raise errors.SpecError(place.strip("`") or "$", problem or str(error), file=path) from error


def _whole(document: Any) -> Any:
    """Containers and volumes may be written by their names, a root by that of a disk."""
    if not isinstance(document, dict):
        return document
    found = dict(document)
    for name in ("containers", "volumes"):
        if isinstance(rows := found.get(name), dict):
            found[name] = [{"name": key, **(row or {})} for key, row in rows.items()]
    if isinstance(rows := found.get("containers"), list):
        found["containers"] = [_container(row) if isinstance(row, dict) else row for row in rows]
    return found


def _container(row: dict[str, Any]) -> dict[str, Any]:
    root = row.get("root")
    if not isinstance(root, str):
        return row
    return {**row, "root": {"path": root if root.startswith("/") else os.path.join(_DISKS, root)}}


def _yaml(data: bytes, path: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise errors.HostError(
            f"read {path}: there is no PyYAML here", hint="pip install pyyaml, or write JSON"
        ) from error
    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise errors.SpecError("$", f"it is no YAML: {error}", file=path) from error


def _json(data: bytes, path: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise errors.SpecError("$", f"it is no JSON: {error}", file=path) from error
