"""Keeps out of a command's process what msgspec would import and no OCI document needs: a third of the time to start.

    typing_extensions   msgspec does without; where it is installed it brings `inspect`, `ast` and `tokenize` along
    uuid                one type that msgspec can decode; it brings `platform` and its patterns along

Both are hidden only while msgspec is imported: whoever needs them afterwards gets the real ones.
"""

from __future__ import annotations

import sys
import types


def import_msgspec() -> None:
    """Import msgspec first thing, without those two."""
    hidden = {"typing_extensions": None, "uuid": _uuid()}
    hidden = {name: module for name, module in hidden.items() if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: "there is no such module" (importlib's own word)
    try:
        import msgspec  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def _uuid() -> types.ModuleType:
    """A module with the names that msgspec looks up, of types that nothing is an instance of."""
    module = types.ModuleType("uuid")
    module.UUID = type("UUID", (), {})  # type: ignore[attr-defined]
    module.SafeUUID = type("SafeUUID", (), {"unknown": None})  # type: ignore[attr-defined]
    return module
