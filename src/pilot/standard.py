"""Standard descriptors: one that the caller has closed becomes /dev/null, before anything else gets its number.

A socket that is descriptor 1, or a database that is 2, would be written what is meant for somebody to read.
"""

from __future__ import annotations

import os
import sys


def open_standard() -> None:
    """First thing in a process that may be anybody's child."""
    descriptor = 0
    while descriptor < 3:
        descriptor = os.open("/dev/null", os.O_RDWR)
        os.set_inheritable(descriptor, descriptor < 3)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # what Python makes of a closed one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115 - it stays open
