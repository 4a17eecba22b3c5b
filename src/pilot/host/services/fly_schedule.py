"""The watch that starts Machines by their `schedule`: those that stand still, when it is long enough since they began.

    stopped ones with a schedule ─ each one's last start ─► due? (fly/schedule) ─► started, as by nobody in particular

What was due while no pilotd ran is done once, by the next one. One that still runs when it is due is left alone, and
one that somebody leases is, too.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ... import errors
from ...ids import MachineId
from .. import periodic
from ..fly import schedule
from ..store import fly
from ..store.fly import Machine
from ..store.journal import now_us
from .fly import FlyMachines

log = logging.getLogger(__name__)

PERIOD_S = 5.0


class ScheduleWatch:
    """One round at a time, by whoever calls `round`."""

    def __init__(self, machines: FlyMachines) -> None:
        self._machines = machines

    def round(self, at_us: int) -> None:
        """Begin what is due by then; nothing is waited for."""
        database = self._machines.database
        for row, began_us in fly.scheduled(database):
            due_us = schedule.due_us(str(row.config["schedule"]), began_us)
            if due_us <= at_us and self._machines.lease(row) is None:
                log.info("machine is due", extra={"machine": row.id, "schedule": row.config["schedule"]})
                self.begin(row)

    def begin(self, row: Machine) -> None:
        """Whatever keeps this one from it keeps no other."""
        try:
            self._machines.start(row, None, "flyd")
        except errors.StateError:
            log.info("machine that is due has another state by now", extra={"machine": MachineId(row.id)})
        except errors.PilotError as error:
            log.warning("machine that is due not started", extra={"machine": MachineId(row.id), "error": str(error)})


def watching(machines: FlyMachines) -> AbstractContextManager[None]:
    """A round each PERIOD_S, for as long as the block lasts."""
    watch = ScheduleWatch(machines)
    return periodic.every(PERIOD_S, "schedule-watch", lambda: _round(watch))


def _round(watch: ScheduleWatch) -> None:
    try:
        watch.round(now_us())
    except (errors.PilotError, OSError) as error:
        log.warning("schedule watch", extra={"error": str(error)})
    except Exception:  # a fault of ours, with which schedules must not end for good
        log.exception("schedule watch")
