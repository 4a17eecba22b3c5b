"""Imports modules from a bundle (`pilot.bundle`); executed by `bin/pilot.in` out of the bundle itself, with its file.

A module whose source has another time or size than when the bundle was made is not taken from it, nor is anything when
the interpreter is another: then Python's own importers find it as ever. Must import nothing that has to be found.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec, spec_from_loader
from _frozen_importlib_external import ExtensionFileLoader
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

    Row = tuple[str, int, int, bool, int, int]  # source, its time in ns and size, whether a package, offset, length


class Importer:
    """A finder on sys.meta_path, and the loader of what it finds."""

    def __init__(self, rows: Mapping[str, Row], extensions: Mapping[str, str], code: memoryview) -> None:
        self._rows = rows
        self._extensions = extensions
        self._code = code

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        row = self._rows.get(name)
        if row is None:
            return self._find_extension(name)
        source, time_ns, size, is_package, *_ = row
        if not _is_unchanged(source, time_ns, size):
            return None
        # It is a Loader by what it can do; the class would have to be looked for.
        spec = ModuleSpec(name, self, origin=source, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [source.rpartition("/")[0]]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own will do."""

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        *_, offset, length = self._rows[name]
        code: CodeType = marshal.loads(self._code[offset : offset + length])
        return code

    def _find_extension(self, name: str) -> ModuleSpec | None:
        path = self._extensions.get(name)
        if path is None:
            return None
        try:
            stat(path)
        except OSError:
            return None
        return spec_from_loader(name, ExtensionFileLoader(name, path))


def _is_unchanged(source: str, time_ns: int, size: int) -> bool:
    try:
        found = stat(source)
    except OSError:
        return False
    return found.st_mtime_ns == time_ns and found.st_size == size


def install(rows: Mapping[str, Row], extensions: Mapping[str, str], code: memoryview) -> None:
    """First of all finders."""
    sys.meta_path.insert(0, Importer(rows, extensions, code))
