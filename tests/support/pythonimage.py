"""A layer with this host's Python, for images of tests: the interpreter, its standard library, what both are linked
with, and whatever packages of ours a test wants in it."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.layers import Item, symlink, tar

SITE = "usr/lib/python3/dist-packages"
_PYTHON = Path(sysconfig.get_path("stdlib")).name  # python3.11
_LEFT_OUT = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "site-packages", "dist-packages",
     "distutils", "pydoc_data", "turtledemo", "unittest", "curses", "sqlite3", "wsgiref", "venv",
     f"config-{sysconfig.get_config_var('LDVERSION')}-{sysconfig.get_config_var('MULTIARCH')}"}
)  # fmt: skip


@functools.cache
def layer() -> bytes:
    """To be put over `images.busybox_layer`, which has no /lib of its own."""
    program = os.path.realpath(f"/usr/bin/{_PYTHON}")
    library = Path(sysconfig.get_path("stdlib"))
    linked = {program, *map(str, (library / "lib-dynload").glob("*.so"))}
    items = [Item(f"usr/bin/{_PYTHON}", data=Path(program).read_bytes(), mode=0o755)]
    items += [_file(path) for path in sorted({found for each in linked for found in _linked_with(each)})]
    items += [Item(str(path).lstrip("/"), data=path.read_bytes()) for path in _files(library)]
    return tar(*items, symlink("usr/bin/python3", _PYTHON))


def programs(*paths: str) -> bytes:
    """A layer with these programs of the host, and what they are linked with, to be put over the one above."""
    linked = sorted({found for path in paths for found in _linked_with(path)})
    return tar(*(_file(path) for path in (*paths, *linked)))


def packages(*names: str, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[str, bytes]]:
    """(path below a site directory, content) of modules and packages of this environment; of each file whose path is
    `wanted`."""
    for name in names:
        found = importlib.util.find_spec(name)
        origin = Path(str(found.origin if found else None))
        assert origin.is_file(), name
        files = _files(origin.parent) if origin.name == "__init__.py" else iter([origin])
        root = origin.parent.parent if origin.name == "__init__.py" else origin.parent
        for path in files:
            if wanted(place := str(path.relative_to(root))):
                yield place, path.read_bytes()


def _file(path: str) -> Item:
    return Item(path.lstrip("/"), data=Path(path).read_bytes(), mode=0o755)


def _files(directory: Path) -> Iterator[Path]:
    for place, directories, names in os.walk(directory):
        directories[:] = sorted(set(directories) - _LEFT_OUT)
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _linked_with(program: str) -> Iterator[str]:
    told = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for line in told.splitlines():
        place = line.partition(" => ")[2] or line
        if (path := place.split()[0]).startswith("/"):
            yield path
