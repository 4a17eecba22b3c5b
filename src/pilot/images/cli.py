"""`pilot image`: images that are pulled or imported, and the artefacts that are built here (`pilot.image.cli`).

pull REFERENCE …        show NAME           build [NAME …]      what pilot's own machines are made of
import PATH [NAME]      remove NAME …       list --built
list                    prune               removes what nobody needs any more, of both kinds
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import msgspec

from .. import errors
from ..image import cache as artefacts
from ..image import cli as built
from ..image.oci import documents, platform, reference
from ..image.oci.documents import Platform
from ..image.oci.store import Held, Store
from . import forks, origins, progress


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="pilot image",
        description="images that are pulled or imported, and those that are built here",
        allow_abbrev=False,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    made.add_argument("--cache-dir", default=os.environ.get("PILOT_CACHE_DIR", artefacts.DEFAULT))
    verbs = made.add_subparsers(dest="verb", required=True)
    pull = verbs.add_parser("pull", help="bring images of a registry here")
    pull.add_argument("names", nargs="+", metavar="REFERENCE")
    pull.add_argument("--insecure", action="append", default=[], metavar="DOMAIN", help="a registry without TLS")
    _add_platform(pull)
    taken = verbs.add_parser("import", help="bring an image here that is in files")
    taken.add_argument("path", metavar="PATH", help="an OCI layout, the tar of one, or what docker save wrote")
    taken.add_argument("name", nargs="?", metavar="NAME", help="what it is to be called; its own name when that is one")
    taken.add_argument("--from", dest="source", metavar="NAME", help="which one, of several in the files")
    _add_platform(taken)
    listed = verbs.add_parser("list", help="the images that are here")
    listed.add_argument("--built", action="store_true", help="paths of what was built here instead")
    listed.add_argument("--json", action="store_true")
    verbs.add_parser("show", help="an image as JSON").add_argument("name", metavar="NAME")
    verbs.add_parser("remove", help="forget images").add_argument("names", nargs="+", metavar="NAME")
    build = verbs.add_parser("build", help="build what is missing of pilot's own")
    build.add_argument("names", nargs="*", metavar="NAME")
    verbs.add_parser("prune", help="remove what nobody needs any more")
    return made


def _add_platform(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--platform", metavar="OS/ARCHITECTURE[/VARIANT]", help="(default: this machine's)")


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    asked = parser().parse_args(arguments)
    return _VERBS[asked.verb](asked, Store(origins.store_directory(os.path.abspath(asked.cache_dir))))


def _pull(asked: argparse.Namespace, store: Store) -> int:
    wanted = _platform(asked.platform)
    for each in map(reference.parse, asked.names):
        with origins.of_registry(each, origins.Insecure(frozenset(asked.insecure))) as origin:
            held = store.bring(origin, str(each), wanted, each.digest, progress.Bars(sys.stderr))
        print(held.image.digest, flush=True)
    store.collect()  # a name may have led to another image before
    return 0


def _import(asked: argparse.Namespace, store: Store) -> int:
    with origins.of_files(asked.path, asked.source) as origin:
        name = str(reference.parse(asked.name or asked.source or _name_of(asked.path)))
        held = store.bring(origin, name, _platform(asked.platform), None, progress.Bars(sys.stderr))
    print(held.image.digest)
    store.collect()
    return 0


def _name_of(path: str) -> str:
    """Of a file or directory, as far as it could be one; `reference` refuses what it could not."""
    return os.path.basename(os.path.abspath(path)).partition(".")[0].lower()


def _list(asked: argparse.Namespace, store: Store) -> int:
    if asked.built:
        return built.main(["--cache-dir", asked.cache_dir, "list"])
    found = store.every()
    if asked.json:
        print(msgspec.json.format(msgspec.json.encode([_row(held) for held in found]), indent=2).decode())
        return 0
    table = [("NAME", "DIGEST", "PLATFORM", "SIZE")]
    table += [(row.name, row.digest[:19], row.platform, f"{row.size_bytes / 1e6:.1f} MB") for row in map(_row, found)]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    for line in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))
    return 0


class _Row(msgspec.Struct, frozen=True):
    name: str
    digest: str
    platform: str
    size_bytes: int


class _Shown(msgspec.Struct, frozen=True):
    """`pilot image show`."""

    name: str
    digest: str
    platform: str
    size_bytes: int
    created: str | None
    config: documents.Execution
    layers: list[documents.Descriptor]


def _row(held: Held) -> _Row:
    return _Row(held.name, held.image.digest, platform.describe(held.image.config.platform), held.size_bytes)


def _show(asked: argparse.Namespace, store: Store) -> int:
    held = _find(store, asked.name)
    config = held.image.config
    row = _row(held)
    shown = _Shown(
        row.name, row.digest, row.platform, row.size_bytes, config.created,
        config.config or documents.Execution(), [layer.blob for layer in held.image.layers],
    )  # fmt: skip
    print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    return 0


def _remove(asked: argparse.Namespace, store: Store) -> int:
    for name in asked.names:
        print(*store.remove(_whole(name)), sep="\n", flush=True)
    return 0


def _build(asked: argparse.Namespace, _: Store) -> int:
    return built.main(["--cache-dir", asked.cache_dir, "build", *asked.names])


def _prune(asked: argparse.Namespace, store: Store) -> int:
    status = built.main(["--cache-dir", asked.cache_dir, "prune"])
    directory = os.path.join(origins.store_directory(os.path.abspath(asked.cache_dir)), "forks")
    if os.path.isdir(directory):
        forks.sweep(directory)
    if store.collect() is None:
        raise errors.StateError("remove what no image needs: an image is being brought", hint="try again afterwards")
    return status


def _find(store: Store, name: str) -> Held:
    return store.find(_whole(name))


def _whole(name: str) -> str:
    """A name as the store has it: `busybox` is docker.io/library/busybox:latest. A digest stays one."""
    return name if name.startswith(("sha256:", "sha512:")) else str(reference.parse(name))


def _platform(text: str | None) -> Platform:
    if text is None:
        return platform.host()
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise errors.PilotError(f"--platform {text}: it is OS/ARCHITECTURE[/VARIANT]")
    return Platform(parts[0], platform.normal(parts[1]), parts[2] if len(parts) == 3 else None)


_VERBS: dict[str, Callable[[argparse.Namespace, Store], int]] = {
    "pull": _pull,
    "import": _import,
    "list": _list,
    "show": _show,
    "remove": _remove,
    "build": _build,
    "prune": _prune,
}
