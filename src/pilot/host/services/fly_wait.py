"""Waiting for the state of a Machine: told of each commit, so the answer follows the event at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from ... import errors
from ..store.database import Database
from ..store.fly import Event, Machine

# Nothing leads from these to any other.
_FINAL = frozenset({"destroyed"})
# What a Machine that was to run has come to instead.
_INSTEAD = frozenset({"failed", "destroyed"})


class Seen(NamedTuple):
    """A Machine, and what happened to it last: looked up at once, as each turn of a thread takes its time."""

    machine: Machine
    newest: Event | None


class Missed(errors.PilotError):
    """It has not come to the state that was waited for."""


async def wait(database: Database, find: Callable[[], Seen], states: frozenset[str], timeout_s: float) -> Seen:
    """The Machine, in one of the states. `Missed` when its time is over, or it can never come to one."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(told.set)

    stop = database.watch(tell)
    try:
        seen = await asyncio.to_thread(find)
        async with asyncio.timeout(timeout_s):
            while (state := seen.machine.state) not in states:
                if state in _FINAL or (state in _INSTEAD and "started" in states):
                    raise _missed(seen.machine, states)
                await told.wait()
                told.clear()
                seen = await asyncio.to_thread(find)
    except TimeoutError as error:
        raise _missed(seen.machine, states) from error
    finally:
        stop()
    return seen


def _missed(row: Machine, states: frozenset[str]) -> Missed:
    return Missed(f"machine failed to reach desired state, {' or '.join(sorted(states))}, currently {row.state}")
