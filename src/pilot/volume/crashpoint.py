"""Places at which tests kill this process, to see what a crash between two lines leaves behind.

`PILOT_CRASH_AT="<name>=<path>"` kills whoever reaches the point of that name first; the file at <path>, made by the
test, is removed on the way, so that it happens once. Without the variable `reach` does nothing.
"""

from __future__ import annotations

import os
import signal

_NAME, _, _PATH = os.environ.get("PILOT_CRASH_AT", "").partition("=")


def reach(name: str) -> None:
    """This point is reached."""
    if name == _NAME:
        try:
            os.unlink(_PATH)
        except FileNotFoundError:
            return  # it has happened
        os.kill(os.getpid(), signal.SIGKILL)
