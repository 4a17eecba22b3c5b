"""Standard descriptors: one that the caller has closed becomes /dev/null, before anything else gets its number.

A socket that is descriptor 1, or a database that is 2, would be written what is meant for somebody to read.
"""

from __future__ import annotations

import os
import sys


def open_standard() -> frozenset[int]:
    """First thing in a process that may be anybody's child. Those that were closed."""
    closed: set[int] = set()
    while (descriptor := os.open("/dev/null", os.O_RDWR)) < 3:
        os.set_inheritable(descriptor, True)
        closed.add(descriptor)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # what Python makes of a closed one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - it stays open
    return frozenset(closed)
