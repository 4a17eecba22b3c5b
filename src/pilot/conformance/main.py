"""`pilot conformance --dial PATH`: the command line.

Exit status: 0 every promise that was tried was met; 1 one was not; 2 there was nobody to ask, or it may not be asked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from .. import errors
from ..machine import amounts, dial
from ..machine.pilot_api import PilotApi
from ..wire import dial as lines
from . import junit, report
from .promises import ALL
from .running import Run
from .subject import Subject

TIMEOUT_S = 10.0
_SCRATCH = "pilot-conformance"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="pilot conformance",
        description="Ask a machine for every promise of the pilot API. It is used up: its world is stopped, and it is "
        "shut down.",
    )
    made.add_argument("--dial", required=True, metavar="PATH", help="the machine's dial socket")
    made.add_argument("--junit", metavar="FILE", type=Path, help="write the results there as JUnit XML")
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    made.add_argument("--keep", action="store_true", help="leave out what stops the world or the machine")
    made.add_argument("--complete", action="store_true", help="what could not be tried counts as not met")
    made.add_argument("--name", help="the machine has this name, and may be used up all the same")
    made.add_argument(
        "--timeout", type=amounts.seconds, default=TIMEOUT_S, metavar="SECONDS", help="for each wait (%(default)s)"
    )
    return made


def main(arguments: list[str]) -> int:
    """The exit status."""
    asked = parser().parse_args(arguments)
    try:
        dial.connect(asked.dial, lines.PORT_API, asked.timeout).close()
        _require_nobodys(asked.dial, asked.name)
    except errors.PilotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"pilot conformance: {error}{hint}", file=sys.stderr)
        return 2
    subject = Subject(asked.dial, asked.timeout, f"{_SCRATCH}-{os.urandom(4).hex()}")
    result = Run(subject, keep=asked.keep).all(ALL)
    if asked.json:
        sys.stdout.buffer.write(report.document(result))
    else:
        print("\n".join(report.lines(result)))
    if asked.junit is not None:
        asked.junit.write_bytes(junit.xml(result))
    return 0 if result.holds(complete=asked.complete) else 1


def _require_nobodys(path: str, name: str | None) -> None:
    """A machine that was adopted is somebody's."""
    told = None
    with contextlib.suppress(errors.PilotError):  # it answers wrongly, which the run will tell
        told = PilotApi(path).status().name
    if told is not None and told != name and not told.startswith(_SCRATCH):
        raise errors.StateError(
            f"the machine at {path} is called {told}, and would be used up", hint=f"--name {told} if that is meant"
        )
