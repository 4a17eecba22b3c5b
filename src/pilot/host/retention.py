"""What pilotd forgets of its own history: runs that ended, and the events of long ago. Sprites are never forgotten."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from .. import errors
from .store import events, journal
from .store.database import Database

log = logging.getLogger(__name__)

PERIOD_S = 600.0
RUNS_S = 7 * 86400
EVENTS_S = 30 * 86400


def forget(database: Database, now_us: int) -> None:
    """One round; and what a full disk had used up is kept again."""
    with database.transaction() as tx:
        journal.forget_finished(tx, now_us - RUNS_S * 1_000_000)
        events.forget(tx, now_us - EVENTS_S * 1_000_000)
    database.refill()


@contextlib.contextmanager
def watching(database: Database) -> Iterator[None]:
    """Forget now and then, for as long as the block lasts."""
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(database, ended), name="retention", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(database: Database, ended: threading.Event) -> None:
    while True:
        try:
            forget(database, journal.now_us())
        except errors.PilotError as error:
            log.warning("history not forgotten", extra={"error": str(error)})
        if ended.wait(PERIOD_S):
            return
