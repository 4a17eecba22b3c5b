"""docs/reference/isolation.md is true: each test that it names exists, and each fault has one."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent.parent
_ROOT = _TESTS.parent
_TEXT = (_ROOT / "docs/reference/isolation.md").read_text()
_FAULTS = _TEXT.partition("## Faults that were found")[2].partition("\n## ")[0]


@functools.cache
def _files() -> dict[str, Path]:
    """By name; the page names most files so."""
    return {path.name: path for path in _TESTS.rglob("test_*.py")}


@functools.cache
def _functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _words(text: str) -> Sequence[str]:
    return re.findall(r"`([^`]+)`", text)


def _rows() -> dict[str, Sequence[str]]:
    """What is held, or shown → tests and suites."""
    cells = [re.split(r"(?<!\\)\|", line) for line in _FAULTS.splitlines() if line.startswith("| ")]
    return {row[1].strip(): _words(row[3]) for row in cells if row[1].strip() not in ("fault", "what")}


@pytest.mark.parametrize("name", sorted({w for w in _words(_TEXT) if re.match(r"[\w/]*test_\w+\.py", w)}))
def test_what_it_names_exists(name: str) -> None:
    path, _, function = name.removeprefix("tests/").partition("::")
    found = _TESTS / path if "/" in path else _files().get(path)
    assert found is not None, "there is no such file"
    assert found.is_file(), "there is no such file"
    assert not function or function in _functions(found), "there is no such test"


def test_every_fault_has_tests() -> None:
    suites = {f"make {name}" for name in re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE)}
    assert len(_rows()) > 20
    for what, proofs in _rows().items():
        assert proofs, what
        assert {proof for proof in proofs if proof.startswith("make ")} <= suites, what
