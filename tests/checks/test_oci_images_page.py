"""docs/reference/oci-images.md is true: each test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_TESTS = Path(__file__).parent.parent
_PAGE = _TESTS.parent / "docs/reference/oci-images.md"
_FILES = (
    *sorted((_TESTS / "unit/image/oci").glob("test_*.py")),
    *sorted((_TESTS / "unit/images").glob("test_*.py")),
    _TESTS / "kernel/test_oci_unpack.py",
    _TESTS / "kernel/test_run_image.py",
    _TESTS / "compat/test_oci_images.py",
)


def _tests() -> set[str]:
    nodes = (node for path in _FILES for node in ast.walk(ast.parse(path.read_text())))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_each_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", _PAGE.read_text()))
    assert len(named) > 50
    assert named - _tests() == set()
