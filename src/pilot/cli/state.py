"""`pilot state ID`: the state document."""

from __future__ import annotations

import json

from ..spec.state import state_json
from .options import Arguments, Option
from .verb import Context

SUMMARY = "output the state of a container"
USAGE = "<container-id>"
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    state = context.runtime().load(arguments.positional[0]).state()
    context.write(json.dumps(state_json(state), indent=2) + "\n")
    return 0
