"""`pilot resume ID`: thaw what was paused."""

from __future__ import annotations

from .options import Arguments, Option
from .verb import Context

SUMMARY = "resumes all processes that have been previously paused"
USAGE = "<container-id>"
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    context.runtime().load(arguments.positional[0]).resume()
    return 0
