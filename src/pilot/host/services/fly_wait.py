"""Waiting for the state of a Machine: told of each commit, so the answer follows the event at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ... import errors
from ..store.database import Database
from ..store.fly import Machine

# Nothing leads from these to any other.
_FINAL = frozenset({"destroyed"})
# What a Machine that was to run has come to instead.
_INSTEAD = frozenset({"failed", "destroyed"})


class Missed(errors.PilotError):
    """It has not come to the state that was waited for."""


async def wait(database: Database, find: Callable[[], Machine], states: frozenset[str], timeout_s: float) -> Machine:
    """The Machine, in one of the states. `Missed` when its time is over, or it can never come to one."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(told.set)

    stop = database.watch(tell)
    row = await asyncio.to_thread(find)
    try:
        async with asyncio.timeout(timeout_s):
            while row.state not in states:
                if row.state in _FINAL or (row.state in _INSTEAD and "started" in states):
                    raise _missed(row, states)
                await told.wait()
                told.clear()
                row = await asyncio.to_thread(find)
    except TimeoutError as error:
        raise _missed(row, states) from error
    finally:
        stop()
    return row


def _missed(row: Machine, states: frozenset[str]) -> Missed:
    return Missed(f"machine failed to reach desired state, {' or '.join(sorted(states))}, currently {row.state}")
