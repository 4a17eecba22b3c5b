"""Runs in a sprite beside an attack: rows into SQLite, each committed, until somebody makes OVER; then what it found.

It makes BEGUN, and prints one JSON line at the end: rows that were acknowledged, rows that are there, what SQLite says
of its own file, and how long the commits took.
"""

from __future__ import annotations

import json
import os
import pathlib
import sqlite3
import sys
import time

BEGUN, OVER = pathlib.Path("/home/sprite/begun"), pathlib.Path("/home/sprite/over")


def main() -> int:
    OVER.unlink(missing_ok=True)
    path = os.path.expanduser("~/neighbour.db")
    took: list[float] = []
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)")
        first = database.execute("SELECT count(*) FROM rows").fetchone()[0]
        BEGUN.touch()
        while not OVER.exists():
            time.sleep(0.005)
            began = time.monotonic()
            database.execute("INSERT INTO rows (text) VALUES (?)", (f"{began}" * 20,))
            took.append(time.monotonic() - began)
        verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        there = database.execute("SELECT count(*) FROM rows").fetchone()[0]
    BEGUN.unlink()
    took.sort()
    told = {"acknowledged": first + len(took), "there": there, "integrity": verdict}
    told |= {f"p{part}_ms": round(took[len(took) * part // 100] * 1000, 2) for part in (50, 99)} if took else {}
    print(json.dumps(told | {"worst_ms": round(took[-1] * 1000, 1) if took else 0}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
