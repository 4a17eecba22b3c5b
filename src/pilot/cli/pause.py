"""`pilot pause ID`: freeze all of its processes."""

from __future__ import annotations

from .options import Arguments, Option
from .verb import Context

SUMMARY = "pause suspends all processes inside the container"
USAGE = "<container-id>"
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    context.runtime().load(arguments.positional[0]).pause()
    return 0
