"""`pilot image`: builds what is missing in the cache, shows what is there, removes what is superseded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial

from . import cache as artefacts
from . import ensure_guest_disk, ensure_guest_root, ensure_kernel, ensure_world_tar
from . import prune as superseded

_BUILDERS: dict[str, Callable[[str], str]] = {
    "guest": ensure_guest_root,
    "guest-disk": ensure_guest_disk,
    "kernel": ensure_kernel,
    "world-minimal": partial(ensure_world_tar, variant="minimal"),
    "world-standard": partial(ensure_world_tar, variant="standard"),
}
_KINDS = (
    "base",
    "guest",
    "linux",
    "kernel",
    "debian-minimal",
    "world-minimal",
    "debian-standard",
    "programs",
    "world-standard",
)


def build(cache: str, names: Sequence[str]) -> None:
    """Build each artefact that is missing and print its path."""
    for name in names or tuple(_BUILDERS):
        print(_BUILDERS[name](cache), flush=True)


def show(cache: str) -> None:
    """Print the path of each finished artefact, the newest of a kind first."""
    for kind in _KINDS:
        for path in artefacts.finished(cache, kind):
            print(path)


def prune(cache: str) -> None:
    """Remove what newer artefacts have superseded and no machine stands on; print each path."""
    for path in superseded.unused(cache, superseded.all_mounts()):
        artefacts.remove(path)
        print(path, flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pilot image`."""
    parser.add_argument("--cache-dir", default=os.environ.get("PILOT_CACHE_DIR", artefacts.DEFAULT))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("build", help="build what is missing")
    verb.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(_BUILDERS)}; all when none is given")
    verbs.add_parser("list", help="show what is there")
    verbs.add_parser("prune", help="remove what is superseded and not in use")


def main(arguments: Sequence[str]) -> int:
    """`pilot image` with these arguments; the exit status. `PilotError` is the caller's to report."""
    parser = argparse.ArgumentParser(prog="pilot image", description=__doc__, allow_abbrev=False)
    add_arguments(parser)
    parsed = parser.parse_args(arguments)
    unknown = [name for name in getattr(parsed, "names", []) if name not in _BUILDERS]
    if unknown:
        parser.error(f"no such artefact: {', '.join(unknown)}")
    if parsed.verb == "build":
        build(parsed.cache_dir, parsed.names)
    else:
        {"list": show, "prune": prune}[parsed.verb](parsed.cache_dir)
    return 0
