"""What a request says of itself that is written down: by kind, some fields of its query and of its JSON. Pure.

A field that is not named here is not looked at: values of secrets, environments and contents never come into a log.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from ... import errors
from ...wire.audit import Kind
from . import records
from .records import Detail, Value

MOST_QUERY_BYTES = 64 << 10
MOST_BODY_BYTES = 1 << 20
_WORDS = frozenset({"cmd", "command", "args"})  # command lines
_CALLED = {"name": "sprite", "id": "session"}  # parameters of paths
_UNREADABLE = "not readable"
_Document = Mapping[str, msgspec.Raw] | None


@dataclasses.dataclass(frozen=True)
class Field:
    """`path`: keys, with dots between them. `keys`: of an object only what is in it is called."""

    path: str
    keys: bool = False


def _fields(text: str) -> tuple[Field, ...]:
    return tuple(Field(path) for path in text.split())


FIELDS: Mapping[Kind, Sequence[Field]] = {
    Kind.EXEC: _fields("cmd command args path dir user tty container needs http_port signal timeout"),
    Kind.FILE: _fields("path source dest workingDir mode uid gid recursive asRoot working_dir as_root"),
    Kind.PORT: _fields("host port protocol"),
    Kind.TOKEN: _fields("name description role sprite app expires_in_s form aud"),
    Kind.POLICY: _fields("rules network memory cpu"),
    Kind.SECRET: (*_fields("type hosts"), Field("values", keys=True)),
    Kind.CHANGE: _fields(
        "name names from template checkpoint comment url_settings lifecycle config.image config.ram_mb config.cpus"
        " app_name network size_gb signal url"
    ),
    Kind.EGRESS: _fields("name type rule address protocol port"),
}


def detail(kind: Kind, parameters: Mapping[str, str], query: bytes, body: bytes = b"") -> Detail:
    """Of what the path names, then the query, then the body. What of these is not looked at is told as such."""
    found: dict[str, Value] = {_CALLED.get(key, key): records.text(value) for key, value in parameters.items()}
    fields = FIELDS.get(kind, ())
    said = _said(query, frozenset(field.path for field in fields))
    if len(query) > MOST_QUERY_BYTES:
        found["query"] = f"longer than {MOST_QUERY_BYTES} bytes: its end is not looked at"
    document = _keys(body) if len(body) < MOST_BODY_BYTES else {}
    if len(body) >= MOST_BODY_BYTES:
        found["body"] = f"longer than {MOST_BODY_BYTES} bytes: not looked at"
    elif body and document is None:
        found["body"] = "no object of JSON"
    for field in fields:
        for value in (*_of_query(field, said), *_of_body(field, document)):
            found.setdefault(field.path, value)
    return found


def _said(query: bytes, wanted: Set[str]) -> Mapping[str, list[str]]:
    """Of its parameters those, in their order."""
    found: dict[str, list[str]] = {}
    for part in query[:MOST_QUERY_BYTES].decode("latin-1").split("&"):
        name, _, value = part.partition("=")
        if (name := urllib.parse.unquote_plus(name)) in wanted:
            found.setdefault(name, []).append(urllib.parse.unquote_plus(value))
    return found


def _of_query(field: Field, said: Mapping[str, list[str]]) -> Iterator[Value]:
    """Of a parameter that is there twice the first is what is done (wire/http.py)."""
    if values := said.get(field.path):
        yield records.words(values) if field.path in _WORDS else records.text(values[0])


def _of_body(field: Field, document: _Document) -> Iterator[Value]:
    value = _at(field.path, document)
    if field.keys:
        if isinstance(value, dict):
            yield records.words(sorted(value))
    elif isinstance(value, bool | int):
        yield value
    elif isinstance(value, str):
        yield records.text(value)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield records.words(value)
    elif value is not None:
        yield records.text(msgspec.json.encode(value).decode())


def _at(path: str, document: _Document) -> object:
    """What is there; None where nothing is, or nothing that can be read."""
    key, _, rest = path.partition(".")
    if document is None or key not in document:
        return None
    if rest:
        return _at(rest, _keys(document[key]))
    try:
        return msgspec.json.decode(document[key])
    except errors.UNREADABLE:
        return _UNREADABLE


def _keys(text: bytes | msgspec.Raw) -> _Document:
    """What is in an object, unread: whoever carries a request out reads no more of it than is wanted, and what else is
    in it is no reason for us to read nothing. None for what is no object."""
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw]) if text else None
    except errors.UNREADABLE:
        return None
