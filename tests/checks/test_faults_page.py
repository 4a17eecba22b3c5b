"""docs/reference/faults.md is true: each row names tests, and each named test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent.parent
_PAGE = _TESTS.parent / "docs/reference/faults.md"
_ROWS = [line.split(" | ") for line in _PAGE.read_text().splitlines() if line.startswith("| ")][1:]


def test_every_row_has_what_it_needs() -> None:
    assert [row for row in _ROWS if len(row) != 3] == []
    assert len(_ROWS) > 12


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row[0])
def test_every_fault_has_tests_that_exist(row: list[str]) -> None:
    proofs = re.findall(r"`([^`]+)::([^`]+)`", row[2])
    assert proofs
    for path, test in proofs:
        tree = ast.parse((_TESTS / path).read_text())
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, path
