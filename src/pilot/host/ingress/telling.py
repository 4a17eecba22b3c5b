"""How a visitor is told that there is no answer: which status, why, and of which sprite."""

from __future__ import annotations

import logging

from ... import errors
from ...wire import faults
from ..relay.edge import Exchange
from ..relay.heads import Headers
from . import pages

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1


def tell(exchange: Exchange, error: Exception, sprite: str | None = None, more: Headers = ()) -> None:
    """An answer that has begun is left without its end."""
    if exchange.answer.has_begun:
        log.warning("answer broke off", extra={"host": exchange.head.host, "error": str(error)})
        return
    fault = faults.fault_of(error)
    why, hint = (str(error), error.hint) if isinstance(error, errors.PilotError) else ("internal error", None)
    status = 503 if isinstance(error, faults.Exhausted) else fault.status
    headers, body = pages.of_error(exchange.head, status, why, hint, sprite)
    if status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    exchange.answer.whole(status, [*headers, *more], body)
