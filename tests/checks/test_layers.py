"""The layer table holds for every module, and every module imports alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.checks import layers

SOURCE = Path(__file__).parents[2] / "src" / "pilot"


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted((_name(path), path) for path in SOURCE.rglob("*.py") if _name(path))


def _targets(module: str, path: Path) -> Iterator[tuple[int, str]]:
    """Each module below `pilot` that `path` imports, with the line; imports for types alone count as well."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, _resolve([*base, alias.name])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pilot":
            base = (node.module or "").split(".")[1:]
            for alias in node.names:
                yield node.lineno, _resolve([*base, alias.name])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "pilot":
                    yield node.lineno, ".".join(alias.name.split(".")[1:])


def _resolve(parts: list[str]) -> str:
    """`package.name` when that is a module, else the module that holds the name."""
    whole = SOURCE.joinpath(*parts)
    if whole.with_suffix(".py").exists() or whole.is_dir() or parts[-1].startswith("_launch"):
        return ".".join(parts)
    return ".".join(parts[:-1])


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_only_what_its_layer_may(module: str, path: Path) -> None:
    forbidden = [
        f"{path.name}:{line} imports pilot.{target}"
        for line, target in _targets(module, path)
        if target and not layers.may_import(module, target)
    ]
    assert forbidden == []


def test_the_check_sees_a_forbidden_import() -> None:
    assert not layers.may_import("host.api.sprites", "agent.world")
    assert not layers.may_import("host.fsm.engine", "host.store")
    assert not layers.may_import("spec.parse", "plan.program")
    assert not layers.may_import("volume.disk.disk", "volume.remote.log.hold")
    assert not layers.may_import("volume.serving.worker", "volume.volumed.volumes")
    assert layers.may_import("host.vmm.container", "runtime")
    assert layers.may_import("volume.volumed.volumes", "volume.disk.disk")


def _others(path: Path) -> Iterator[str]:
    """Each module that is not ours and that `path` imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


_ALONE = """
import contextlib, importlib, os, sys

others, ours = sys.argv[1].split(), sys.argv[2].split()
for name in others:  # once for all, since they take most of the time
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for name in ours:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_module_imports_alone() -> None:
    ours = [f"pilot.{name}" for name, _ in MODULES if not name.endswith("__main__")]
    others = {name for _, path in MODULES for name in _others(path) if name.split(".")[0] != "pilot"}
    result = subprocess.run(
        [sys.executable, "-c", _ALONE, " ".join(sorted(others)), " ".join(ours)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert result.stdout + result.stderr == ""


def test_one_file_of_the_host_knows_which_database_it_is() -> None:
    """So that another one is another file."""
    host = SOURCE / "host"
    knowing = [str(path.relative_to(host)) for path in sorted(host.rglob("*.py")) if "sqlite3" in path.read_text()]
    assert knowing == ["store/sqlite.py"]
