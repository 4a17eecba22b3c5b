"""Machines of an app know each other by name: which of them run is told to all of them, whenever that changes.

    commit ─► who is started by now, by app ─► another set than before: each Machine of the app is told

`<id>.vm.<app>.internal` is there as long as the Machine is, `<app>.internal` has those that are started.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ... import errors
from ...ids import MachineId
from .. import periodic
from ..operations import networks
from ..operations.context import Host
from ..store import fly

log = logging.getLogger(__name__)

# How long the store is left alone when nothing was written, and between two looks.
PAUSE_S, LEAST_S = 5.0, 0.05


class Peers:
    """One round at a time, by whoever calls `round`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._running: dict[str, frozenset[MachineId]] = {}

    def round(self) -> None:
        """Tell those whose siblings have changed."""
        found = fly.started_by_app(self._host.database)
        changed = [app for app in found.keys() | self._running.keys() if found.get(app) != self._running.get(app)]
        for app in changed:
            before = self._running.get(app, frozenset())
            left = found.get(app) or before
            if left:
                networks.tell_siblings(self._host, min(left))
        self._running = found


def watching(host: Host) -> AbstractContextManager[None]:
    """For as long as the block lasts, on a thread of its own."""
    known = Peers(host)
    return periodic.after_changes(host.database.watch, "peers", lambda: _look(known), least_s=LEAST_S, most_s=PAUSE_S)


def _look(known: Peers) -> None:
    try:
        known.round()
    except (errors.PilotError, OSError) as error:
        log.warning("machines not told of each other", extra={"error": str(error)})
