"""docs/reference/volume-failures.md is true: each row names tests, and each named test exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent.parent
_PAGE = _TESTS.parent / "docs/reference/volume-failures.md"


def _rows() -> dict[str, list[str]]:
    """Failure → its proofs."""
    cells = [[cell.strip() for cell in line.split("|")] for line in _PAGE.read_text().splitlines()]
    rows = [row for row in cells if len(row) == 6 and row[1] not in ("failure", "what") and not row[1].startswith("-")]
    return {f"{number}: {row[1]}": re.findall(r"`([^`]+)`", row[3]) for number, row in enumerate(rows)}


@functools.cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((_TESTS / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_line_of_its_tables_is_a_row() -> None:
    lines = [line for line in _PAGE.read_text().splitlines() if line.startswith("|")]
    assert len(_rows()) == len([line for line in lines if not re.match(r"\| (failure|what) \||\|---", line)]) > 30


@pytest.mark.parametrize("failure", sorted(_rows()))
def test_every_failure_has_tests_that_exist(failure: str) -> None:
    proofs = [proof.partition("::") for proof in _rows()[failure]]
    assert proofs
    assert [f"{path}::{test}" for path, _, test in proofs if test not in _functions(path)] == []
