"""The pilot API inside the machine: sessions, files, ports and the user's world, under init (`native/init`)."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] = ()) -> int:
    """The agent's process, as /usr/lib/pilot/__main__.py starts it; it takes no arguments, only what init gives it."""
    from . import process  # the package is also imported by tests and tools that must not pay for all of it

    return process.run()
