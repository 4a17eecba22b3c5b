"""Runs the tests in lanes: sessions of pytest at the same time, each in private namespaces, which take files in turn.

    python -m tests.support.lanes [-n LANES] [--unsteady TESTS] [pytest's arguments]

    lanes ── private ── pytest -p tests.support.lane     collects everything, runs the files that it claims first
          └─ private ── pytest -p tests.support.lane     the same; who comes to a claimed file goes on to the next
    then, where tests failed
          └─ private ── pytest -p tests.support.lane     these once more, with nothing beside them

What a lane says is printed line by line behind its number. A test marked `alone` (it takes what the whole host has of
something) runs while no other does. Each file is run by one lane.

A test that fails beside another lane and passes by itself is *unsteady*: a fault of it, of what it tests, or of what
two machines share on a host, and told as such in the last lines. The exit status is 0 when there are no more than
`--unsteady` of those, and nothing else went wrong.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import IO

PRIVATE = (sys.executable, "-m", "tests.support.private", "--")
DIRECTORY, NUMBER, ONLY = "PILOT_LANES", "PILOT_LANE", "PILOT_LANES_ONLY"
UNSTEADY = 5
TESTS_FAILED = 1  # pytest's exit status


@dataclasses.dataclass(frozen=True)
class Told:
    """What a lane wrote at its end (`lane`)."""

    collected: list[str]
    done: list[str]
    failed: dict[str, str]  # why, in a line
    unexpected: list[str]  # needs of skipped tests that nobody expected


@dataclasses.dataclass(frozen=True)
class Round:
    """What the lanes that ran at the same time have told."""

    problems: list[str]  # that are no failed test
    failed: dict[str, str]


def run(count: int, arguments: Sequence[str], within: Sequence[str] = PRIVATE, unsteady: int = UNSTEADY) -> int:
    """Run the tests that pytest finds with these arguments, in `count` lanes, each started by `within`."""
    first = _round(count, arguments, within, "")
    for test, why in first.failed.items():
        _say(f"failed: {test}: {why}")
    problems = [*first.problems]
    if problems or len(first.failed) > unsteady:
        problems += [f"{len(first.failed)} failed"] * bool(first.failed)
    elif first.failed:
        again = _round(1, arguments, within, json.dumps(list(first.failed)))
        problems += again.problems + [f"failed by itself too: {test}: {why}" for test, why in again.failed.items()]
        for test in first.failed.keys() - again.failed.keys():
            _say(f"unsteady: {test}: passed by itself")
    for problem in problems:
        _say(problem)
    return 1 if problems else 0


def _say(what: str) -> None:
    print(f"lanes: {what}", flush=True)


def _round(count: int, arguments: Sequence[str], within: Sequence[str], only: str) -> Round:
    with tempfile.TemporaryDirectory(prefix="pilot-lanes-") as directory:
        os.mkdir(os.path.join(directory, "claims"))
        lanes = [_start(directory, number, arguments, within, only) for number in range(1, count + 1)]
        for got in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(got, lambda *_: _end(lanes))
        printers = [threading.Thread(target=_print, args=lane) for lane in enumerate(lanes, 1)]
        for printer in printers:
            printer.start()
        statuses = [lane.wait() for lane in lanes]
        for printer in printers:
            printer.join()
        told = [_told(directory, number) for number in range(1, count + 1)]
    return _judged(statuses, told)


def _start(
    directory: str, number: int, arguments: Sequence[str], within: Sequence[str], only: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*within, sys.executable, "-m", "pytest", "-p", "tests.support.lane", *arguments],
        env={**os.environ, DIRECTORY: directory, NUMBER: str(number), ONLY: only, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _end(lanes: Sequence[subprocess.Popen[bytes]]) -> None:
    for lane in lanes:
        lane.terminate()


def _print(number: int, lane: subprocess.Popen[bytes]) -> None:
    out: IO[bytes] | None = lane.stdout
    assert out is not None
    for line in out:
        sys.stdout.buffer.write(b"%d| %s\n" % (number, line.rstrip(b"\n")))
        sys.stdout.buffer.flush()


def _told(directory: str, number: int) -> Told | None:
    try:
        with open(os.path.join(directory, f"lane-{number}")) as file:
            return Told(**json.load(file))
    except FileNotFoundError:
        return None


def _judged(statuses: Sequence[int], told: Sequence[Told | None]) -> Round:
    problems: list[str] = []
    failed: dict[str, str] = {}
    for number, (status, lane) in enumerate(zip(statuses, told, strict=True), 1):
        if lane is None:
            problems.append(f"lane {number} did not come to its end: exit status {status}")
            continue
        problems += [f"lane {number}: unexpected skip: {need}" for need in lane.unexpected]
        if status not in (0, TESTS_FAILED) or (status and not lane.failed and not lane.unexpected):
            problems.append(f"lane {number}: exit status {status}")
        failed |= lane.failed
    return Round(problems + _missed([lane for lane in told if lane is not None]), failed)


def _missed(told: Sequence[Told]) -> list[str]:
    """Tests that were collected, and that no lane, or more than one, has run."""
    collected = {test for lane in told for test in lane.collected}
    done = collections.Counter(test for lane in told for test in lane.done)
    missed = [f"nobody has run {test}" for test in sorted(collected - set(done))]
    return missed + [f"run more than once: {test}" for test, times in done.items() if times > 1]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="lanes", allow_abbrev=False)
    parser.add_argument("-n", type=int, default=2, metavar="LANES")
    parser.add_argument("--unsteady", type=int, default=UNSTEADY, metavar="TESTS")
    options, arguments = parser.parse_known_args()
    sys.exit(run(options.n, arguments, unsteady=options.unsteady))


if __name__ == "__main__":
    main()
