"""Logs of sprites and Machines that are gone: kept for a while, so that it can be told what became of them."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from .subjects import Subjects
from .writer import Writer

PERIOD_S = 3600.0
KEEP_S = 90 * 86400.0
log = logging.getLogger(__name__)


def watching(writer: Writer, subjects: Subjects) -> AbstractContextManager[None]:
    """Forget now and then, for as long as the block lasts."""

    def forget() -> None:
        try:
            writer.forget(subjects.gone(), time.time() - KEEP_S)
        except (errors.PilotError, OSError) as error:
            log.warning("audit: old logs not forgotten", extra={"error": str(error)})

    return periodic.every(PERIOD_S, "audit-forgetting", forget)
