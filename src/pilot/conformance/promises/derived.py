"""Promises that follow from the table of operations: so none can be without them.

of each path            a method that it has not is 405, and `Allow` says which it has; a WebSocket alone wants one
of each JSON body       what is no JSON, and each field of a wrong type, is 400, and the text has the JSON path
of each call that needs the world: while it does not run it is 503 `world_not_running`, and nothing is done
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from ...machine import web_socket
from ...wire import operations
from ...wire.operations import Operation
from .. import expect
from ..promise import Ask, Promise, World
from ..subject import Subject

# No operation has it.
_METHOD = "PATCH"
# What stands for `{name}` in a path whose rest is asked about.
_PARAMETERS = {"service": "web", "name": "world", "seq": "1", "id": "1"}

_PATH = [("path", "/")]
_COMMAND = [("cmd", "true")]
# A request that makes sense, of each call that needs the world.
NEED_THE_WORLD: Mapping[str, tuple[Sequence[tuple[str, str]], object]] = {
    "listServices": ((), None),
    "execute": (_COMMAND, None),
    "openSession": (_COMMAND, None),
    "readFile": (_PATH, None),
    "writeFile": ([("path", "/tmp/none")], None),
    "listFiles": (_PATH, None),
    "deleteFile": ([("path", "/tmp/none")], None),
    "renameFile": ((), {"source": "/tmp/none", "dest": "/tmp/other"}),
    "copyFile": ((), {"source": "/tmp/none", "dest": "/tmp/other"}),
    "changeMode": ((), {"path": "/tmp/none", "mode": "0644"}),
    "changeOwner": ((), {"path": "/tmp/none", "uid": 0}),
    "watchFiles": ((), None),
}


def methods() -> Iterator[Promise]:
    """Of each path."""
    paths: dict[str, list[Operation[Any, Any]]] = {}
    for row in operations.OPERATIONS:
        paths.setdefault(row.path, []).append(row)
    for rows in paths.values():
        target = rows[0].target(_PARAMETERS)
        # A path without a name in it may be one of another row's, too: both have a say.
        allowed = frozenset(row.method for row in operations.OPERATIONS if row.fits(target))
        yield Promise(rows[0].id, "a method that the path has not is refused", _wrong_method(rows[0], allowed))
        if all(row.websocket for row in rows):
            text, ask = "what is no WebSocket handshake is refused", _plain(rows[0])
            yield Promise(rows[0].id, text, ask, statuses=(405,))


def bodies() -> Iterator[Promise]:
    """Of each JSON body, where the path names nothing."""
    for row in operations.OPERATIONS:
        if "{" in row.path or not issubclass(row.asked, msgspec.Struct):
            continue
        uses_up = row is operations.SHUTDOWN
        world = World.RUNNING if row.id in NEED_THE_WORLD else World.ANY
        about = functools.partial(Promise, row.id, world=world, uses_up=uses_up, statuses=(400,))
        yield about("a body that is no JSON is refused", _no_json(row))
        for field in _fields(row.asked):
            text = f"a wrong type of {field.encode_name} is refused by its path"
            yield about(text, _wrong_type(row, field.encode_name, wrong_body(row.asked, field)))


def without_world() -> Iterator[Promise]:
    """Of each call that needs the world."""
    for row in operations.OPERATIONS:
        if row.id in NEED_THE_WORLD:
            ask = _handshake_without_world(row) if row.websocket else _without_world(row)
            yield Promise(row.id, "without a world it is refused as such", ask, World.ABSENT, statuses=(503,))


def wrong_body(kind: type[msgspec.Struct], wrong: inspect.Field) -> dict[str, object]:
    """Nothing is wrong with it but that one field, which comes first."""
    body = {wrong.encode_name: _wrong_value(wrong.type)}
    return body | {f.encode_name: _value(f.type) for f in _fields(kind) if f.required and f.encode_name not in body}


def _fields(kind: type) -> Sequence[inspect.Field]:
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    return described.fields


def _wrong_value(kind: inspect.Type) -> object:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return 5 if any(isinstance(each, inspect.DictType | inspect.StructType) for each in kinds) else {"wrong": True}


def _value(kind: inspect.Type) -> object:
    """The least of that type."""
    match kind:
        case inspect.StrType():
            return "x"
        case inspect.IntType():
            return 1
        case inspect.ListType():
            return []
        case inspect.StructType():
            return {field.encode_name: _value(field.type) for field in kind.fields if field.required}
        case _:
            raise TypeError(f"a required field of type {kind}: say what its least value is")


def _wrong_method(row: Operation[Any, Any], allowed: frozenset[str]) -> Ask:
    def ask(subject: Subject) -> None:
        answer = subject.request(_METHOD, row.target(_PARAMETERS))
        expect.refused(answer, 405, "unimplemented")
        told = frozenset(word.strip() for word in answer.headers.get("allow", "").split(","))
        expect.that(told == allowed, f"Allow: {sorted(allowed)} was meant, not {sorted(told)}")

    return ask


def _plain(row: Operation[Any, Any]) -> Ask:
    return lambda subject: expect.refused(subject.request(row.method, row.target(_PARAMETERS)), 405, "unimplemented")


def _no_json(row: Operation[Any, Any]) -> Ask:
    return lambda subject: expect.refused(subject.ask(row, body=b'{"'), 400, "invalid_argument")


def _wrong_type(row: Operation[Any, Any], name: str, body: dict[str, object]) -> Ask:
    def ask(subject: Subject) -> None:
        told = expect.refused(subject.ask(row, json=body), 400, "invalid_argument").error
        expect.that(f"$.{name}" in told, f"the path $.{name} was meant to be in the error: {told!r}")

    return ask


def _without_world(row: Operation[Any, Any]) -> Ask:
    query, body = NEED_THE_WORLD[row.id]
    return lambda subject: expect.refused(subject.ask(row, query=query, json=body), 503, "world_not_running")


def _handshake_without_world(row: Operation[Any, Any]) -> Ask:
    def ask(subject: Subject) -> None:
        try:
            subject.open(row, NEED_THE_WORLD[row.id][0]).close()
        except web_socket.Refused as refused:
            expect.refused(refused.answer, 503, "world_not_running")
        else:
            raise expect.Unmet("a refusal was meant, and the WebSocket was opened")

    return ask
