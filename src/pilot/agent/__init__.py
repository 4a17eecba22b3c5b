"""The pilot API inside the machine: sessions, files, ports and the user's world, under init (`native/init`)."""

from __future__ import annotations

import gc
import importlib
import sys
import types
from collections.abc import Sequence

# Nothing here speaks TLS, and the one hash (of WebSockets) is Python's own; nothing packs. asyncio, hashlib and shutil
# do without.
_NEVER = ("ssl", "_hashlib", "bz2", "lzma")
# What modules of the standard library import for the little that they do with it, which an agent seldom asks for.
_LATE = ("asyncio.sslproto", "ipaddress", "locale")
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
    """Each module costs a start its time, and each machine its memory."""
    for name in _NEVER:
        # None makes an import of it fail (importlib's documentation of sys.modules).
        sys.modules[name] = None  # type: ignore[assignment]
    for name in _LATE:
        sys.modules[name] = _late(name)


def _late(name: str) -> types.ModuleType:
    """In place of that module until something of it is used; `importlib.util.LazyLoader` loads at a second import."""
    module = types.ModuleType(name)

    def load(attribute: str) -> object:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        whole = importlib.import_module(name)
        module.__dict__.update(whole.__dict__)
        return getattr(whole, attribute)

    module.__dict__["__getattr__"] = load  # PEP 562
    return module
