"""A log that cannot be changed unseen: lines of JSON, each with the hash of the one before it, and a signed head.

    {"seq":1,"prev":"<genesis>", … ,"hash":"<h1>"}      h1 = SHA-256 of all of the line before ,"hash"
    {"seq":2,"prev":"<h1>",      … ,"hash":"<h2>"}
    …
    {"head":{"subject":…,"seq":2,"hash":"<h2>","first":{"seq":1,"prev":…},"at":…},"signature":"<of the object>"}

A change of any bit of a line breaks that line's own hash; a line that is missing, added or moved breaks the order or
the next one's `prev`; what is missing at either end does not fit what the head says, which only the host can sign.
`genesis` is of the log's subject: one log does not pass for another. Pure, and of the standard library alone: whoever
verifies a log needs nothing of pilotd.
"""

from __future__ import annotations

import hashlib
import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEX = b"([0-9a-f]{64})"
_LINE = re.compile(rb'(\{"seq":([1-9][0-9]{0,17}),"prev":"' + _HEX + rb'",".*),"hash":"' + _HEX + rb'"\}\n')
_HEAD = re.compile(rb'\{"head":(\{.*\}),"signature":"([0-9a-f]{128})"\}\n')
_FORMAT = "pilot audit log 1"


class Broken(Exception):
    """`seq`: the first record that is not what was written, if it is one."""

    def __init__(self, why: str, seq: int | None = None) -> None:
        super().__init__(why if seq is None else f"record {seq}: {why}")
        self.why = why
        self.seq = seq


class Link:
    """The last record of a chain as far as it has come: its number and its hash."""

    __slots__ = ("hash", "seq")

    def __init__(self, seq: int, hash: str) -> None:
        self.seq = seq
        self.hash = hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and (self.seq, self.hash) == (other.seq, other.hash)

    def __hash__(self) -> int:
        return hash((self.seq, self.hash))

    def __repr__(self) -> str:
        return f"Link({self.seq}, {self.hash[:8]}…)"


def genesis(subject: str) -> Link:
    """What the first record follows."""
    return Link(0, hashlib.sha256(f"{_FORMAT}\0{subject}".encode()).hexdigest())


def append(before: Link, fields: bytes) -> tuple[bytes, Link]:
    """The line of a record with these `fields` (a JSON object that is not empty, on one line), and the link it is."""
    body = b'{"seq":%d,"prev":"%s",%s' % (before.seq + 1, before.hash.encode(), fields[1:-1])
    own = hashlib.sha256(body).hexdigest()
    return b'%s,"hash":"%s"}\n' % (body, own.encode()), Link(before.seq + 1, own)


class Record:
    """A line that is whole: what it says it is (`link`), and what it says it follows."""

    __slots__ = ("fields", "link", "previous")

    def __init__(self, link: Link, previous: Link, fields: dict[str, object]) -> None:
        self.link = link
        self.previous = previous
        self.fields = fields


