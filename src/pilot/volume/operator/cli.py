"""`pilot volume`: what an operator does to disks, through a running volumed.

    create NAME [--size 100G]      attach NAME --at DIR [--uid-base N --uid-count N]      checkpoint NAME [--comment
    TEXT] fork SOURCE NAME [--checkpoint ID]      detach NAME      restore NAME ID      checkpoints NAME      list
    status      du [NAME]      seal NAME      resize NAME SIZE      delete NAME      delete-checkpoint NAME ID
    adopt NAME [--url URL]      check [NAME …]      scrub [NAME …] [--store URL | --content [--repair]]
    export NAME FILE [--store URL]      import NAME FILE [--trusted]
    gc --store URL [--grace 24h] [--dry-run] [--compact NAME …]      rotate-key --store URL [NAME …]

Prints tables for people, or JSON with --json. Errors are `PilotError`s, for the caller to print. `check` and `scrub`
exit with 1 when they have found damage that is still there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from ... import errors
from ...kernel import mounts
from .. import layout
from ..client import VolumeClient
from .rows import Rows

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_ALL_IDS = 1 << 32


def parse_size(text: str) -> int:
    """'100G' → bytes; `PilotError` when it is no size."""
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise errors.PilotError(
            f"invalid size {text!r}", hint="a number of bytes, or with K, M, G or T (powers of 1024)"
        )
    return int(match[1]) * _UNITS[match[2].upper()]


def format_size(size_bytes: int) -> str:
    """Bytes → '1.5G'."""
    for unit in ("T", "G", "M", "K"):
        if size_bytes >= _UNITS[unit]:
            return f"{size_bytes / _UNITS[unit]:.1f}{unit}"
    return f"{size_bytes}B"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="pilot volume", description="durable disks")
    top.add_argument("--socket", default="/var/lib/pilot/volumed.sock", help="where volumed listens")
    top.add_argument("--json", action="store_true", help="print JSON")
    verbs = top.add_subparsers(dest="verb", required=True)
    for name, (_, help_text, arguments) in _VERBS.items():
        verb = verbs.add_parser(name, help=help_text)
        for flags, options in arguments:
            verb.add_argument(flags, **options)
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one command; its exit status. Raises `PilotError`."""
    options = parser().parse_args(arguments)
    rows = _VERBS[options.verb][0](VolumeClient(options.socket), options)
    # An export to standard output has that for itself.
    out = sys.stderr if getattr(options, "file", None) == "-" and options.verb == "export" else sys.stdout
    if options.json:
        print(json.dumps(rows), file=out)
    elif rows:
        print(_table(rows), file=out)
    return (
        1 if options.verb in ("scrub", "check") and any(row["what"] and not row.get("repaired") for row in rows) else 0
    )


