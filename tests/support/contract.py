"""The contracts as data: the operations of api/pilot.openapi.yaml, and what an answer of either must look like."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any, NamedTuple

import jsonschema
import yaml

PATH = pathlib.Path(__file__).parents[2] / "api" / "pilot.openapi.yaml"
SPRITES_PATH = PATH.with_name("sprites.openapi.yaml")
_METHODS = ("get", "put", "post", "delete", "head", "patch")


class Operation(NamedTuple):
    """One operation; a WebSocket of the same method and path is another one."""

    id: str
    method: str
    path: str
    websocket: bool
    responses: dict[str, Any]
    asked: dict[str, Any]
    frames: tuple[str, ...] = ()


@functools.cache
def document() -> dict[str, Any]:
    return dict(yaml.safe_load(PATH.read_text()))


@functools.cache
def sprites_document() -> dict[str, Any]:
    """api/sprites.openapi.yaml."""
    return dict(yaml.safe_load(SPRITES_PATH.read_text()))


def check_sprites(schema: str, value: Any) -> None:
    """ValidationError when the value is none of that schema of the Sprites API."""
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": sprites_document()["components"]}
    jsonschema.Draft202012Validator(wanted).validate(value)


def operations() -> dict[str, Operation]:
    """By operationId."""
    found = {}
    for path, item in document()["paths"].items():
        for method in (m for m in _METHODS if m in item):
            row = item[method]
            socket = row.get("x-websocket")
            found[row["operationId"]] = Operation(
                row["operationId"], method.upper(), path, bool(socket) and socket["operationId"] == row["operationId"],
                row["responses"], _content(row.get("requestBody", {})), tuple((socket or {}).get("server", ())),
            )  # fmt: skip
            if socket:
                found[socket["operationId"]] = Operation(
                    socket["operationId"], method.upper(), path, True, row["responses"], {}, tuple(socket["server"])
                )
    return found


def _content(body: dict[str, Any]) -> dict[str, Any]:
    """The schemas of a request's or an answer's body, by media type."""
    if "$ref" in body:
        body = document()["components"]["responses"][body["$ref"].rpartition("/")[2]]
    return {kind: content["schema"] for kind, content in body.get("content", {}).items()}


def answered(operation: Operation, status: int) -> dict[str, Any]:
    """The schemas of that answer's body, by media type."""
    return _content(operation.responses[str(status)])


def check_body(operation: Operation, status: int, body: bytes, content_type: str) -> None:
    """As `check_answer`, of what came: JSON, JSON in lines, bytes, or text."""
    content_type = content_type.partition(";")[0]
    if content_type == "application/x-ndjson":
        for line in body.splitlines():
            check_answer(operation, status, json.loads(line), content_type)
    elif content_type in ("application/octet-stream", "text/plain"):
        check_answer(operation, status, body.decode("latin-1"), content_type)
    else:
        check_answer(operation, status, json.loads(body) if body else None, content_type)


def check_answer(operation: Operation, status: int, value: Any, content_type: str) -> None:
    """AssertionError when the contract does not have this answer."""
    response = operation.responses.get(str(status))
    assert response is not None, f"{operation.id}: status {status} is not in the contract"
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response.get("content")
    if content is None:
        assert value is None
        return
    assert content_type in content, f"{operation.id}: {content_type} is not in the contract"
    jsonschema.validate(value, {**content[content_type]["schema"], "components": document()["components"]})
