"""`pilot list`: all containers below the root."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from .. import errors
from ..spec.state import State, state_json
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "lists containers started by pilot with the given root"
USAGE = ""
OPTIONS = (
    Option(("format", "f"), Kind.TEXT, "select one of: table or json (default: table)"),
    Option(("quiet", "q"), Kind.FLAG, "display only container IDs"),
)
ARGUMENTS = (0, 0)

_HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(context: Context, arguments: Arguments) -> int:
    if context.root_is_named and not os.path.isdir(context.root):
        raise errors.NotFound(f"open {context.root}: no such file or directory")
    containers = context.containers()
    if arguments.flag("quiet"):
        context.write("".join(f"{container.id}\n" for container in containers))
        return 0
    states = [container.state() for container in containers]
    shown = arguments.text("format", "table")
    if shown == "json":
        # An empty list is null, as runc's Go prints it.
        context.write(json.dumps([state_json(state) for state in states] or None, separators=(",", ":")) + "\n")
    elif shown == "table":
        context.write(format_table([_HEADER, *(_row(state) for state in states)]))
    else:
        raise UsageError("invalid format option")
    return 0


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell and three more, at least twelve."""
    widths = [max(12, *(len(row[column]) + 3 for row in rows)) for column in range(len(rows[0]) - 1)]
    return "".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) + "\n" for row in rows
    )


def _row(state: State) -> tuple[str, ...]:
    created, owner = str(state.created or ""), str(state.owner or "")
    return state.id, str(state.pid), state.status.value, state.bundle, created, owner
