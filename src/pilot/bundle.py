"""One file with the code of all modules that a command line of `pilot` loads: without it each is looked for in several
directories, opened, and read.

    from pilot import bundle; bundle.main(FILE)      in an interpreter as `bin/pilot.in` has it (`make build`)

    magic number of the interpreter · marshalled (bundled.py's code, rows, extensions, length of) · the modules' code

`bundled` reads it, and takes no module whose source has changed since.
"""

from __future__ import annotations

import importlib
import importlib.util
import marshal
import os
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from types import ModuleType

# What the verbs import when it is wanted, too; not what they never do.
_WANTED = (
    "command", "cli", "runtime.create", "runtime.execute", "runtime.hook_process", "planner.starting", "kernel.seccomp",
    "kernel._launch",
)  # fmt: skip


def load_all() -> None:
    """Everything that a command line may load."""
    from . import cli

    assert cli.main is not None
    main = importlib.import_module("pilot.cli.main")
    for name in main.VERBS:
        main.load_verb(name)
    for name in _WANTED:
        importlib.import_module(f"pilot.{name}")
    for name in ("json", "socket", "subprocess", "threading", "select"):
        importlib.import_module(name)


def write(path: str) -> int:
    """Bundle what is loaded; the number of modules."""
    rows: dict[str, tuple[str, int, int, bool, int, int]] = {}
    extensions: dict[str, str] = {}
    code = bytearray()
    for name, module in sorted(sys.modules.items()):
        loader = getattr(module.__spec__, "loader", None) if isinstance(module, ModuleType) else None
        if isinstance(loader, ExtensionFileLoader):
            extensions[name] = os.path.abspath(loader.path)
        elif isinstance(loader, SourceFileLoader) and name != "__main__":
            source = os.path.abspath(loader.path)
            found = os.stat(source)
            content = marshal.dumps(loader.get_code(name))
            is_package = loader.is_package(name)
            rows[name] = (source, found.st_mtime_ns, found.st_size, is_package, len(code), len(content))
            code += content
    importer = importlib.import_module("pilot.bundled").__spec__
    assert importer is not None
    assert isinstance(importer.loader, SourceFileLoader)
    head = marshal.dumps((importer.loader.get_code("pilot.bundled"), rows, extensions, len(code)))
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + head + code)
    os.rename(temporary, path)
    return len(rows)


def main(path: str) -> None:
    load_all()
    write(path)
