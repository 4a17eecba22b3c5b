"""Runs in a sprite beside attacks on the host, for as long as nobody makes OVER; while HOLD is there it does nothing.

    rows      a row into SQLite, committed (WAL, synchronous=FULL), twenty times a second; twice a minute SQLite is
              asked whether its file is whole, and the rows are counted
    blocks    4 KiB into a file and fdatasync, four times a second, each read again

Prints one JSON line a second: rows that were acknowledged, and how long the last commits and syncs took. Whatever goes
wrong ends it with a traceback.
"""

from __future__ import annotations

import json
import os
import pathlib
import sqlite3
import sys
import threading
import time

HOLD, OVER = pathlib.Path("/home/sprite/hold"), pathlib.Path("/home/sprite/over")
DATABASE, BLOCKS = "/home/sprite/neighbour.db", "/home/sprite/neighbour.blocks"
CHECK_EVERY_S = 30.0
BLOCK, BLOCKS_COUNT = 4096, 4096


class Timings:
    """Milliseconds since the last `taken`; of several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: list[float] = []
        self._syncs: list[float] = []
        self.acknowledged = 0
        self.checks = 0

    def committed(self, began: float) -> None:
        with self._lock:
            self.acknowledged += 1
            self._commits.append(_since_ms(began))

    def synced(self, began: float) -> None:
        with self._lock:
            self._syncs.append(_since_ms(began))

    def taken(self) -> dict[str, object]:
        with self._lock:
            commits, self._commits = self._commits, []
            syncs, self._syncs = self._syncs, []
            told = {"acknowledged": self.acknowledged, "checks": self.checks}
        return {**told, "commit": commits, "sync": syncs}


def _since_ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 2)


def _pause(seconds: float) -> bool:
    """False when it is over."""
    time.sleep(seconds)
    while HOLD.exists():
        time.sleep(0.5)
    return not OVER.exists()


def rows(timings: Timings) -> None:
    """See the module."""
    with sqlite3.connect(DATABASE, isolation_level=None) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)")
        checked = time.monotonic()
        while _pause(0.05):
            began = time.monotonic()
            database.execute("INSERT INTO rows (text) VALUES (?)", (f"{began}" * 20,))
            timings.committed(began)
            if began - checked > CHECK_EVERY_S:
                check(database, timings.acknowledged)
                timings.checks += 1
                checked = time.monotonic()
        check(database, timings.acknowledged)


def check(database: sqlite3.Connection, acknowledged: int) -> None:
    """AssertionError says what is missing."""
    verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
    assert verdict == "ok", verdict
    there, last = database.execute("SELECT count(*), max(number) FROM rows").fetchone()
    assert (there, last) == (acknowledged, acknowledged or None), (there, last, acknowledged)


def blocks(timings: Timings) -> None:
    """See the module; each block says which turn wrote it."""
    fd = os.open(BLOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    number = 0
    while _pause(0.25):
        began = time.monotonic()
        block, place = f"{number:016}".encode() * (BLOCK // 16), number % BLOCKS_COUNT * BLOCK
        assert os.pwrite(fd, block, place) == BLOCK
        os.fdatasync(fd)
        timings.synced(began)
        assert os.pread(fd, BLOCK, place) == block
        number += 1
    os.close(fd)


def main() -> int:
    timings = Timings()
    failed: list[BaseException] = []
    threading.excepthook = lambda args: failed.append(args.exc_value or SystemExit())
    threads = [threading.Thread(target=each, args=(timings,), daemon=True) for each in (rows, blocks)]
    for thread in threads:
        thread.start()
    while not failed and any(thread.is_alive() for thread in threads):
        time.sleep(1)
        print(json.dumps(timings.taken()), flush=True)
    if failed:
        raise failed[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
