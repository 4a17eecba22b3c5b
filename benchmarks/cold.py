"""A cold sprite's first command by sprites-py, and its next, as a container and as a virtual machine in turns: what of
it is the kind of machine. `boot` and `world` are the steps of the wake, as pilotd has written them down; the virtual
machine is a clone of a template that was booted before.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
from tests.support import pilotd
from tests.support.pilotd import Pilotd

from . import harness
from .harness import Contender, Sample, Table

_NAME = "cold"
_LIMIT_S = 200.0
_MOST_ROUNDS = 10
_STOP_S = 120.0
# When the last wake began, and when each of its steps was done.
_BEGAN = "SELECT id, started_us FROM runs WHERE action = 'wake' ORDER BY started_us DESC LIMIT 1"
_STEPS = "SELECT name, at_us FROM transitions WHERE run = ? ORDER BY at_us"


def run(rounds: int) -> Sequence[Table]:
    """One table; at most `_MOST_ROUNDS` rounds."""
    with _sprite("container") as container, _sprite("vm") as vm:
        contenders = [Contender("container", container.wake), Contender("virtual machine", vm.wake)]
        samples = harness.interleave(contenders, min(rounds, _MOST_ROUNDS), 1, _LIMIT_S)
    return [harness.make_table("a cold sprite's first command, and its next", samples, ["container"], "first_ms")]


class _Sprite:
    def __init__(self, daemon: Pilotd, sprite: Any) -> None:
        self._daemon = daemon
        self._sprite = sprite

    def wake(self) -> Sample:
        stop = f"{self._daemon.url}/v1/sprites/{_NAME}/stop"
        headers = {"Authorization": f"Bearer {self._daemon.token()}"}
        httpx.post(stop, headers=headers, timeout=_STOP_S).raise_for_status()
        return {"first_ms": self._command_ms(), **self._steps_ms(), "next_ms": self._command_ms()}

    def _command_ms(self) -> float:
        began_s = time.monotonic()
        self._sprite.run("true", check=True)
        return (time.monotonic() - began_s) * 1000

    def _steps_ms(self) -> Sample:
        with contextlib.closing(sqlite3.connect(f"file:{self._daemon.state}/state.db?mode=ro", uri=True)) as database:
            id, last_us = database.execute(_BEGAN).fetchone()
            taken = {}
            for name, at_us in database.execute(_STEPS, (id,)):
                taken[f"{name}_ms"] = (at_us - last_us) / 1000
                last_us = at_us
        return {name: taken[name] for name in ("boot_ms", "world_ms")}


@contextlib.contextmanager
def _sprite(isolation: str) -> Iterator[_Sprite]:
    with pilotd.serving(isolation=isolation) as daemon, daemon.client() as client:
        yield _Sprite(daemon, client.create_sprite(_NAME))
