"""Who answers what a machine asks: a row is an operation, and a function of the machine that asks.

A room of pilotd that has something for machines brings rows (`daemon` lists them); it never learns of sockets:

    rows.answering(outward.GET_SELF, lambda caller, _asked, _parameters: outward.Self(machine=caller.machine, …))
    rows.Row(operation, endpoint)       the same for who wants the request itself, or answers piece by piece
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ... import errors
from ...ids import MachineId
from ...server import response
from ...server.call import Call
from ...server.routing import Route, Router
from ...wire.audit import Kind
from ...wire.operations import Answered, AnyOperation, Asked, Operation
from ..identity.rates import Rates


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who asks: the machine at whose socket the connection came in."""

    machine: MachineId


Endpoint = Callable[[Caller, Call], Awaitable[response.Response | None]]


@dataclasses.dataclass(frozen=True)
class Row:
    """An operation, and who answers it to which machine. On the loop of `outward`, which it must not hold up.

    `audit`: as what it is written down, if it is.
    """

    operation: AnyOperation
    endpoint: Endpoint
    audit: Kind | None = None


def answering(
    operation: Operation[Asked, Answered],
    answer: Callable[[Caller, Asked, Mapping[str, str]], Answered],
    audit: Kind | None = None,
) -> Row:
    """A row for a function that may block (it has a thread): of who asks, the body, and the `{name}`s of the path."""

    async def endpoint(caller: Caller, call: Call) -> response.Response:
        answered = await asyncio.to_thread(answer, caller, await call.asked(operation), call.parameters)
        if answered is None:
            return response.Response(operation.status)
        return response.json(answered, operation.status)

    return Row(operation, endpoint, audit)


class Told(Protocol):
    """Whoever writes down what machines have asked."""

    async def asked(self, caller: Caller, row: Row, call: Call) -> None:
        """It is answered now."""

    async def refused(self, caller: Caller, row: Row, call: Call, error: errors.PilotError) -> None:
        """It was not."""


def router_for(caller: Caller, rows: Sequence[Row], rates: Rates, told: Told | None = None) -> Router:
    """The rows, as that machine has them; it may ask as often as the `rates` let it."""
    return Router([Route(row.operation, functools.partial(_answer, rates, told, row, caller)) for row in rows])


async def _answer(rates: Rates, told: Told | None, row: Row, caller: Caller, call: Call) -> response.Response | None:
    rates.take(caller.machine)
    if told is None or row.audit is None:
        return await row.endpoint(caller, call)
    await told.asked(caller, row, call)
    try:
        return await row.endpoint(caller, call)
    except errors.PilotError as error:
        await told.refused(caller, row, call, error)
        raise
