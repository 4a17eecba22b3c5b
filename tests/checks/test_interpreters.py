"""A Python that we start as a program looks for no module in the directory where we happen to stand.

`python -m` puts the working directory first: root in a directory of somebody else's would run what lies there as
`dns.py`.
"""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

SOURCES = pathlib.Path(__file__).parents[2] / "src"


def _is_interpreter(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _words(command: ast.List | ast.Tuple, constants: dict[str, ast.expr]) -> Iterator[str]:
    """Each text of it, also of constants of its module."""
    for each in command.elts:
        found = constants.get(each.id, each) if isinstance(each, ast.Name) else each
        yield from (
            node.value for node in ast.walk(found) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )


def unsafe(source: str) -> list[int]:
    """Lines of commands that begin Python without -P or -I."""
    tree = ast.parse(source)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.List | ast.Tuple) and any(map(_is_interpreter, node.elts))
        if not any(
            word.startswith("-") and not word.startswith("--") and {"P", "I"} & set(word)
            for word in _words(node, _constants(tree))
        )
    ]


def test_no_program_of_ours_looks_where_it_stands() -> None:
    found = {str(path.relative_to(SOURCES)): unsafe(path.read_text()) for path in SOURCES.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("run([sys.executable, '-m', 'x'])", [1]),
        ("run(('setsid', sys.executable, '-m', 'x'))", [1]),
        ("run([sys.executable, '-P', '-m', 'x'])", []),
        ("run([sys.executable, '-ISE', 'x'])", []),
        ("A = '-I'\nrun([sys.executable, A, 'x'])", []),
        ("run([sys.executable, '--parent', 'x'])", [1]),
    ],
)
def test_what_is_looked_for(source: str, lines: list[int]) -> None:
    assert unsafe(source) == lines