def read(line: bytes) -> Record:
    """`Broken`."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise Broken("not a whole record")
    body, number, previous, own = found.groups()
    seq = int(number)
    if hashlib.sha256(body).hexdigest().encode() != own:
        raise Broken("it was changed: its hash is another one", seq)
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise Broken("it is no JSON", seq) from error
    return Record(Link(seq, own.decode()), Link(seq - 1, previous.decode()), fields)


class Head:
    """What the host says of a log: the last record, and what the first one that is kept follows."""

    __slots__ = ("at", "before_first", "last", "subject")

    def __init__(self, subject: str, last: Link, before_first: Link, at: str) -> None:
        self.subject = subject
        self.last = last
        self.before_first = before_first
        self.at = at

    def document(self) -> bytes:
        """What is signed."""
        first = {"seq": self.before_first.seq + 1, "prev": self.before_first.hash}
        body = {"subject": self.subject, "seq": self.last.seq, "hash": self.last.hash, "first": first, "at": self.at}
        return json.dumps(body, separators=(",", ":")).encode()


def head_line(head: Head, sign: Callable[[bytes], bytes]) -> bytes:
    """Signed."""
    document = head.document()
    return b'{"head":%s,"signature":"%s"}\n' % (document, sign(document).hex().encode())


def read_head(line: bytes, check: Callable[[bytes, bytes], bool]) -> Head:
    """`check` says whether a signature is of these bytes. `Broken`."""
    found = _HEAD.fullmatch(line)
    if found is None:
        raise Broken("not a whole head")
    document, signature = found.groups()
    if not check(document, bytes.fromhex(signature.decode())):
        raise Broken("the head is not signed by this key")
    try:
        body = json.loads(document)
        before = Link(int(body["first"]["seq"]) - 1, str(body["first"]["prev"]))
        return Head(str(body["subject"]), Link(int(body["seq"]), str(body["hash"])), before, str(body["at"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("the head says nothing that is known") from error


class Verdict:
    """A log in which nothing was found: what there is, and what it says of itself that it lacks."""

    __slots__ = ("first", "head", "lacks", "records")

    def __init__(self, first: int, records: int, head: Head, lacks: list[str]) -> None:
        self.first = first
        self.records = records
        self.head = head
        self.lacks = lacks


def verify(lines: Sequence[bytes], check: Callable[[bytes, bytes], bool], since: int | None = None) -> Verdict:
    """All of a log, its head at the end. `since`: only what follows that record was asked for. `Broken`, which names
    the first record that is not what was written."""
    head, broken = _sealing(lines, check)
    last = None if head is None else _start(head, since)
    first = 0 if last is None else last.seq + 1
    records = lines if head is None and not broken.is_of_head else lines[:-1]
    lacks: list[str] = []
    for line in records:
        record = _following(line, last)
        last = record.link
        lacks += _lacking(record)
    if head is None:
        raise Broken(broken.why, None if last is None else last.seq + 1)
    if last is not None and last.seq < head.last.seq:
        raise Broken(f"it is missing: the host has written {head.last.seq}", last.seq + 1)
    if last is not None and records and last != head.last:
        raise Broken("it is not the one that the head says", min(last.seq, head.last.seq + 1))
    return Verdict(first, len(records), head, lacks)


class _NoHead:
    """Why there is none, and whether the last line was meant to be one."""

    __slots__ = ("is_of_head", "why")

    def __init__(self, why: str, *, is_of_head: bool) -> None:
        self.why = why
        self.is_of_head = is_of_head


def _sealing(lines: Sequence[bytes], check: Callable[[bytes, bytes], bool]) -> tuple[Head | None, _NoHead]:
    if not lines or not lines[-1].startswith(b'{"head":'):
        return None, _NoHead("there is no head: the end may be missing", is_of_head=False)
    try:
        head = read_head(lines[-1], check)
    except Broken as error:
        return None, _NoHead(str(error), is_of_head=True)
    if head.before_first.seq == 0 and head.before_first != genesis(head.subject):
        return None, _NoHead(f"the head is of no log of {head.subject}", is_of_head=True)
    return head, _NoHead("", is_of_head=False)


def _start(head: Head, since: int | None) -> Link:
    """What the first record follows; of what is in the middle of a log its hash is not known."""
    if since is None or since <= head.before_first.seq:
        return head.before_first
    return Link(min(since, head.last.seq), "")


def _following(line: bytes, last: Link | None) -> Record:
    """The record of the line, when it is the one after `last`; None: whatever it is after."""
    try:
        record = read(line)
    except Broken as error:
        raise Broken(error.why, error.seq if last is None else last.seq + 1) from error
    if last is None:
        return record
    if record.link.seq > last.seq + 1:
        missing = record.link.seq - 1
        told = "it is" if missing == last.seq + 1 else f"it and all up to {missing} are"
        raise Broken(f"{told} missing", last.seq + 1)
    if record.link.seq != last.seq + 1:
        raise Broken(f"record {record.link.seq} is in its place", last.seq + 1)
    if last.hash and record.previous != last:
        raise Broken("it does not follow the one before it", record.link.seq)
    return record


def _lacking(record: Record) -> list[str]:
    """What the log says of itself: that something was not written, or not found as it was left."""
    detail = record.fields.get("detail")
    if record.fields.get("kind") != "log" or not isinstance(detail, dict):
        return []
    seq = record.link.seq
    match record.fields.get("what"):
        case "lost":
            return [f"{detail.get('count')} records were not written before record {seq}: {detail.get('why')}"]
        case "dropped":
            return [f"records {detail.get('first')} to {detail.get('last')} were dropped: there is room for so many"]
        case "opened":
            return _found_at_opening(seq, detail)
    return []


def _found_at_opening(seq: int, detail: dict[str, object]) -> list[str]:
    found = []
    if detail.get("was_closed") is False:
        found.append(f"the log was not closed before record {seq}: what was asked in the last moment may be missing")
    if "cut_bytes" in detail:
        found.append(f"{detail['cut_bytes']} bytes of a record that was never whole were cut before record {seq}")
    if "head" in detail:
        found.append(f"the head was not as it was left before record {seq}: {detail['head']}")
    return found
