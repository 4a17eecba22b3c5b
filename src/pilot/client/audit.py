"""Verbs on audit logs: read one, and verify one that was read, without anybody being asked."""

from __future__ import annotations

import json
import sys

from .. import errors
from ..wire import chain
from . import output, words
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .context import Context

_KEY = "/v1/audit/key"


def show(context: Context) -> None:
    """With --json as it is, head and all, so that it can be verified."""
    said = context.said
    path = "/v1/audit" if said.has("organisation") else sprite_path(context.sprite, "audit")
    query = [("since", said.option("since") or "")] if said.has("since") else []
    query += [("follow", "true")] if said.has("follow") else []
    answer = context.api.raw("GET", path, query, patience_s=60.0)
    try:
        if context.wants_json:
            for piece in answer.pieces():
                output.write_all(1, piece)
            return
        for text in answer.lines():
            if (shown := _told(text)) is not None:
                output.line(shown)
                sys.stdout.flush()
    finally:
        answer.close()


def _told(text: bytes | str) -> str | None:
    """A line of a log, which may have been changed; None for its head."""
    try:
        found = json.loads(text)
        return _shown(found) if "seq" in found else None
    except (KeyError, TypeError, AttributeError, *errors.UNREADABLE):
        return "?  not a record: `sprite audit verify` says what is wrong with it"


def _shown(record: dict[str, Any]) -> str:
    who = record.get("who") or {}
    named = who.get("key") or (f"machine {who['machine']}" if "machine" in who else "nobody" if who == {} else "?")
    if record["kind"] == "log":
        named = "pilotd"
    rest = [f"{key}={_value(value)}" for key, value in (record.get("detail") or {}).items()]
    rest += [f"({record['why']})"] if record.get("why") else [f"({record['status']})"] if record.get("status") else []
    head = (
        f"{record['seq']}  {output.moment(record['at'])}  {record['decision']:7}  {record['kind']:6}  {record['what']}"
    )
    text = "  ".join([head, named, record.get("from", ""), *rest]).rstrip()
    return "".join(each if each.isprintable() else "?" for each in text)


def _value(value: object) -> str:
    if isinstance(value, list):
        import shlex

        return shlex.join(map(str, value))
    return str(value)


def show_key(context: Context) -> None:
    found = context.api.call("GET", _KEY)
    if context.wants_json:
        output.document(found)
    else:
        output.line(found["public_key"].rstrip())


def verify(context: Context) -> None:
    """`PilotError` that names the first record that is not what was written."""
    said = context.said
    path, since = said.required("FILE"), said.option("since")
    if since is not None and not (since.isascii() and since.isdecimal()):
        raise words.UsageError(f"--since {since}: not a number")
    has_key = said.has("key")  # then nobody else is asked, whatever is in that file
    pem = _read(said.option("key") or "").decode(errors="replace") if has_key else _published(context)
    lines = _read(path).splitlines(keepends=True)
    try:
        verdict = chain.verify(lines, _checking(pem), None if since is None else int(since))
    except chain.Broken as error:
        raise errors.PilotError(f"{path}: {error}") from error
    if context.wants_json:
        head = verdict.head
        output.document(
            {"subject": head.subject, "first": verdict.first, "records": verdict.records, "last": head.last.seq,
             "sealed_at": head.at, "lacks": verdict.lacks}
        )  # fmt: skip
        return
    told = f"{verdict.records} records from {verdict.first} on" if verdict.records else "no records"
    output.line(f"{path}: whole: {told} of {verdict.head.subject}, sealed {output.moment(verdict.head.at)}")
    for text in verdict.lacks:
        output.line(f"  {text}")


def _published(context: Context) -> str:
    return str(context.api.call("GET", _KEY)["public_key"])


def _read(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise errors.HostError(f"read {path}: {(error.strerror or str(error)).lower()}") from error


def _checking(pem: str) -> Callable[[bytes, bytes], bool]:
    """Whether a signature is by that key. A library for this verb alone: the others start without any."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise errors.PilotError("the key is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise errors.PilotError("the key is not one of Ed25519")

    def check(document: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, document)
        except InvalidSignature:
            return False
        return True

    return check
