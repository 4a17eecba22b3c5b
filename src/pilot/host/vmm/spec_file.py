"""machine.json in a machine's directory: what it was made from, for whichever pilotd starts it next.

    version 1   no version in it; the rest as now
    version 2   `version`

A file of a newer program is refused: there might be something in it that must not be left out.
"""

from __future__ import annotations

import os

import msgspec

from ... import errors
from ...kernel import files
from . import MachineSpec

VERSION = 2
_NAME = "machine.json"


class _Version(msgspec.Struct):
    version: int = 1


def write(directory: str, spec: MachineSpec) -> None:
    """Whole or not at all."""
    document = {"version": VERSION} | msgspec.to_builtins(spec)
    files.replace(os.path.join(directory, _NAME), msgspec.json.encode(document))


def exists(directory: str) -> bool:
    return os.path.exists(os.path.join(directory, _NAME))


def read(directory: str) -> MachineSpec:
    """`NotFound`: no machine was made there; `HostError`: it cannot be read."""
    path = os.path.join(directory, _NAME)
    try:
        with open(path, "rb") as file:
            text = file.read()
        version = msgspec.json.decode(text, type=_Version).version
        if version > VERSION:
            raise errors.HostError(f"read {path}: version {version}, this program knows {VERSION}")
        return msgspec.json.decode(text, type=MachineSpec)
    except FileNotFoundError as error:
        raise errors.NotFound(f"find machine {os.path.basename(directory)}: it was not made on this host") from error
    except errors.UNREADABLE as error:
        raise errors.HostError(f"read {path}: {error}") from error
