"""No modules import each other in a circle, imports for types alone included: whoever reads one can stop somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.checks.test_layers import MODULES, _targets


def _graph() -> dict[str, set[str]]:
    names = {name for name, _ in MODULES}
    return {module: {to for _, to in _targets(module, path)} & names - {module} for module, path in MODULES}


def circles(graph: Mapping[str, set[str]]) -> Iterator[frozenset[str]]:
    """The sets of nodes that all reach each other: Tarjan's strongly connected components of two nodes and more."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> Iterator[frozenset[str]]:
        index[node] = low[node] = len(index)
        path.append(node)
        for to in sorted(graph.get(node, ())):
            if to not in index:
                yield from visit(to)
            if to in path:
                low[node] = min(low[node], low[to])
        if low[node] == index[node]:
            at = path.index(node)
            found = frozenset(path[at:])
            del path[at:]
            if len(found) > 1:
                yield found

    for node in sorted(graph):
        if node not in index:
            yield from visit(node)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert set(circles(_graph())) == set()


def test_the_check_sees_circles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert set(circles(graph)) == {frozenset("abc"), frozenset("de")}
