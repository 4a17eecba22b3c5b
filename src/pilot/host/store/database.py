"""What the rest of pilotd knows of its database: rows, transactions, and what can go wrong.

Nothing here or above says which database it is. Statements are SQL that SQLite and PostgreSQL both have, with `?` for
arguments. Nobody may count on being alone: what another transaction may have written since a row was read is found out
by writing (`ON CONFLICT DO NOTHING`, `RETURNING`, `Taken`), never by looking first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ... import errors


class DiskFull(errors.HostError):
    """There is no space to write it down."""


class Taken(errors.Conflict):
    """A unique constraint is against it: somebody else has that name, or that number."""


class Row(Protocol):
    """Columns by name."""

    def __getitem__(self, column: str, /) -> Any: ...


class Transaction(Protocol):
    """What is written together, or not at all."""

    def execute(self, sql: str, arguments: Sequence[object] = ()) -> int:
        """How many rows it touched. `Taken` when a unique constraint is against it."""
        ...

    def query(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        """Rows as this transaction sees them, or as it has written them (RETURNING). `Taken` as above."""
        ...

    def announce(self) -> None:
        """Whoever watches is told, once this is committed."""
        ...


class Reader(Protocol):
    def query(self, sql: str, arguments: Sequence[object] = ()) -> list[Row]:
        """Rows as last committed. Never waits for a writer."""
        ...


class Database(Reader, Protocol):
    """Safe to use from any thread. Every call may block: none is made on an event loop."""

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """Commit when the block ends, roll back when it raises. Not to be nested.

        One that is not `durable` may be lost when the host loses power, but never before an earlier one.
        """
        ...

    def write_surely(self, act: Callable[[Transaction], object], *, durable: bool = True) -> None:
        """A transaction of what ends things, also on a full disk; `act` may be called twice.

        `DiskFull`: not even so."""
        ...

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """`tell` is called after each commit that was announced, on the thread that made it: it must be quick.

        What is returned ends that.
        """
        ...

    def refill(self) -> None:
        """Keep space for `write_surely` again, where there is room by now."""
        ...

    def close(self) -> None: ...
