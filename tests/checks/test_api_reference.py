"""The reference page of the pilot API says what the table, the document and the kit say; what a new operation lacks in
the document can be written from them."""

from __future__ import annotations

from types import NoneType
from typing import Any

import msgspec
import pytest
import yaml
from tests.support import api_document, api_reference, contract

from pilot.wire import schema
from pilot.wire.operations import Operation
from pilot.wire.permissions import Permission


def test_the_page_is_made_of_what_there_is() -> None:
    assert api_reference.PAGE.read_text() == api_reference.page(), "python -m tests.support.api_reference"


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size_bytes: int = 0


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """What grows: one of the kind."""

    leaves: list[Leaf]


def _made(row: Operation[Any, Any], **parameters: str) -> dict[str, Any]:
    text = api_document.with_operation(contract.PATH.read_text(), row, "Of a test: ours.", parameters, {400})
    made = yaml.safe_load(text)
    assert isinstance(made, dict)
    there = contract.document()
    assert {**made, "paths": {**made["paths"], row.path: None}, "components": None} == {
        **there, "paths": {**there["paths"], row.path: None}, "components": None,
    }, "nothing else has changed"  # fmt: skip
    assert there["components"]["schemas"].items() <= made["components"]["schemas"].items()
    return made


def test_an_operation_is_written_with_its_schemas() -> None:
    row = Operation("growTree", "POST", "/v1/trees/{tree}", schema.AdoptRequest, Tree, Permission.HOST)
    made = _made(row, tree="the tree's", deep="how deep")
    schemas = made["components"]["schemas"]
    _, ours = msgspec.json.schema_components([Tree], ref_template="#/components/schemas/{name}")
    assert schemas.keys() - contract.document()["components"]["schemas"].keys() == {"Leaf", "Tree"}
    assert {name: schemas[name]["properties"] for name in ours} == {n: s["properties"] for n, s in ours.items()}
    assert schemas["Tree"]["description"] == "What grows: one of the kind."
    written = made["paths"]["/v1/trees/{tree}"]["post"]
    assert [(row["name"], row["in"], row["required"]) for row in written["parameters"]] == [
        ("tree", "path", True), ("deep", "query", False),
    ]  # fmt: skip
    assert written["summary"] == "Of a test: ours."
    assert set(written["responses"]) == {"200", "400"}


@pytest.mark.parametrize("path", ["/v1/version", "/v1/services/{service}/logs"])
def test_a_method_joins_those_of_its_path(path: str) -> None:
    row = Operation("other", "PATCH", path, NoneType, NoneType, Permission.HOST, status=204)
    made = _made(row)["paths"][path]
    assert made == {**contract.document()["paths"][path], "patch": made["patch"]}
    assert set(made["patch"]["responses"]) == {"204", "400"}


def test_what_is_there_is_let_alone() -> None:
    row = Operation("getVersion", "GET", "/v1/version", NoneType, schema.Version, Permission.HOST)
    text = contract.PATH.read_text()
    assert api_document.with_operation(text, row, "Another summary.", {}, ()) == text
