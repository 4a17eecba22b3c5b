"""meta.db: what is stored of one disk's books, in SQLite.

    page(number, entries, sum)      8 KiB each, own pages only
    root(name, pages, sum)          "head", "checkpoint/<id>", "fork/<disk>", ...
    fact(key, value, sum)           "format", "size", "lineage" (JSON), "checkpoint/<id>" (JSON), "local/...", ...
    place, sent_page, cold          what the object store has (below)

Every row carries a checksum over its key and content, because SQLite notices only damage to its own structure, and a
flipped bit in a page would name another chunk's slot. What does not fit its sum is a HostError that names the row.

WAL with synchronous=FULL: when `commit` returns, the transaction survives a power loss; when the process is killed
inside, it is there as a whole or not at all. Never opened by two writers: `disk.Disk` holds the lock file. Forks read
the pages of their ancestors through their own read-only connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ... import errors
from .. import layout
from ..books import ledger
from ..facts import Changes, Facts
from ..names import Place, Stamp
from . import room

_SCHEMA = """
create table page(number integer primary key, entries blob not null, sum integer not null);
create table root(name text primary key, pages blob not null, sum integer not null) without rowid;
create table fact(key text primary key, value text not null, sum integer not null) without rowid;
"""
# Of volumes with an object store: where the content of slots is in there, which pages it has, and which slots are in
# the store only. Rows of a slot or page go in the commit that frees it. Damage to a place is found by its own hash.
_REMOTE_SCHEMA = """
create table if not exists place(slot integer primary key, epoch integer not null, seq integer not null,
                                 offset integer not null, length integer not null, number integer not null,
                                 hash blob not null);
