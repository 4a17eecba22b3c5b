"""One log on disk: files of whole lines, the chain going on from one to the next, and a signed head beside them.

    <state-dir>/audit/<subject>/        (0700)
        00000000000000000001.ndjson     named by the first record in it
        00000000000000002841.ndjson     the latest, which is appended to
        head                            wire/chain.py: the last record that is surely on the disk, and the first kept

    append ─► write(2) ─── within SYNC_S ──► fdatasync ─► head
    rotate ─► a new file, whose record says what is dropped ─► fdatasync ─► head ─► the oldest file is unlinked

What a crash leaves: half a line, which is cut; lines that the head does not know yet, which follow it by their hashes
and are kept; a file that is to be dropped, which is dropped again. A head that knows of more than there is was not left
by a crash. Each of these the first record after it tells (`opened`), and whether the log was closed before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterator

from ... import errors
from ...kernel import files
from ...wire import chain, timestamps
from ...wire.audit import Kind
from ...wire.chain import Broken, Head, Link
from . import records
from .records import Decision, Detail, Record
from .signing import Signer

FILE_BYTES = 1 << 20
FILES = 8
SYNC_S = 1.0
FORMAT = 1
_NAME = re.compile(r"(\d{20})\.ndjson")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """So many files of about so many bytes."""

    file_bytes: int = FILE_BYTES
    files: int = FILES


@dataclasses.dataclass(frozen=True)
class Found:
    """What was there when the log was opened."""

    cut_bytes: int = 0
    after_head: int = 0
    missing: int = 0
    head: str = ""  # what was wrong with it
    was_closed: bool = True

    def detail(self) -> Detail:
        said: dict[str, records.Value] = {"format": FORMAT, "was_closed": self.was_closed}
        told: dict[str, records.Value] = {
            "cut_bytes": self.cut_bytes,
            "after_head": self.after_head,
            "missing": self.missing,
            "head": self.head,
        }
        return said | {key: value for key, value in told.items() if value}


class Journal:
    """Not for several threads at once. OSError: nothing of what was to be appended is there; the log is as before."""

    def __init__(
        self, directory: str, subject: str, signer: Signer, bounds: Bounds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.subject = subject
        self._directory = directory
        self._signer = signer
        self._bounds = bounds or Bounds()
        self._clock = clock
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._names = list(_names(directory))
        self._size = 0  # of the latest file
        self._last = self._before_first = chain.genesis(subject)
        self._unsynced_s: float | None = None
        self._is_new = False
        self._open()

    # What there is

    @property
    def last(self) -> Link:
        return self._last

    def head(self) -> bytes:
        """A line: as of now, signed."""
        return chain.head_line(self._head(), self._signer.sign)

    def paths(self, since: int = 0) -> list[str]:
        """The files that have records after `since`, in order."""
        follows = [*(_first(name) for name in self._names[1:]), self._last.seq + 2]
        return [
            os.path.join(self._directory, name)
            for name, next_first in zip(self._names, follows, strict=True)
            if next_first > since + 1
        ]

    # What is added

    def append(self, record: Record) -> None:
        """It is the kernel's to keep when this returns, and on the disk after `sync`."""
        if self._size >= self._bounds.file_bytes:
            self._rotate()
        self._append(record)

    def close(self) -> None:
        """Nothing more is appended in an orderly way: what comes after this was begun anew."""
        self.append(_of_log("closed", {}))
        self.sync()

    @property
    def sync_due_s(self) -> float | None:
        """By when `sync` is to be called, of the clock."""
        return None if self._unsynced_s is None else self._unsynced_s + SYNC_S

    def sync(self) -> None:
        """What was appended survives a power loss, and the head knows of it. In this order: a head that is ahead of its
        log is the sign of somebody who takes records away."""
        if self._unsynced_s is None:
            return
        with self._latest() as fd:
            os.fdatasync(fd)
        if self._is_new:
            files.sync_directory(self._directory)
            self._is_new = False
        files.replace(os.path.join(self._directory, "head"), self.head())
        self._unsynced_s = None

    def put_off(self) -> None:
        """`sync` failed: it is due again after as long."""
        self._unsynced_s = self._clock()

    def _append(self, record: Record) -> None:
        line, link = chain.append(self._last, records.encode(record, timestamps.of_us(record.at_us)))
        with self._latest() as fd:
            try:
                files.write_all(fd, line)
            except OSError:
                os.ftruncate(fd, self._size)  # the beginning of a line that has no end
                raise
        self._size += len(line)
        self._last = link
        if self._unsynced_s is None:
            self._unsynced_s = self._clock()

    @contextlib.contextmanager
    def _latest(self) -> Iterator[int]:
        path = os.path.join(self._directory, self._names[-1])
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    # Files

    def _begin_file(self) -> None:
        self._names.append(f"{self._last.seq + 1:020d}.ndjson")
        self._size = 0
        self._is_new = True

    def _rotate(self) -> None:
        self.sync()
        self._begin_file()
        too_many = self._names[: -self._bounds.files]
        if not too_many:
            return
        first, last = _first(too_many[0]), _first(self._names[len(too_many)]) - 1
        before_first = self._last_of(too_many[-1])
        try:
            self._append(_of_log("dropped", {"first": first, "last": last}))
        except OSError:
            self._names.pop()
            self._size = os.stat(os.path.join(self._directory, self._names[-1])).st_size
            raise
        self._before_first = before_first
        self.sync()
        for name in too_many:
            with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
                os.unlink(os.path.join(self._directory, name))
        self._names = self._names[len(too_many) :]

    def _last_of(self, name: str) -> Link:
        """What the records after those in that file follow: as the next one says, which is kept."""
        following = self._names[self._names.index(name) + 1]
        with open(os.path.join(self._directory, following), "rb") as file:
            try:
                return chain.read(file.readline()).previous
            except Broken:
                return Link(_first(following) - 1, "0" * 64)  # whoever verifies is told where it is broken

    def _head(self) -> Head:
        return Head(self.subject, self._last, self._before_first, timestamps.now())

    # Opening

    def _open(self) -> None:
        head, wrong = self._read_head()
        origin = chain.genesis(self.subject)
        self._before_first = head.before_first if head else origin
        self._last = head.last if head else origin
        self._drop_again()
        cut_bytes, tail, was_closed = self._read_tail()
        known = next((at for at, link in enumerate(tail) if link == self._last), None)
        if head is None:
            self._last = tail[-1] if tail else origin
            after_head, missing = len(tail), 0
        else:
            following = tail if known is None else tail[known + 1 :]
            after_head = len(following) if known is not None or self._follows(following) else 0
            missing = self._last.seq - (tail[-1].seq if tail else _first(self._names[-1]) - 1 if self._names else 0)
            self._last = following[-1] if after_head else self._last
        if not self._names or missing > 0:
            self._begin_file()
        is_first = self._last == origin and not wrong
        found = Found(cut_bytes, after_head if not is_first else 0, max(missing, 0), wrong, was_closed or is_first)
        self._append(_of_log("opened", found.detail()))
        if is_first:
            self.sync()  # so that a log without a head is one whose head was taken away

    def _follows(self, links: list[Link]) -> bool:
        """Whether a file that was begun after the head goes on from there."""
        return bool(links) and links[0].seq == self._last.seq + 1

    def _read_head(self) -> tuple[Head | None, str]:
        try:
            with open(os.path.join(self._directory, "head"), "rb") as file:
                head = chain.read_head(file.read(), self._signer.check)
            if head.subject != self.subject:
                raise Broken(f"it is of {head.subject}")
            return head, ""
        except FileNotFoundError:
            return None, "there is none" if self._names else ""
        except Broken as error:
            return None, str(error)

    def _drop_again(self) -> None:
        """Files that a head says are dropped, and that a crash has left."""
        while len(self._names) > 1 and _first(self._names[1]) <= self._before_first.seq + 1:
            os.unlink(os.path.join(self._directory, self._names.pop(0)))

    def _read_tail(self) -> tuple[int, list[Link], bool]:
        """Of the latest file: how much of half a line was cut, its records, whether the last one is a closing."""
        self._size = 0
        if not self._names:
            return 0, [], True
        path = os.path.join(self._directory, self._names[-1])
        with open(path, "rb") as file:
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        self._size = len(whole)
        links: list[Link] = []
        was_closed = False
        for line in whole.splitlines(keepends=True):
            with contextlib.suppress(Broken):  # it stays as it is: whoever verifies the log is told
                record = chain.read(line)
                links.append(record.link)
                was_closed = (record.fields.get("kind"), record.fields.get("what")) == (Kind.LOG.value, "closed")
        return len(data) - len(whole), links, was_closed


def _of_log(what: str, detail: Detail) -> Record:
    return Record(Kind.LOG, what, Decision.NOTED, time.time_ns() // 1000, detail=detail)


def _names(directory: str) -> list[str]:
    return sorted(name for name in os.listdir(directory) if _NAME.fullmatch(name))


def _first(name: str) -> int:
    found = _NAME.fullmatch(name)
    if found is None:
        raise errors.HostError(f"audit: {name} is no file of a log")
    return int(found.group(1))
