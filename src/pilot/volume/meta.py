"""meta.db: what is stored of one disk's books, in SQLite.

    page(number, entries)      8 KiB each, own pages only
    root(name, pages)          "head", "checkpoint/<id>", "fork/<disk>", ...
    fact(key, value)           "format", "size", "lineage" (JSON), "checkpoint/<id>" (JSON), ...

WAL with synchronous=FULL: when `commit` returns, the transaction survives a power loss; when the process is killed
inside, it is there as a whole or not at all. Never opened by two writers: `disk.Disk` holds the lock file. Forks read
the pages of their ancestors through their own read-only connection.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping

from .. import errors
from . import layout, ledger

_SCHEMA = """
create table page(number integer primary key, entries blob not null);
create table root(name text primary key, pages blob not null) without rowid;
create table fact(key text primary key, value text not null) without rowid;
"""
_FILE = "meta.db"


class Meta:
    """An open meta.db; usable from several threads, one at a time."""

    def __init__(self, directory: str, *, read_only: bool = False) -> None:
        path = os.path.join(directory, _FILE)
        if not os.path.exists(path):
            raise errors.NotFound(f"open disk: {path}: no such file")
        # The path goes into a URI: a '?' or '#' in a state directory's name must not end it.
        uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self._db = sqlite3.connect(f"{uri}?mode={'ro' if read_only else 'rw'}", uri=True, isolation_level=None,
                                   check_same_thread=False, timeout=20)  # fmt: skip
        self._lock = threading.Lock()
        if not read_only:
            self._db.execute("pragma synchronous=full")
        self._db.execute("pragma cache_size=-512")
        found = self._one("select value from fact where key='format'")
        if found != str(layout.FORMAT):
            self._db.close()
            raise errors.HostError(f"open disk: {path}: format {found}, this program knows {layout.FORMAT}")

    @staticmethod
    def create(directory: str, facts: Mapping[str, str], head: bytes) -> None:
        """A new meta.db with these facts and an otherwise empty disk; stable when this returns."""
        db = sqlite3.connect(os.path.join(directory, _FILE), isolation_level=None)
        try:
            db.execute("pragma journal_mode=wal")
            db.execute("pragma synchronous=full")
            db.executescript("begin;" + _SCHEMA + "commit;")
            db.execute("begin")
            db.executemany("insert into fact values(?,?)", {"format": str(layout.FORMAT), **facts}.items())
            db.execute("insert into root values(?,?)", (ledger.HEAD, head))
            db.execute("commit")
        finally:
            db.close()

    def facts(self) -> dict[str, str]:
        """All facts."""
        with self._lock:
            return dict(self._db.execute("select key, value from fact"))

    def roots(self) -> dict[str, bytes]:
        """All roots, the head among them."""
        with self._lock:
            return dict(self._db.execute("select name, pages from root"))

    def root(self, name: str) -> bytes:
        """One stored root; NotFound."""
        found = self._one("select pages from root where name=?", name)
        if not isinstance(found, bytes):
            raise errors.NotFound(f"root {name}: not stored")
        return found

    def root_names(self) -> set[str]:
        """Names of all roots."""
        with self._lock:
            return {row[0] for row in self._db.execute("select name from root")}

    def page(self, number: int) -> bytes:
        """A stored page; NotFound when a root names one that is not there (damage)."""
        found = self._one("select entries from page where number=?", number)
        if not isinstance(found, bytes):
            raise errors.NotFound(f"map page {number}: not stored")
        return found

    def page_numbers(self) -> set[int]:
        """Numbers of all stored pages."""
        with self._lock:
            return {row[0] for row in self._db.execute("select number from page")}

    def commit(self, commit: ledger.Commit) -> None:
        """Store all of it, or nothing."""
        kept = [(key, value) for key, value in commit.facts.items() if value is not None]
        gone = [(key,) for key, value in commit.facts.items() if value is None]
        with self._lock:
            self._db.execute("begin immediate")
            try:
                self._db.executemany("insert or replace into page values(?,?)", commit.pages.items())
                self._db.executemany("insert or replace into root values(?,?)", commit.roots.items())
                self._db.executemany("delete from root where name=?", [(name,) for name in commit.dropped_roots])
                self._db.executemany("delete from page where number=?", [(n,) for n in commit.dropped_pages])
                self._db.executemany("insert or replace into fact values(?,?)", kept)
                self._db.executemany("delete from fact where key=?", gone)
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def close(self) -> None:
        """Close; the last one to close a database folds its WAL into it."""
        with self._lock:
            self._db.close()

    def _one(self, query: str, *arguments: object) -> object:
        with self._lock:
            row = self._db.execute(query, arguments).fetchone()
        return None if row is None else row[0]
