"""The store in one SQLite file: the only place that knows which database it is.

    state.db, state.db-wal, state.db-shm      made with mode 0600; schema by `migrations`, in one transaction
    reserve                                   see `reserve`: what `write_surely` has when the disk is full

One writer connection behind a lock; readers, as many as there are callers at once, whom writers never block (WAL).

`transaction(durable=False)` may lose its commit when the *host* loses power (never when a process dies), in order: a
later durable commit makes all earlier ones stable. Journal entries of single transitions use it, for repeating one is
harmless.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence

from ... import errors
from . import migrations, reserve
from .database import DiskFull, Row, Taken, Transaction

BUSY_TIMEOUT_S = 10.0
READERS_KEPT = 8
_DAMAGED = (
    "put a copy of it back (pilotd restore); without one, move it away, with -wal and -shm: "
    "pilotd begins anew and knows no sprite, their disks stay"
)
_UNIQUE = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})


class SqliteDatabase:
    """A `Database`. Owns its connections; `close()` it. Safe to use from any thread."""

    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._path = path
        self._writer, self._writing = _connect(path), threading.RLock()
        try:
            self._writer.execute("PRAGMA journal_mode=WAL")
        except sqlite3.DatabaseError as error:
            self._writer.close()
            raise errors.HostError(f"open {path}: {error}", hint=_DAMAGED) from error
        self._watchers: dict[object, Callable[[], None]] = {}
        self._migrate(path)
        # Those that nobody reads with at the moment.
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._reserve = reserve.Reserve(os.path.join(os.path.dirname(path), "reserve"))
        self.refill()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        """Commit when the block ends, roll back when it raises. Not to be nested."""
        with self._writing, _refusals("write"):
            self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            tx = _SqliteTransaction(self._writer)
            try:
                yield tx
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self._writer.execute("ROLLBACK")
                raise
        if tx.is_announced:
            for tell in tuple(self._watchers.values()):
                tell()

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self._watchers[key] = tell
        return lambda: self._watchers.pop(key, None) and None

    def write_surely(self, act: Callable[[Transaction], object], *, durable: bool = True) -> None:
        """A transaction of what ends things, also on a full disk: then `act` is called again, on what was kept for it.

        `DiskFull` when that is spent, or was not enough.
        """
        with self._writing:
            try:
                with self.transaction(durable=durable) as tx:
                    act(tx)
            except DiskFull:
                self._make_room()
                with self.transaction(durable=durable) as tx:
                    act(tx)

    def _make_room(self) -> None:
        self._reserve.release()
        # What the log holds goes into the database, whose pages are mostly there; then the log's own space is free.
        with contextlib.suppress(sqlite3.OperationalError):  # the second attempt tells of it
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)")

    def refill(self) -> None:
        """Keep space for `write_surely` again, where there is room by now."""
        with self._writing:
            self._reserve.take()

    def query(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        """Rows as last committed."""
        with self._reader() as reader, _refusals("read"):
            return _rows(reader.execute(sql, arguments))

    @contextlib.contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            reader = self._readers.get_nowait()
        except queue.Empty:
            reader = _connect(self._path)
        try:
            yield reader
        finally:
            if self._readers.qsize() < READERS_KEPT:
                self._readers.put(reader)
            else:
                reader.close()

    def close(self) -> None:
        """When nobody uses it any more."""
        with self._writing:
            self._writer.close()
        while not self._readers.empty():
            self._readers.get().close()

    def _migrate(self, path: str) -> None:
        with self.transaction() as tx:
            tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
            [row] = tx.query("SELECT max(version) AS version FROM schema_version")
            version = row["version"] or 0
            if version > len(migrations.MIGRATIONS):
                raise errors.HostError(
                    f"open {path}: schema version {version} is newer than this program's {len(migrations.MIGRATIONS)}",
                    hint="run the pilotd that wrote it, or a newer one",
                )
            for number, statements in enumerate(migrations.MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    tx.execute(statement)
                tx.execute("INSERT INTO schema_version (version) VALUES (?)", (number,))


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.is_announced = False

    def announce(self) -> None:
        self.is_announced = True

    def execute(self, sql: str, arguments: Sequence[object] = ()) -> int:
        with _conflicts():
            return self._connection.execute(sql, arguments).rowcount

    def query(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        with _conflicts():
            return _rows(self._connection.execute(sql, arguments))


def _rows(cursor: sqlite3.Cursor) -> list[Row]:
    rows: list[Row] = cursor.fetchall()
    return rows


@contextlib.contextmanager
def _conflicts() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode not in _UNIQUE:
            raise
        raise Taken(f"write state.db: {error}") from error


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """What the disk refuses is the host's to mend; a defect of ours stays what it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        kind = DiskFull if error.sqlite_errorcode == sqlite3.SQLITE_FULL else errors.HostError
        raise kind(f"{what} state.db: {error}", hint="is there space for the state directory?") from error


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def copy(path: str, target: str) -> None:
    """The database at `path` as of one moment, also while others write; `target` is made. `HostError`."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(target)) as made:
            source.backup(made)
    except sqlite3.Error as error:
        raise errors.HostError(f"copy {path}: {error}") from error


def examine(path: str) -> str | None:
    """What is wrong with a copy; None when it is whole, and of a pilotd."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as found:
            (said,) = found.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = found.execute("SELECT max(version) FROM schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return str(said) if said != "ok" else None if version else "it has no schema"
