"""`pilot planner undo --root ROOT ID CREATOR`: remove what a planner that was lost had made of a container.

Only what that very request made (`Record.creator`): a container of the same name that was there before, or has been
made since, is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import errors
from ..cli import options
from ..cli.options import Kind, Option
from ..runtime import Runtime

_OPTIONS = (Option(("root",), Kind.TEXT, "root directory for storage of container state"),)


def main(words: Sequence[str]) -> int:
    arguments = options.parse_arguments(words, _OPTIONS)
    id, creator = arguments.positional
    try:
        container = Runtime(arguments.text("root")).load(id)
    except errors.NotFound:
        return 0  # it had not come that far
    if container.creator == creator:
        container.delete(force=True)
    return 0
