"""No class is longer than one can hold in mind, and facts are typed where they were dicts once (`shape`)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.checks import shape

_SRC = Path(__file__).parents[2] / "src" / "pilot"


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(_SRC.rglob("*.py")):
        yield ".".join(path.relative_to(_SRC).with_suffix("").parts), ast.parse(path.read_text())


def _long_classes(module: str, tree: ast.Module, limit: int) -> dict[str, int]:
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    lengths = {f"{module}.{one.name}": (one.end_lineno or 0) - one.lineno + 1 for one in classes}
    return {name: length for name, length in lengths.items() if length > limit}


def _uses_of_any(tree: ast.Module) -> int:
    return sum(
        (isinstance(node, ast.Name) and node.id == "Any") or (isinstance(node, ast.Attribute) and node.attr == "Any")
        for node in ast.walk(tree)
    )


def test_no_class_is_too_long() -> None:
    found: dict[str, int] = {}
    for module, tree in _trees():
        found |= _long_classes(module, tree, shape.MAX_CLASS_LINES)
    assert not found, "take it apart along what it owns"


def test_any_stands_where_it_may() -> None:
    found = Counter({module: _uses_of_any(tree) for module, tree in _trees() if module.split(".")[0] in shape.TYPED})
    more = {module: count for module, count in found.items() if count > shape.ANY.get(module, 0)}
    assert not more, "facts are typed; for a document that is parsed, or a library without types: tests/checks/shape.py"
    assert set(shape.ANY) <= {module for module, count in found.items() if count}, "of this list, not needed any more"


@pytest.mark.parametrize(("limit", "is_long"), [(3, True), (4, False)])
def test_a_class_that_is_too_long_is_found(limit: int, is_long: bool) -> None:
    tree = ast.parse("class Long:\n    '''One.'''\n    a = 1\n    b = 2\n")
    assert _long_classes("m", tree, limit) == ({"m.Long": 4} if is_long else {})


def test_any_is_found_however_it_is_spelled() -> None:
    assert _uses_of_any(ast.parse("import typing\nx: dict[str, Any]\ny: typing.Any\nfrom typing import Any\n")) == 2
