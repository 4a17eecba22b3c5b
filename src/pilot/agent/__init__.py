"""The pilot API inside the machine: sessions, files, ports and the user's world, under init (`native/init`)."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

_RUN = "/run"  # as machine.Paths has it, which would have to be loaded


def main(arguments: Sequence[str] = ()) -> int:
    """The agent's process, as /usr/lib/pilot/__main__.py starts it; all that it needs is given by init.

    With `--check` it only says what it is, as the agent that is to be replaced by it wants to know (`upgrade`).
    """
    from . import upgrade

    if list(arguments) == [upgrade.CHECK]:
        importlib.import_module(".process", __package__)  # to see that all of it can be loaded
        sys.stdout.buffer.write(upgrade.describe())
        return 0
    upgrade.become(_RUN)
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
