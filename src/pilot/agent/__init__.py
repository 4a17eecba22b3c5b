"""The pilot API inside the machine: sessions, files, ports and the user's world, under init (`native/init`)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] = ()) -> int:
    """The agent's process, as /usr/lib/pilot/__main__.py starts it; it takes no arguments, only what init gives it."""
    import faulthandler

    faulthandler.enable()  # a crash of the interpreter tells where, on the console of the machine
    gc.disable()
    _leave_out()
    from . import process  # the package is also imported by tests and tools that must not pay for all of it

    # What is made by importing stays: to look for garbage in it, then and later, costs a tenth of a start.
    gc.freeze()
    gc.enable()
    return process.run()


def _leave_out() -> None:
    """OpenSSL: nothing here speaks TLS, and the one hash (of WebSockets) is Python's own. asyncio does without, too."""
    for name in ("ssl", "_hashlib"):
        # None makes an import of it fail (importlib's documentation of sys.modules).
        sys.modules[name] = None  # type: ignore[assignment]
