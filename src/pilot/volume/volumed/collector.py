"""Garbage collection of a host's store without anybody asking for it, beside volumed.

    volumed, thread "gc"   waits a random part of the interval, then: run ─ keep the outcome ─ wait the interval ─ …
    child                  python -m pilot.volume.volumed.collector …   nice, ends with volumed, says one JSON line

A process of its own, because it reads every HEAD and log of the store: volumed keeps neither that memory nor that wait.
Hosts that share a store need not agree. A run of another host in the last half of the interval is as good as ours
(`SKIPPED`); of two at the same moment one loses the swap of gc.json and goes away (`BUSY`). Whatever fails is logged,
kept for who asks (`Outcome`), and tried again at the next turn: it must never end volumed, or keep it from ending.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from ... import errors
from ...kernel import syscalls
from ..answers import Outcome, State

_log = logging.getLogger(__name__)
DEFAULT_EVERY_H = 6.0
DEFAULT_GRACE_H = 24.0
MIN_GRACE_S = 60.0
_LOOK_S = 1.0
_RETRY_S = 30.0
_PR_SET_PDEATHSIG = 1


class Schedule(msgspec.Struct, frozen=True):
    """When and how. `every_s` 0: never."""

    store: str
    every_s: float
    grace_s: float


Run = Callable[[Schedule, threading.Event], Outcome]


class Collector:
    """See the module. `run` makes one run; `chance` (0 to 1) chooses when the first one begins."""

    def __init__(
        self, schedule: Schedule, run: Run | None = None, *, chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._schedule = schedule
        self._run = run or run_child
        self._chance = chance
        self._clock = clock
        self.outcome = Outcome()

    def loop(self, stop: threading.Event) -> None:
        """Run again and again until told to stop."""
        every_s = self._schedule.every_s
        if every_s <= 0:
            return
        pause_s = every_s * self._chance()  # hosts that start together do not all come at once
        while True:
            self.outcome = structs.replace(self.outcome, next_at=self._clock() + pause_s)
            if stop.wait(pause_s):
                return
            self.outcome = self._one(stop)
            pause_s = every_s

    def _one(self, stop: threading.Event) -> Outcome:
        try:
            done = self._run(self._schedule, stop)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: collecting is never worth volumed's end
            _log.exception("collect garbage of %s", self._schedule.store)
            done = Outcome(State.FAILED, error=str(error))
        level = logging.WARNING if done.error else logging.INFO
        _log.log(level, "collect garbage of %s: %s", self._schedule.store, _describe(done))
        return structs.replace(done, at=self._clock())


def _describe(done: Outcome) -> str:
    if done.state is State.FAILED:
        return f"failed: {done.error}"
    if done.state is not State.DONE:
        return f"left to another host ({done.state})"
    return f"{done.deleted} objects deleted, {done.condemned} condemned, {done.kept} disks unreadable"


# ---- one run, as a process


def run_child(schedule: Schedule, stop: threading.Event) -> Outcome:
    """One run in a child; killed when told to stop (a run may be killed anywhere)."""
    import subprocess  # here, so that no worker that volumed forks has it

    command = [sys.executable, "-P", "-m", __name__, "--store", schedule.store,
               "--grace-s", str(schedule.grace_s), "--fresh-s", str(schedule.every_s / 2),
               "--parent", str(os.getpid())]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    while True:
        try:
            out, _ = process.communicate(timeout=_LOOK_S)
            return parse(out, process.returncode)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                process.kill()


def parse(out: bytes, status: int) -> Outcome:
    """What a child has said, as an outcome."""
    try:
        said = json.loads(out)
        return Outcome(**{**said, "state": State(said["state"])})
    except (ValueError, KeyError, TypeError):
        return Outcome(State.FAILED, error=f"its process ended with status {status} and said nothing")


def main(arguments: Sequence[str] | None = None) -> None:
    """The child: one run, and one line about it."""
    parser = argparse.ArgumentParser(prog="volume-collector")
    parser.add_argument("--store", required=True)
    parser.add_argument("--grace-s", type=float, required=True)
    parser.add_argument("--fresh-s", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    _stay_below(options.parent)
    done = collect(options.store, options.grace_s, options.fresh_s)
    print(json.dumps(structs.asdict(done)))


def _stay_below(parent: int) -> None:
    """Be nice (to the disk, too: its priority follows), and end with who started us."""
    syscalls.libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("volumed has ended meanwhile")
    with contextlib.suppress(OSError):  # a seccomp filter around us: then without
        os.nice(19)


def collect(url: str, grace_s: float, fresh_s: float) -> Outcome:
    """One run, here, unless another host has finished one within `fresh_s` seconds."""
    from ..remote.log import encryption
    from ..remote.objects import opening, store  # the child's alone: 16 MB with a cloud store
    from ..remote.tending import garbage

    try:
        objects, keyring = opening.open_store(url), encryption.read_keys(os.environ)
        if 0 <= time.time() - garbage.last_run(objects) < fresh_s:  # one that is to come is of a wrong clock
            return Outcome(State.SKIPPED)
        plan = store.retry(lambda: garbage.collect(objects, keyring, time.time, grace_s), _RETRY_S)
    except errors.Conflict:
        return Outcome(State.BUSY)
    except errors.PilotError as error:
        return Outcome(State.FAILED, error=str(error))
    for disk, why in plan.kept.items():
        print(f"kept: disk {disk} and its ancestors: {why}", file=sys.stderr)
    return Outcome(State.DONE, deleted=len(plan.delete), condemned=len(plan.condemned), kept=len(plan.kept))


if __name__ == "__main__":
    main()
