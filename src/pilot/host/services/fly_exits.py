"""Machines whose containers have ended by themselves are stopped; those that are to go then, go.

Restart policies are pilot's, in the machine: an end that is seen here is for good. A machine that has gone as a whole
(the host was started anew, somebody killed it) is started again, unless its policy is `no`.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from ..fly import config as configs
from ..fly.config import Config
from ..fsm.documents import Nothing
from ..fsm.engine import Engine
from ..operations import fly as steps
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_requests import Begin, Ended
from ..store import fly
from ..store.fly import Machine

log = logging.getLogger(__name__)

PERIOD_S = 1.0


class Exits:
    """One round is `look`. What it begins are runs: a round that finds them under way joins them."""

    def __init__(self, host: Host, engine: Engine) -> None:
        self._host = host
        self._engine = engine

    def look(self) -> None:
        for row in fly.every(self._host.database):
            try:
                self._look_at(row)
            except errors.PilotError as error:
                log.info("machine does not say how it is", extra={"machine": row.id, "error": str(error)})

    def _look_at(self, row: Machine) -> None:
        if row.state not in ("started", "stopped"):
            return
        config = configs.parse(row.config)
        if row.state == "stopped":
            if config.auto_destroy:
                self._engine.join(requests.DESTROY, row.id, Nothing())
            return
        ended = steps.end_of(self._host, row)
        if ended is not None:
            self._ended(row, config, ended)

    def _ended(self, row: Machine, config: Config, ended: Ended) -> None:
        policy = config.restart.policy if config.restart else None
        if ended.has_gone and policy != "no" and not config.auto_destroy:
            self._engine.join(requests.START, row.id, Begin("flyd"))
        else:
            self._engine.join(requests.EXIT, row.id, ended)


def watching(host: Host, engine: Engine) -> AbstractContextManager[None]:
    """Look each second, for as long as the block lasts."""
    exits = Exits(host, engine)
    return periodic.every(PERIOD_S, "exits", lambda: _look(exits))


def _look(exits: Exits) -> None:
    try:
        exits.look()
    except (errors.PilotError, OSError) as error:
        log.warning("ends of machines not looked for", extra={"error": str(error)})
