"""What pilotd forgets of its own history: runs that ended, holds that have run out, Machines that were destroyed, and
the events and the days of usage of long ago.

Sprites are never forgotten.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from ..store import events, fly, holds, journal, usage
from ..store.database import Database

log = logging.getLogger(__name__)

PERIOD_S = 600.0
RUNS_S = 7 * 86400
EVENTS_S = 30 * 86400
DESTROYED_S = 7 * 86400


def forget(database: Database, now_us: int) -> None:
    """One round; and what a full disk had used up is kept again."""
    with database.transaction() as tx:
        journal.forget_finished(tx, now_us - RUNS_S * 1_000_000)
        holds.forget_expired(tx, now_us)
        fly.forget_destroyed(tx, now_us - DESTROYED_S * 1_000_000)
        events.forget(tx, now_us - EVENTS_S * 1_000_000)
        usage.forget(tx)
    database.refill()


def watching(database: Database) -> AbstractContextManager[None]:
    """Forget now and then, for as long as the block lasts."""
    return periodic.every(PERIOD_S, "retention", lambda: _forget_now(database))


def _forget_now(database: Database) -> None:
    try:
        forget(database, journal.now_us())
    except errors.PilotError as error:
        log.warning("history not forgotten", extra={"error": str(error)})
