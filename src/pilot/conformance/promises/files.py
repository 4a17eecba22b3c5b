"""Files of the world: one directory is made, everything is done in it, and it is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from ...machine.exchange import Answer
from ...wire import operations, schema, websocket
from ...wire.operations import Answered, Operation
from .. import expect
from ..promise import Promise, World
from ..subject import Subject
from . import rows

_NONE = "/no/such/file"
_CONTENT = b"0123456789"


def promises() -> Iterator[Promise]:
    for operation, text, ask in _CONVERSATIONS:
        yield Promise(operation.id, text, _in_a_directory(ask), World.RUNNING)
    for operation, text, status, code, query, body in _REFUSALS:
        yield rows.refusal(operation, text, status, code, query=query, json=body, world=World.RUNNING)
    text = "a range beyond the end is refused"
    yield Promise("readFile", text, _in_a_directory(_no_range), World.RUNNING, statuses=(416,))


def _in_a_directory(ask: Callable[[Subject, str], None]) -> Callable[[Subject], None]:
    """`ask` is given a directory in which there is a file `one`; afterwards there is nothing."""

    def whole(subject: Subject) -> None:
        directory = f"/tmp/{subject.scratch}"
        _value(subject, operations.WRITE_FILE, query=[("path", f"{directory}/one")], body=_CONTENT)
        try:
            ask(subject, directory)
        finally:
            subject.ask(operations.DELETE_FILE, query=[("path", directory), ("recursive", "true")])

    return whole


def _value(subject: Subject, operation: Operation[Any, Answered], **request: Any) -> Answered:
    return expect.answered(operation, subject.ask(operation, **request), subject.isolation)


def _read(subject: Subject, path: str) -> bytes:
    return _value(subject, operations.READ_FILE, query=[("path", path)])


def _list(subject: Subject, path: str) -> dict[str, schema.Entry]:
    listing = _value(subject, operations.LIST_FILES, query=[("path", path)])
    expect.that(listing.count == len(listing.entries), f"the count of its rows was meant: {listing}")
    return {entry.name: entry for entry in listing.entries}


def _write(subject: Subject, directory: str) -> None:
    path = f"{directory}/deep/down"
    written = _value(subject, operations.WRITE_FILE, query=[("path", path), ("mode", "0600")], body=b"abc")
    expect.that((written.path, written.size) == (path, 3), f"3 bytes at {path} were meant: {written}")
    expect.that(_read(subject, path) == b"abc", "what was written was meant to be read")
    expect.that(int(_list(subject, f"{directory}/deep")["down"].mode, 8) & 0o777 == 0o600, "mode 0600 was meant")


def _whole(subject: Subject, directory: str) -> None:
    expect.that(_read(subject, f"{directory}/one") == _CONTENT, "what was written was meant to be read")


def _ranged(subject: Subject, directory: str) -> Answer:
    query, headers = [("path", f"{directory}/one")], [("Range", "bytes=2-4")]
    return subject.ask(operations.READ_FILE, query=query, headers=headers)


def _range(subject: Subject, directory: str) -> None:
    answer = _ranged(subject, directory)
    expect.that((answer.status, answer.body) == (206, b"234"), f"206 and 234 were meant: {expect.shown(answer)}")
    told = answer.headers.get("content-range")
    expect.that(told == "bytes 2-4/10", f"Content-Range: bytes 2-4/10 was meant, not {told}")


def _no_range(subject: Subject, directory: str) -> None:
    query, headers = [("path", f"{directory}/one")], [("Range", "bytes=99-")]
    expect.refused(subject.ask(operations.READ_FILE, query=query, headers=headers), 416, "invalid_argument")


def _listed(subject: Subject, directory: str) -> None:
    entries = _list(subject, directory)
    expect.that(list(entries) == ["one"], f"one entry was meant: {entries}")
    entry = entries["one"]
    meant = (entry.path, entry.type, entry.size, entry.is_dir) == (f"{directory}/one", "file", 10, False)
    expect.that(meant, f"a file of 10 bytes was meant: {entry}")


def _delete(subject: Subject, directory: str) -> None:
    path = f"{directory}/one"
    deleted = _value(subject, operations.DELETE_FILE, query=[("path", path)])
    expect.that((deleted.deleted, deleted.count) == ([path], 1), f"{path} was meant: {deleted}")
    expect.refused(subject.ask(operations.DELETE_FILE, query=[("path", path)]), 404, "ENOENT")


def _rename(subject: Subject, directory: str) -> None:
    source, dest = f"{directory}/one", f"{directory}/two"
    moved = _value(subject, operations.RENAME_FILE, json={"source": source, "dest": dest})
    expect.that((moved.source, moved.dest) == (source, dest), f"{source} to {dest} was meant: {moved}")
    expect.that(list(_list(subject, directory)) == ["two"], "only the new name was meant to be there")


def _copy(subject: Subject, directory: str) -> None:
    source, dest = f"{directory}/one", f"{directory}/two"
    copied = _value(subject, operations.COPY_FILE, json={"source": source, "dest": dest})
    expect.that((copied.count, copied.total_bytes) == (1, 10), f"one file of 10 bytes was meant: {copied}")
    expect.that(_read(subject, dest) == _read(subject, source) == _CONTENT, "two of the same were meant")


def _mode(subject: Subject, directory: str) -> None:
    path = f"{directory}/one"
    changed = _value(subject, operations.CHANGE_MODE, json={"path": path, "mode": "0640"})
    expect.that(changed.count == 1 and changed.affected[0].path == path, f"{path} was meant: {changed}")
    expect.that(int(_list(subject, directory)["one"].mode, 8) & 0o777 == 0o640, "mode 0640 was meant to be listed")


def _owner(subject: Subject, directory: str) -> None:
    path = f"{directory}/one"
    changed = _value(subject, operations.CHANGE_OWNER, json={"path": path, "uid": 1000, "gid": 1000})
    row = changed.affected[0] if changed.affected else None
    expect.that(row == schema.OwnerChange(path=path, uid=1000, gid=1000), f"1000 of {path} was meant: {changed}")


def _watch(subject: Subject, directory: str) -> None:
    with subject.open(operations.WATCH_FILES) as socket:
        socket.send(msgspec.json.encode({"type": "subscribe", "paths": [directory]}).decode())
        first = expect.frame(socket.receive(), schema.WatchEvent)
        expect.that((first.type, first.paths) == ("subscribed", [directory]), f"subscribed was meant: {first}")
        _value(subject, operations.WRITE_FILE, query=[("path", f"{directory}/new")], body=b"x")
        event = _event(socket.receive())
        while (event.path, event.event) != (f"{directory}/new", "create"):
            event = _event(socket.receive())


def _event(event: websocket.Event) -> schema.WatchEvent:
    told = expect.frame(event, schema.WatchEvent)
    expect.that(told.type == "event", f"an event was meant: {told}")
    return told


_Conversation = tuple[Operation[Any, Any], str, Callable[[Subject, str], None]]
_CONVERSATIONS: tuple[_Conversation, ...] = (
    (operations.WRITE_FILE, "a file with its directories, as large and of the mode as asked", _write),
    (operations.READ_FILE, "the content of a file", _whole),
    (operations.READ_FILE, "a range of it", _range),
    (operations.LIST_FILES, "what is in a directory", _listed),
    (operations.DELETE_FILE, "it is gone, and a second time not found", _delete),
    (operations.RENAME_FILE, "it has the new name alone", _rename),
    (operations.COPY_FILE, "there are two", _copy),
    (operations.CHANGE_MODE, "the mode is set", _mode),
    (operations.CHANGE_OWNER, "the owner is set", _owner),
    (operations.WATCH_FILES, "a change is told to who has subscribed", _watch),
)
_Refusal = tuple[Operation[Any, Any], str, int, str, Sequence[tuple[str, str]], object]
_MISSING = "what is not there is not found"
_REFUSALS: tuple[_Refusal, ...] = (
    (operations.READ_FILE, _MISSING, 404, "ENOENT", [("path", _NONE)], None),
    (operations.READ_FILE, "a directory has no content", 400, "EISDIR", [("path", "/tmp")], None),
    (operations.WRITE_FILE, "a directory is not replaced", 400, "EISDIR", [("path", "/tmp")], None),
    (operations.LIST_FILES, _MISSING, 404, "ENOENT", [("path", _NONE)], None),
    (operations.DELETE_FILE, _MISSING, 404, "ENOENT", [("path", _NONE)], None),
    (operations.RENAME_FILE, _MISSING, 404, "ENOENT", (), {"source": _NONE, "dest": "/tmp/other"}),
    (operations.COPY_FILE, _MISSING, 404, "ENOENT", (), {"source": _NONE, "dest": "/tmp/other"}),
    (operations.CHANGE_MODE, _MISSING, 404, "ENOENT", (), {"path": _NONE, "mode": "0644"}),
    (
        operations.CHANGE_MODE,
        "9 is no mode",
        400,
        "invalid_argument",
        (),
        {"path": "/tmp", "mode": "9"},
    ),
    (operations.CHANGE_OWNER, _MISSING, 404, "ENOENT", (), {"path": _NONE, "uid": 0}),
)
