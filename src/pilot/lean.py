"""Keeps out of a process what msgspec and sqlite3 would import and nothing of ours needs: a third of the time that a
command takes to start, and more than a megabyte of what every worker of a volume has.

    typing_extensions        msgspec does without; where it is installed it brings `inspect`, `ast` and `tokenize` along
    uuid, decimal            types that msgspec can decode; they bring `platform`, `numbers` and patterns along
    msgspec.inspect,         what msgspec tells of types, as objects and as JSON Schema; they bring `textwrap` along
    msgspec._json_schema
    datetime                 all of it is written in Python once more, and thrown away: its C half will do

They are hidden only while those are imported: whoever needs them afterwards gets the real ones.
"""

from __future__ import annotations

import importlib
import sys
import types

# Names of types that nothing is an instance of, by module; a module of None is not there at all.
_HIDDEN: dict[str, tuple[str, ...] | None] = {
    "typing_extensions": None,
    "uuid": ("UUID",),
    "decimal": ("Decimal",),
    "msgspec.inspect": (),
    "msgspec._json_schema": ("schema", "schema_components"),
}
_HALVES = {"datetime": "_datetime"}  # of CPython since 3.0: the module ends in `from _datetime import *`


def load(*libraries: str) -> None:
    """Import these (`msgspec`, `sqlite3`) first thing, without those."""
    hidden = {name: _stand_in(name, names) for name, names in _HIDDEN.items() if name not in sys.modules}
    hidden |= {name: importlib.import_module(half) for name, half in _HALVES.items() if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: "there is no such module" (importlib's own word)
    try:
        for library in libraries:
            importlib.import_module(library)
    finally:
        for name in hidden:
            del sys.modules[name]


def _stand_in(name: str, names: tuple[str, ...] | None) -> types.ModuleType | None:
    if names is None:
        return None
    module = types.ModuleType(name)
    for each in names:
        setattr(module, each, type(each, (), {}))
    if name == "uuid":
        module.SafeUUID = type("SafeUUID", (), {"unknown": None})  # type: ignore[attr-defined]
    return module
