"""Where in the world what is: bind mounts, read-only (`agent.shown`) but for the socket."""

from __future__ import annotations

import os

from .. import shown
from ..machine import Paths

# Name in the machine → place in the world; the socket is written to, the others are read.
SOCKET = ("api.sock", "/.sprite/api.sock")
FILES = (("bin", "/.sprite/bin"), ("llm.txt", "/.sprite/llm.txt"), ("version.txt", "/.sprite/version.txt"))


def binds(paths: Paths) -> list[tuple[str, str, bool]]:
    """From where in the machine, to where in the world, and whether it is written to; of what is there."""
    found = [(SOCKET, paths.inside, True), *((each, shown.source(paths, paths.inside), False) for each in FILES)]
    pairs = [(os.path.join(directory, name), place, is_written) for (name, place), directory, is_written in found]
    return [each for each in pairs if os.path.exists(each[0])]