create index if not exists place_in_log on place(epoch, seq, number);
create table if not exists sent_page(number integer primary key);
create table if not exists cold(slot integer primary key);
"""
_PLACE = "slot, epoch, seq, offset, length, number, hash"
_NOT_COLD = "delete from cold where slot=?"
_FILE = "meta.db"


# What to do: `pilot volume check` says so, and every error that keeps a volume from being used.
DAMAGED = (
    "`pilot volume check` tells what is damaged. If it is in an object store: `pilot volume delete`, then `adopt` it "
    "again. If not: `import` an export of it"
)


class Meta:
    """An open meta.db; usable from several threads, one at a time.

    HostError when it is damaged, OSError (ENOSPC) when there is no room for it.
    """

    def __init__(self, directory: str, *, read_only: bool = False) -> None:
        self._path = path = os.path.join(directory, _FILE)
        if not os.path.exists(path):
            raise errors.NotFound(f"open disk: {path}: no such file")
        self._directory = directory
        room.give_way(directory)
        # The path goes into a URI: a '?' or '#' in a state directory's name must not end it.
        uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self._db = sqlite3.connect(f"{uri}?mode={'ro' if read_only else 'rw'}", uri=True, isolation_level=None,
                                   check_same_thread=False, timeout=20)  # fmt: skip
        self._lock = threading.Lock()
        try:
            with self._using("read"):
                if not read_only:
                    self._db.execute("pragma synchronous=full")
                    self._db.executescript(_REMOTE_SCHEMA)
                self._db.execute("pragma cache_size=-512")
            self._check_format()
        except BaseException:
            self._db.close()
            raise

    def _check_format(self) -> None:
        found = [text for _, text in self._all("select key, value, sum from fact where key='format'")]
        if found != [str(layout.FORMAT)]:
            written = found[0] if found else "none"
            raise errors.HostError(
                f"open disk: {self._path}: is of format {written}, this program knows {layout.FORMAT}",
                hint=layout.OTHER_BUILD,
            )

    @staticmethod
    def create(directory: str, facts: Facts, head: bytes) -> None:
        """A new meta.db with these facts and an otherwise empty disk; the caller syncs it. It counts only when its
        directory has its name, so nothing is lost with a crash in between, and SQLite's own syncs would be in vain."""
        db = sqlite3.connect(os.path.join(directory, _FILE), isolation_level=None)
        try:
            db.execute("pragma synchronous=off")
            db.execute("pragma journal_mode=wal")
            db.executescript("begin;" + _SCHEMA + _REMOTE_SCHEMA)
            db.executemany("insert into fact values(?,?,?)", _rows(facts.rows().items()))
            db.executemany("insert into root values(?,?,?)", _rows([(ledger.HEAD, head)]))
            db.execute("commit")
        finally:
            db.close()

    def facts(self) -> Facts:
        """All facts."""
        rows = {str(key): str(value) for key, value in self._all("select key, value, sum from fact")}
        try:
            return Facts.parse(rows)
        except errors.HostError as error:
            raise errors.HostError(f"read {self._path}: {error}", hint=DAMAGED) from error

    def roots(self) -> dict[str, bytes]:
        """All roots, the head among them."""
        return {str(name): bytes(pages) for name, pages in self._all("select name, pages, sum from root")}

    def root(self, name: str) -> bytes:
        """One stored root; NotFound."""
        for _, pages in self._all("select name, pages, sum from root where name=?", name):
            return bytes(pages)
        raise errors.NotFound(f"root {name}: not stored")

    def root_names(self) -> set[str]:
        """Names of all roots."""
        with self._using("read"):
            return {row[0] for row in self._db.execute("select name from root")}

    def page(self, number: int) -> bytes:
        """A stored page; NotFound when a root names one that is not there (damage)."""
        for _, entries in self._all("select number, entries, sum from page where number=?", number):
            return bytes(entries)
        raise errors.NotFound(f"map page {number}: not stored")

    def page_numbers(self) -> set[int]:
        """Numbers of all stored pages."""
        with self._using("read"):
            return {row[0] for row in self._db.execute("select number from page")}

    def commit(self, commit: ledger.Commit) -> None:
        """Store all of it, or nothing."""
        pages = [(number,) for number in commit.dropped_pages]
        with self._transaction():
            self._db.executemany("insert or replace into page values(?,?,?)", _rows(commit.pages.items()))
            self._db.executemany("insert or replace into root values(?,?,?)", _rows(commit.roots.items()))
            self._db.executemany("delete from root where name=?", [(name,) for name in commit.dropped_roots])
            self._db.executemany("delete from page where number=?", pages)
            self._db.executemany("delete from sent_page where number=?", pages)
            self._change_facts(commit.facts)
            self._forget_places(commit.retired)

    def _change_facts(self, changes: Changes) -> None:
        kept = [(key, text) for key, text in changes.items() if text is not None]
        self._db.executemany("insert or replace into fact values(?,?,?)", _rows(kept))
        self._db.executemany("delete from fact where key=?", [(key,) for key, text in changes.items() if text is None])

    # ---- what the object store has

    def placed(self) -> Sequence[int]:
        """Slots whose content is in the store."""
        with self._using("read"):
            return [row[0] for row in self._db.execute("select slot from place")]

    def place(self, slot: int) -> Place | None:
        """Where this slot's content is in the store."""
        with self._using("read"):
            row = self._db.execute(f"select {_PLACE} from place where slot=?", (slot,)).fetchone()
        return None if row is None else _place(row)[1]

    def places(self) -> dict[int, Place]:
        """Where every slot is that the store has."""
        with self._using("read"):
            return dict(map(_place, self._db.execute(f"select {_PLACE} from place order by slot")))

    def places_after(self, at: Place, count: int) -> dict[int, Place]:
        """The cold slots in the same segment from that place on, at most `count`."""
        query = (
            f"select {_PLACE} from place join cold using(slot) where epoch=? and seq=? and number>=? "
            "order by number limit ?"
        )
        with self._using("read"):
            return dict(map(_place, self._db.execute(query, (*at.stamp, at.number, count))))

    def unsent_pages(self) -> dict[int, bytes]:
        """Stored pages that the store does not have."""
        query = "select number, entries, sum from page where number not in (select number from sent_page)"
        return {int(number): bytes(entries) for number, entries in self._all(query)}

    def pages(self) -> dict[int, bytes]:
        """All stored pages."""
        return {int(number): bytes(entries) for number, entries in self._all("select number, entries, sum from page")}

    def sent(self, places: Mapping[int, Place], pages: Iterable[int], facts: Changes, *, cold: bool = False) -> None:
        """The store has these slots, and these pages as far as they still exist; with what changes in the facts, as a
        whole.

        `cold`: the content of these slots is there only.
        """
        rows = [(slot, *at.stamp, at.offset, at.length, at.number, at.hash) for slot, at in places.items()]
        with self._transaction():
            self._db.executemany("insert or replace into place values(?,?,?,?,?,?,?)", rows)
            self._db.executemany(
                "insert or ignore into sent_page select number from page where number=?", [(n,) for n in pages]
            )
            if cold:
                self._db.executemany("insert or ignore into cold values(?)", [(slot,) for slot in places])
            self._change_facts(facts)

    def cold(self) -> Sequence[int]:
        """Slots whose content is in the store only."""
        with self._using("read"):
            try:
                return [row[0] for row in self._db.execute("select slot from cold")]
            except sqlite3.OperationalError:
                return []  # made before there were stores, and opened read-only

    def is_cold(self, slot: int) -> bool:
        """Whether this slot's content is in the store only."""
        with self._using("read"):
            return self._db.execute("select 1 from cold where slot=?", (slot,)).fetchone() is not None

    def set_cold(self, slots: Iterable[int], *, cold: bool) -> None:
        """These slots are in the store only; or in the slab as well (data stable first!)."""
        statement = "insert or ignore into cold select slot from place where slot=?" if cold else _NOT_COLD
        with self._transaction():
            self._db.executemany(statement, [(slot,) for slot in slots])

    def forget_places(self, slots: Iterable[int]) -> None:
        """These slots hold nothing any more."""
        with self._transaction():
            self._forget_places(slots)

    def _forget_places(self, slots: Iterable[int]) -> None:
        gone = [(slot,) for slot in slots]
        self._db.executemany("delete from place where slot=?", gone)
        self._db.executemany(_NOT_COLD, gone)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        room.give_way(self._directory)
        with self._using("write"):
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def close(self) -> None:
        """Close; the last one to close a database folds its WAL into it."""
        with self._lock:
            self._db.close()

    def _all(self, query: str, *arguments: object) -> list[tuple[str | int, Any]]:
        """(key, content) of each row of (key, content, sum) that a query gives."""
        with self._using("read"):
            rows = self._db.execute(query, arguments).fetchall()
        for key, content, stored in rows:
            if _sum(key, content) != stored:
                raise errors.HostError(
                    f"read {self._path}: {key!r} does not fit its checksum: the file is damaged", hint=DAMAGED
                )
        return [(key, content) for key, content, _ in rows]

    @contextlib.contextmanager
    def _using(self, verb: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                # Errors of Python's own module (text that is none) carry no code.
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path) from error
                is_unknown = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such ")
                hint = layout.OTHER_BUILD if is_unknown else DAMAGED  # a table or column that its build did not have
                raise errors.HostError(f"{verb} {self._path}: {error}", hint=hint) from error


def _rows(items: Iterable[tuple[str | int, str | bytes]]) -> list[tuple[str | int, str | bytes, int]]:
    return [(key, content, _sum(key, content)) for key, content in items]


def _sum(key: str | int, content: object) -> int:
    # Damage may have changed the type of a cell too, so nothing is taken for granted.
    data = content if isinstance(content, bytes) else str(content).encode(errors="surrogateescape")
    return zlib.crc32(data, zlib.crc32(f"{type(content).__name__} {key}\0".encode(errors="surrogateescape")))


def _place(row: tuple[Any, ...]) -> tuple[int, Place]:
    slot, epoch, seq, offset, length, number, digest = row
    return slot, Place(Stamp(epoch, seq), offset, length, number, digest)
