"""Runs the tests in lanes: sessions of pytest at the same time, each in private namespaces, which take files in turn.

    python -m tests.support.lanes [-n LANES] [pytest's arguments]

    lanes ── private ── pytest -p tests.support.lane     collects everything, runs the files that it claims first
          └─ private ── pytest -p tests.support.lane     the same; who comes to a claimed file goes on to the next

What a lane says is printed line by line behind its number. A test marked `alone` (it takes what the whole host has of
something) runs while no other does. The exit status is 0 when each lane's is, and each file was run by one of them.
"""

from __future__ import annotations

import argparse
import collections
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
DIRECTORY, NUMBER = "PILOT_LANES", "PILOT_LANE"


def run(count: int, arguments: Sequence[str], within: Sequence[str] = PRIVATE) -> int:
    """Run the tests that pytest finds with these arguments, in `count` lanes, each started by `within`."""
    with tempfile.TemporaryDirectory(prefix="pilot-lanes-") as directory:
        os.mkdir(os.path.join(directory, "claims"))
        lanes = [_start(directory, number, arguments, within) for number in range(1, count + 1)]
        for got in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(got, lambda *_: _end(lanes))
        printers = [threading.Thread(target=_print, args=lane) for lane in enumerate(lanes, 1)]
        for printer in printers:
            printer.start()
        statuses = [lane.wait() for lane in lanes]
        for printer in printers:
            printer.join()
        problems = [f"lane {number}: exit status {status}" for number, status in enumerate(statuses, 1) if status]
        problems += _missed(directory, count)
    for problem in problems:
        print(f"lanes: {problem}", flush=True)
    return 1 if problems else 0


def _start(directory: str, number: int, arguments: Sequence[str], within: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*within, sys.executable, "-m", "pytest", "-p", "tests.support.lane", *arguments],
        env={**os.environ, DIRECTORY: directory, NUMBER: str(number), "PYTHONUNBUFFERED": "1"},
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


def _missed(directory: str, count: int) -> list[str]:
    """Tests that were collected, and that no lane, or more than one, has run."""
    collected: set[str] = set()
    done: list[str] = []
    for number in range(1, count + 1):
        try:
            with open(os.path.join(directory, f"lane-{number}")) as file:
                told = json.load(file)
        except FileNotFoundError:
            return [f"lane {number} did not come to its end"]
        collected |= set(told["collected"])
        done += told["done"]
    missed = [f"nobody has run {test}" for test in sorted(collected - set(done))]
    return missed + [f"run more than once: {test}" for test, times in collections.Counter(done).items() if times > 1]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="lanes", allow_abbrev=False)
    parser.add_argument("-n", type=int, default=2, metavar="LANES")
    options, arguments = parser.parse_known_args()
    sys.exit(run(options.n, arguments))


if __name__ == "__main__":
    main()
