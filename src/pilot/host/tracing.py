"""What a request is called, and the spans of requests and of durable runs: none at all unless somebody wants them.

Every request has an id: in what the log says meanwhile (`request`), in the header X-Request-Id of a refusal, and as
`pilot.request_id` of its span and of those of the runs that it has begun (`otel`).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

from .fsm.journal import Record
from .fsm.outcome import Outcome

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
Answered = Callable[[int], None]


def new_request() -> str:
    """The id of the request that this task serves from here on."""
    id = secrets.token_hex(8)
    REQUEST.set(id)
    return id


class Tracing(Protocol):
    """`request` on the loop, the others on any thread."""

    def request(self, method: str, route: str, traceparent: str | None) -> AbstractContextManager[Answered]:
        """The block is a request's; what is yielded is told its status."""
        ...

    def begun(self, run: Record) -> None:
        """By whoever the request in this context is."""
        ...

    def ended(self, run: Record, outcome: Outcome, seconds: float) -> None: ...


class Off:
    """Nobody wants any."""

    def request(self, method: str, route: str, traceparent: str | None) -> AbstractContextManager[Answered]:
        return _NOTHING

    def begun(self, run: Record) -> None:
        pass

    def ended(self, run: Record, outcome: Outcome, seconds: float) -> None:
        pass


def _nothing(_: int) -> None:
    pass


_NOTHING = contextlib.nullcontext(_nothing)
OFF = Off()
