"""The watch that deletes snapshots of volumes when they are older than their volume's `snapshot_retention` (days), by
a time that no wrong clock can make (`believed`).
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from .believed import Believed
from .fly_volumes import FlyVolumes

log = logging.getLogger(__name__)

PERIOD_S = 600.0


def watching(volumes: FlyVolumes) -> AbstractContextManager[None]:
    """A round now and then, for as long as the block lasts."""
    clock = volumes.clock()
    return periodic.every(PERIOD_S, "snapshot-watch", lambda: _round(volumes, clock))


def _round(volumes: FlyVolumes, clock: Believed) -> None:
    try:
        volumes.prune(clock.now_us())
    except (errors.PilotError, OSError) as error:
        log.warning("snapshots not pruned", extra={"error": str(error)})
    except Exception:  # a fault of ours, with which retention must not end for good
        log.exception("snapshots not pruned")
