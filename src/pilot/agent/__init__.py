"""The pilot API inside the machine: sessions, files, ports and the user's world, under init (`native/init`)."""

from __future__ import annotations


def main() -> int:
    """The agent's process, as /usr/lib/pilot/__main__.py starts it."""
    from . import process  # the package is also imported by tests and tools that must not pay for all of it

    return process.run()
