"""Asks HEAD whether a volume is still ours, whatever the uploader is doing, so that a loser learns of it soon.

    something was written since, or is being sent     every second
    nothing                                           every 15 seconds

The bound: while the store answers, a holder that has lost its volume acknowledges nothing later than a second and one
request after the first write that follows the loss. (With durability "remote" nothing at all: there an fsync returns
only after HEAD was read.) While the store does not answer nobody can know: writes go on, up to the dirty limit, because
an outage looks the same. Silence is therefore never taken for a loss.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .... import errors
from ..log import hold

_log = logging.getLogger(__name__)
_ACTIVE_S = 1.0
_IDLE_BEATS = 15


class Heartbeat:
    """See the module. `check` raises Fenced; `is_active`: since the last beat something may have been acknowledged;
    `lost` is called once, with what `check` said."""

    def __init__(
        self, check: Callable[[], None], is_active: Callable[[], bool], lost: Callable[[hold.Fenced], None]
    ) -> None:
        self._check = check
        self._is_active = is_active
        self._lost = lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """No beat begins any more; one that is under way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        quiet = 0
        while not self._stop.wait(_ACTIVE_S):
            quiet += 1
            if not self._is_active() and quiet < _IDLE_BEATS:
                continue
            quiet = 0
            try:
                self._check()
            except hold.Fenced as error:
                self._lost(error)
                return
            except errors.PilotError as error:
                _log.debug("heartbeat: %s", error)  # the uploader says so, if it lasts