def _table(rows: Rows) -> str:
    head = list(rows[0])
    cells = [[name.upper() for name in head], *([_cell(name, row[name]) for name in head] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(name: str, value: object) -> str:
    if isinstance(value, int) and name.endswith("_bytes"):
        return format_size(value)
    return "-" if value is None else str(value)


def _create(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.create(layout.parse_volume_id(options.name), parse_size(options.size))
    return []


def _fork(client: VolumeClient, options: argparse.Namespace) -> Rows:
    checkpoint = layout.parse_checkpoint_id(options.checkpoint) if options.checkpoint else None
    client.fork(layout.parse_volume_id(options.source), layout.parse_volume_id(options.name), checkpoint)
    return []


def _attach(client: VolumeClient, options: argparse.Namespace) -> Rows:
    mount_fd = client.attach(layout.parse_volume_id(options.name), options.uid_base, options.uid_count)
    try:
        mounts.move_mount(mount_fd, options.at)
    except OSError as error:
        raise errors.HostError(f"mount {options.name} at {options.at}: {error.strerror}") from error
    finally:
        os.close(mount_fd)
    return []


def _adopt(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.adopt(layout.parse_volume_id(options.name), options.url)
    return []


def _detach(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.detach(layout.parse_volume_id(options.name))
    return []


def _checkpoint(client: VolumeClient, options: argparse.Namespace) -> Rows:
    checkpoint = layout.parse_checkpoint_id(options.id) if options.id else None
    return [structs.asdict(client.checkpoint(layout.parse_volume_id(options.name), options.comment, checkpoint))]


def _checkpoints(client: VolumeClient, options: argparse.Namespace) -> Rows:
    return [structs.asdict(row) for row in client.checkpoints(layout.parse_volume_id(options.name))]


def _restore(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.restore(layout.parse_volume_id(options.name), layout.parse_checkpoint_id(options.id))
    return []


def _delete_checkpoint(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.delete_checkpoint(layout.parse_volume_id(options.name), layout.parse_checkpoint_id(options.id))
    return []


def _delete(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.delete(layout.parse_volume_id(options.name))
    return []


def _seal(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.seal(layout.parse_volume_id(options.name))
    return []


def _resize(client: VolumeClient, options: argparse.Namespace) -> Rows:
    client.resize(layout.parse_volume_id(options.name), parse_size(options.size))
    return []


def _list(client: VolumeClient, options: argparse.Namespace) -> Rows:
    return [structs.asdict(row) for row in client.list()]


def _du(client: VolumeClient, options: argparse.Namespace) -> Rows:
    rows = [client.stat(layout.parse_volume_id(options.name))] if options.name else client.list()
    return [
        {"volume": row.volume, "size_bytes": row.size_bytes, "allocated_bytes": row.allocated_bytes} for row in rows
    ]


def _status(client: VolumeClient, options: argparse.Namespace) -> Rows:
    gc = client.status().gc
    if gc is None:
        return []
    return [{"job": "gc", **{key: _moment(key, value, options) for key, value in structs.asdict(gc).items()}}]


def _moment(key: str, value: object, options: argparse.Namespace) -> object:
    if options.json or not isinstance(value, float) or not (key == "at" or key.endswith("_at")):
        return value
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(value))


# Upkeep is loaded when it is asked for: it brings what speaks to object stores.


def parse_seconds(text: str) -> float:
    """'24h' → seconds; `PilotError` when it is no time."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if match is None:
        raise errors.PilotError(f"invalid time {text!r}", hint="a number of seconds, or with s, m, h or d")
    return int(match[1]) * {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[match[2]]


def _scrub(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    volumes = [layout.parse_volume_id(name) for name in options.names]
    if options.store:
        if options.content or options.repair:
            raise errors.PilotError("scrub: --content and --repair are about what is here, without --store")
        return upkeep.scrub_store(options.store, volumes or None, os.environ)
    return upkeep.scrub_host(client, _state_dir(options), volumes, content=options.content, repair=options.repair)


def _check(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    return upkeep.check_host(client, _state_dir(options), [layout.parse_volume_id(name) for name in options.names])


def _gc(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    compact = [layout.parse_volume_id(name) for name in options.compact]
    return upkeep.collect(options.store, parse_seconds(options.grace), os.environ, dry_run=options.dry_run,
                          compact=compact, take_over=options.take_over)  # fmt: skip


def _rotate_key(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    return upkeep.rotate_keys(options.store, [layout.parse_volume_id(name) for name in options.names], os.environ)


def _export(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    volume = layout.parse_volume_id(options.name)
    if options.store:
        return upkeep.export_stored(options.store, volume, options.file, os.environ)
    return upkeep.export_host(client, _state_dir(options), volume, options.file, os.environ)


def _import(client: VolumeClient, options: argparse.Namespace) -> Rows:
    from . import upkeep

    volume = layout.parse_volume_id(options.name)
    return upkeep.import_host(client, _state_dir(options), volume, options.file, trusted=options.trusted)


def _state_dir(options: argparse.Namespace) -> str:
    return os.path.dirname(os.path.abspath(str(options.socket)))


_Argument = tuple[str, dict[str, Any]]  # as argparse takes it
_Verb = tuple[Callable[[VolumeClient, argparse.Namespace], Rows], str, tuple[_Argument, ...]]
_NAME: _Argument = ("name", {"help": "the volume"})
_ID: _Argument = ("id", {"help": "the checkpoint"})
_STORE: _Argument = ("--store", {"metavar": "URL", "help": "file:///directory, s3://bucket/prefix, …"})
_NEEDED_STORE = (_STORE[0], {**_STORE[1], "required": True})
_NAMES: _Argument = ("names", {"nargs": "*", "metavar": "name", "help": "volumes; all when none"})
_FILE: _Argument = ("file", {"help": "the file; - is standard input or output"})
_VERBS: dict[str, _Verb] = {
    "create": (_create, "make an empty volume", (_NAME, ("--size", {"default": "100G"}))),
    "fork": (_fork, "make a volume that begins as another is", (
        ("source", {}), _NAME, ("--checkpoint", {"help": "begin as this checkpoint of it"}),
    )),
    "attach": (_attach, "mount a volume", (
        _NAME, ("--at", {"required": True, "help": "directory to mount it at"}),
        ("--uid-base", {"type": int, "default": 0}), ("--uid-count", {"type": int, "default": _ALL_IDS}),
    )),
    "adopt": (_adopt, "bring a volume of the object store to this host", (
        _NAME, ("--url", {"help": "where it is in there (its url in list); its name, if not given"}),
    )),
    "detach": (_detach, "write everything out and let go", (_NAME,)),
    "checkpoint": (_checkpoint, "save the present content", (_NAME, ("--comment", {}), ("--id", {}))),
    "checkpoints": (_checkpoints, "list save points", (_NAME,)),
    "restore": (_restore, "go back to a checkpoint", (_NAME, _ID)),
    "delete-checkpoint": (_delete_checkpoint, "forget a checkpoint", (_NAME, _ID)),
    "list": (_list, "list volumes", ()),
    "status": (_status, "what volumed does on its own: garbage collection", ()),
    "du": (_du, "space that volumes take", (("name", {"nargs": "?"}),)),
    "seal": (_seal, "make a read-only base of it", (_NAME,)),
    "resize": (_resize, "make it larger", (_NAME, ("size", {}))),
    "delete": (_delete, "delete a volume and its checkpoints", (_NAME,)),
    "check": (_check, "say which volumes cannot be used, why, and what to do", (_NAMES,)),
    "scrub": (_scrub, "look for damage, here or in an object store", (
        _NAMES, _STORE,
        ("--content", {"action": "store_true", "help": "compare what is here with what the store was given"}),
        ("--repair", {"action": "store_true", "help": "also put it right from the store"}),
    )),
    "gc": (_gc, "delete what nothing in an object store needs", (
        _NEEDED_STORE, ("--grace", {"default": "24h", "help": "how long it must have been unneeded"}),
        ("--dry-run", {"action": "store_true", "help": "say what would go"}),
        ("--compact", {"nargs": "+", "default": [], "metavar": "name", "help": "first rewrite these volumes"}),
        ("--take-over", {"action": "store_true", "help": "nobody has them, or a fork of them, attached"}),
    )),
    "rotate-key": (_rotate_key, "wrap data keys by the first operator key", (_NAMES, _NEEDED_STORE)),
    "export": (_export, "write a volume with its checkpoints to one file", (_NAME, _FILE, _STORE)),
    "import": (_import, "make a volume of such a file", (
        _NAME, _FILE, ("--trusted", {
            "action": "store_true",
            "help": "you know who made it: this host's kernel may mount it; else only virtual machines ever may",
        }),
    )),
}  # fmt: skip
