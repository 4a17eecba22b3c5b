"""Writes into api/pilot.openapi.yaml what it lacks of a new operation, and docs/reference/pilot-api.md anew.

    .venv/bin/python -m tests.support.api_document getUptime 'How long the machine has run.' [PARAMETER='what' ...]

From the row come path, method and bodies, from the structs their schemas, from the kit's promises the refusals. What
is in the document already is let alone: afterwards it is edited by hand. A parameter that is not in the path is an
optional string of the query. A WebSocket is written by hand altogether.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec
import yaml

from pilot.conformance import promises
from pilot.wire import operations
from pilot.wire.operations import AnyOperation
from tests.support import api_reference, contract

_SCHEMAS = "#/components/schemas/"
_ERROR = {"$ref": "#/components/responses/Error"}


def with_operation(
    text: str, row: AnyOperation, summary: str, parameters: Mapping[str, str], refusals: Iterable[int]
) -> str:
    """The document's text with the operation and its schemas in it."""
    there = yaml.safe_load(text)
    known = there["components"]["schemas"]
    schemas = {name: schema for name, schema in _schemas(row).items() if name not in known}
    if row.method.lower() not in there["paths"].get(row.path, {}):
        text = _with_path(text, row, {row.method.lower(): _operation(row, summary, parameters, refusals)})
    return text + "".join(_yaml({name: schema}, 4) for name, schema in schemas.items())


def _with_path(text: str, row: AnyOperation, item: dict[str, Any]) -> str:
    """After the other methods of its path, or after the last path."""
    head = f"\n  {row.path}:\n"
    if head in text:
        before, _, after = text.partition(head)
        lines = after.splitlines(keepends=True)
        own = next(number for number, line in enumerate(lines) if not line.startswith("    "))
        return before + head + "".join(lines[:own]) + _yaml(item, 4) + "".join(lines[own:])
    return text.replace("\ncomponents:\n", "\n" + _yaml({row.path: item}, 2) + "components:\n")


def _operation(
    row: AnyOperation, summary: str, parameters: Mapping[str, str], refusals: Iterable[int]
) -> dict[str, Any]:
    inside = [part[1:-1] for part in row.path.split("/") if part.startswith("{")]
    told: dict[str, Any] = {"operationId": row.id, "summary": summary}
    names = [*inside, *(name for name in parameters if name not in inside)]
    if names:
        told["parameters"] = [_parameter(name, name in inside, parameters.get(name)) for name in names]
    if row.asked is not NoneType:
        told["requestBody"] = {"required": True, "content": _content(row.asked, lines=False, many=False)}
    good: dict[str, Any] = {"description": "done" if row.answered is NoneType else "it"}
    if row.answered is not NoneType:
        good["content"] = _content(row.answered, lines=row.lines, many=row.many)
    return told | {"responses": {str(row.status): good} | {str(status): dict(_ERROR) for status in sorted(refusals)}}


def _parameter(name: str, inside: bool, description: str | None) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": "path" if inside else "query", "required": inside}
    return parameter | ({"description": description} if description else {}) | {"schema": {"type": "string"}}


def _content(kind: type, *, lines: bool, many: bool) -> dict[str, Any]:
    if kind is bytes:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    one = {"$ref": _SCHEMAS + kind.__name__}
    schema = {"type": "array", "items": one} if many else one
    return {"application/x-ndjson" if lines else "application/json": {"schema": schema}}


def _schemas(row: AnyOperation) -> dict[str, Any]:
    """Of its structs, and of those that they are made of."""
    kinds = [kind for kind in (row.asked, row.answered) if issubclass(kind, msgspec.Struct)]
    _, found = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    order = ("description", "type", "properties", "required")
    return {name: {key: schema[key] for key in order if schema.get(key)} for name, schema in found.items()}


def _yaml(value: object, indent: int) -> str:
    text = yaml.dump(value, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=130)
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))


class _Plain(yaml.SafeDumper):
    """Every value where it stands, as people would write it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def main(words: Sequence[str]) -> None:
    """See the module."""
    if len(words) < 2:
        raise SystemExit(__doc__)
    id, summary, *pairs = words
    row = next((row for row in operations.OPERATIONS if row.id == id), None)
    if row is None or row.websocket:
        raise SystemExit(f"{id}: {'not in wire/operations.py' if row is None else 'a WebSocket: write it by hand'}")
    refusals = {status for promise in promises.ALL if promise.operation == id for status in promise.statuses}
    parameters = dict(pair.split("=", 1) for pair in pairs)
    text = with_operation(contract.PATH.read_text(), row, summary, parameters, refusals)
    contract.PATH.write_text(text)
    api_reference.PAGE.write_text(api_reference.page())


if __name__ == "__main__":
    main(sys.argv[1:])
