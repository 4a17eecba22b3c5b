"""Machines of an app know each other by name: which of them run is told to all of them, whenever that changes.

    commit ─► who is started by now, by app ─► another set than before: each Machine of the app is told

`<id>.vm.<app>.internal` is there as long as the Machine is, `<app>.internal` has those that are started.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from ... import errors
from ...ids import MachineId
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


@contextlib.contextmanager
def watching(host: Host) -> Iterator[None]:
    """For as long as the block lasts, on a thread of its own."""
    changed, ended = threading.Event(), threading.Event()
    stop = host.database.watch(changed.set)
    thread = threading.Thread(target=_run, args=(Peers(host), changed, ended), name="peers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        ended.set()
        changed.set()
        thread.join()


def _run(peers: Peers, changed: threading.Event, ended: threading.Event) -> None:
    while not ended.is_set():
        changed.clear()
        try:
            peers.round()
        except (errors.PilotError, OSError) as error:
            log.warning("machines not told of each other", extra={"error": str(error)})
        ended.wait(LEAST_S)
        changed.wait(PAUSE_S)
