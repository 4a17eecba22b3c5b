"""`pilot start ID`: let the process of a created container go."""

from __future__ import annotations

from . import notify
from .options import Arguments, Option
from .verb import Context

SUMMARY = "executes the user defined process in a created container"
USAGE = "<container-id>"
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    container = context.runtime().load(arguments.positional[0])
    with notify.listening(context.root, container.id) as listener:
        pid = container.pid
        container.start()
        notify.pass_on(listener, pid)
    return 0
