"""`pilot delete ID`: remove what is left of a stopped container; with --force of any."""

from __future__ import annotations

from .. import errors
from . import notify
from .options import Arguments, Kind, Option
from .verb import Context

SUMMARY = "delete any resources held by the container often used with detached container"
USAGE = "<container-id>"
OPTIONS = (Option(("force", "f"), Kind.FLAG, "forcibly deletes the container if it is still running (uses SIGKILL)"),)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    force = arguments.flag("force")
    try:
        context.runtime().load(arguments.positional[0]).delete(force)
        notify.remove(context.root, arguments.positional[0])
    except errors.NotFound:
        if not force:
            raise
    return 0
