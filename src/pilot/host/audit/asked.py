"""What a request says of itself that is written down: by kind, some fields of its query and of its JSON. Pure.

A field that is not named here is not looked at: values of secrets, environments and contents never come into a log.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ... import errors
from ...wire.audit import Kind
from . import records
from .records import Detail, Value

MOST_BODY_BYTES = 1 << 20
_WORDS = frozenset({"cmd", "command", "args"})  # command lines
_CALLED = {"name": "sprite", "id": "session"}  # parameters of paths


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
    """Of what the path names, then the query, then the body."""
    found: dict[str, Value] = {_CALLED.get(key, key): records.text(value) for key, value in parameters.items()}
    said = urllib.parse.parse_qs(query.decode("latin-1"), max_num_fields=1000) if query else {}
    if len(body) >= MOST_BODY_BYTES:
        found["body"] = f"longer than {MOST_BODY_BYTES} bytes: not looked at"
    document = _document(body)
    for field in FIELDS.get(kind, ()):
        for value in (*_of_query(field, said), *_of_body(field, document)):
            found.setdefault(field.path, value)
    return found


def _of_query(field: Field, said: Mapping[str, list[str]]) -> Iterator[Value]:
    if values := said.get(field.path):
        yield records.words(values) if field.path in _WORDS else records.text(values[-1])


def _of_body(field: Field, document: object) -> Iterator[Value]:
    value = document
    for key in field.path.split("."):
        if not isinstance(value, dict) or key not in value:
            return
        value = value[key]
    if field.keys:
        yield records.words(sorted(map(str, value))) if isinstance(value, dict) else ()
    elif isinstance(value, bool | int):
        yield value
    elif isinstance(value, str):
        yield records.text(value)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield records.words(value)
    elif value is not None:
        yield records.text(msgspec.json.encode(value).decode())


def _document(body: bytes) -> object:
    """None for what is no JSON, or only the beginning of some."""
    if not body or len(body) >= MOST_BODY_BYTES:
        return None
    try:
        return msgspec.json.decode(body)
    except errors.UNREADABLE:
        return None  # whoever reads the body says so
