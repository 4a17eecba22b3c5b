"""Code and contract of the pilot API agree: routes, operations, bodies; the kit asks for each operation."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from types import NoneType
from typing import Any
from unittest import mock

import jsonschema
import msgspec
import pytest
import yaml
from tests.api import test_conformance
from tests.support import contract

from pilot.agent import application
from pilot.conformance import promises
from pilot.wire import events, exec_frames, facts, faults, graph, operations, run_file, schema, services

ROWS = {row.id: row for row in operations.OPERATIONS}


def test_the_table_is_the_document() -> None:
    documented = {(row.id, row.method, row.path, row.websocket) for row in contract.operations().values()}
    table = {(row.id, row.method, row.path, row.websocket) for row in ROWS.values()}
    assert table - documented == set(), "in wire/operations.py, not in api/pilot.openapi.yaml"
    assert documented - table == set(), "in api/pilot.openapi.yaml, not in wire/operations.py"


def test_every_row_has_its_endpoint() -> None:
    modules = [kind for kind in vars(application).values() if isinstance(kind, type) and hasattr(kind, "routes")]
    bound = [route.operation.id for module in modules for route in module.routes(mock.MagicMock())]
    assert set(ROWS) - set(bound) == set(), "rows of wire/operations.py that no routes() of the agent answers"
    assert set(bound) - set(ROWS) == set(), "routes of the agent that have no row in wire/operations.py"
    assert len(bound) == len(set(bound)), "a row that two routes answer"


def _schema(kind: type) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


@pytest.mark.parametrize("id", ROWS)
def test_bodies_are_those_of_the_table(id: str) -> None:
    assert id in contract.operations(), "not in api/pilot.openapi.yaml"
    row, documented = ROWS[id], contract.operations()[id]
    if row.asked is bytes:
        assert set(documented.asked) == {"application/octet-stream"}
    else:
        assert documented.asked == ({} if row.asked is NoneType else {"application/json": _schema(row.asked)})
    if row.websocket:
        assert row.answered.__name__ in documented.frames
        assert "101" in documented.responses
        return
    answered = contract.answered(documented, row.status)
    if row.answered is bytes:
        assert set(answered) in ({"application/octet-stream"}, {"text/plain"}), "bytes, or a text that is no document"
    elif row.answered is NoneType:
        assert answered == {}
    else:
        whole = {"type": "array", "items": _schema(row.answered)} if row.many else _schema(row.answered)
        assert answered == {"application/x-ndjson" if row.lines else "application/json": whole}


def test_calls_are_of_operations() -> None:
    assert set(test_conformance.CALLS) - set(contract.operations()) == set()


def bodies() -> dict[str, type[msgspec.Struct]]:
    places = (schema, graph, events, facts, faults, exec_frames, services, run_file)
    found = {
        name: getattr(place, name, None) for place in places for name in contract.document()["components"]["schemas"]
    }
    found |= {
        name: getattr(place, name)
        for place in places
        for name in contract.document()["components"]["schemas"]
        if hasattr(place, name)
    }
    return {name: kind for name, kind in found.items() if kind is not None}


@pytest.mark.parametrize("name", sorted(contract.document()["components"]["schemas"]))
def test_bodies_have_the_fields_of_the_contract(name: str) -> None:
    kind = bodies()[name]
    _, generated = msgspec.json.schema_components([kind])
    ours, theirs = generated[name], contract.document()["components"]["schemas"][name]
    assert set(ours["properties"]) == set(theirs["properties"])
    assert ours.get("required", []) == theirs.get("required", [])


@pytest.mark.parametrize("name", ["pilot", "sprites"])
def test_a_document_is_valid_where_it_matters(name: str) -> None:
    """References resolve, and schemas are schemas."""
    document = yaml.safe_load((pathlib.Path("api") / f"{name}.openapi.yaml").read_text())
    assert document["openapi"].startswith("3.1")
    for reference in _references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for row in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(row)


@pytest.mark.parametrize("name", ["pilot", "sprites"])
def test_a_document_says_nothing_twice(name: str) -> None:
    """Of two schemas with one name readers see the last."""
    tree = yaml.compose((pathlib.Path("api") / f"{name}.openapi.yaml").read_text())
    assert list(_repeated(tree)) == []


def _repeated(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (f"{key} (line {node.start_mark.line + 1})" for key in set(keys) if keys.count(key) > 1)
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            yield from _repeated(part)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in _references(item)]
    return [found for item in value for found in _references(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("id", ROWS)
def test_the_kit_asks_for_every_operation(id: str) -> None:
    """More than by what is derived from the table: at least one good call, or one that needs the world."""
    assert {promise.text for promise in promises.ALL if promise.operation == id} - {
        promise.text for promise in (*promises.derived.methods(), *promises.derived.bodies())
    }


def test_what_the_kit_wants_refused_is_documented() -> None:
    documented = contract.operations()
    wanted = {(p.operation, str(status)) for p in promises.ALL if p.operation in ROWS for status in p.statuses}
    assert {each for each in wanted if each[1] not in documented[each[0]].responses} == set()
