"""`pilot machine start|stop DIRECTORY`, and every verb of a machine that runs: `pilot machine --dial PATH VERB`."""

from __future__ import annotations

import argparse
import sys

from .. import errors
from ..machine import amounts
from ..machine import main as verbs

_MIB = 1 << 20
LEAST_MIB, MOST_MIB = 64, 1 << 24


def parser() -> argparse.ArgumentParser:
    """The command line of the two verbs that are not asked of a machine."""
    made = argparse.ArgumentParser(prog="pilot machine", description="a machine without pilotd")
    found = made.add_subparsers(dest="verb", required=True)
    start = found.add_parser("start", help="make a bare machine in a directory, and print the path to dial")
    start.add_argument("directory")
    start.add_argument(
        "--root", action="append", default=[], metavar="NAME=DIRECTORY",
        help="a directory of this host, seen by containers as /run/disks/NAME",
    )  # fmt: skip
    start.add_argument(
        "--memory",
        type=amounts.count(LEAST_MIB, MOST_MIB),
        default=1024,
        metavar="MIB",
        help="for all of it (%(default)s)",
    )
    stop = found.add_parser("stop", help="end it, and remove what was made for it")
    stop.add_argument("directory")
    return made


def main(arguments: list[str]) -> int:
    """The exit status."""
    if arguments[:1] not in (["start"], ["stop"]):
        return verbs.main(arguments)
    from . import machines  # what makes machines is a lot to load for who only asks one

    asked = parser().parse_args(arguments)
    if asked.verb == "stop":
        machines.stop(asked.directory)
        return 0
    print(machines.start(asked.directory, _roots(asked.root), asked.memory * _MIB), file=sys.stdout)
    return 0


def _roots(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, directory = text.partition("=")
        if not separator or not name or not directory:
            raise errors.PilotError(f"--root {text}: it is NAME=DIRECTORY")
        if name in found:
            raise errors.PilotError(f"--root {text}: {name} is {found[name]} already")
        found[name] = directory
    return found
