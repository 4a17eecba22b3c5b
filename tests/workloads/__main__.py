"""`make workloads`: programs that nobody here wrote, on a volume whose processes are killed under them.

    python -m tests.support.private -- python -m tests.workloads [--seconds N] [--seed N] [--report FILE] [NAME ...]

The exit status is 1 when anything was wrong: an error that a program saw, a block, row or sum that is not what it
should be, a filesystem that e2fsck does not like, something left at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support import leftovers
from tests.workloads import postgres, programs
from tests.workloads.bed import Bed

WORKLOADS: Mapping[str, Callable[[Bed, int], str]] = {
    "fio": programs.fio,
    "stress-ng": programs.stress_ng,
    "dbench": programs.dbench,
    "pgbench": postgres.pgbench,
}
_PACKAGES = {"pgbench": "postgresql-15"}
BEGIN, END = "<!-- make workloads: begin -->", "<!-- make workloads: end -->"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60, help="for each, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a page with the marks of this table")
    parser.add_argument("names", nargs="*", default=list(WORKLOADS))
    options = parser.parse_args()
    before = leftovers.observe()
    rows, wrong = [], 0
    for name in options.names:
        row, ok = _one(name, options.seconds, options.seed)
        rows.append(row)
        wrong += not ok
        print(row, flush=True)
    if left := leftovers.left_since(before):
        print(f"left: {left}")
        wrong += 1
    if options.report:
        _write(options.report, rows)
    return 1 if wrong else 0


def _one(name: str, seconds: int, seed: int) -> tuple[str, bool]:
    began, found = time.monotonic(), ""
    with tempfile.TemporaryDirectory(prefix="workload-", dir="/var/tmp") as state:
        bed = Bed(Path(state), seed)
        try:
            told = WORKLOADS[name](bed, seconds)
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            told, found = "", str(error)
            print(f"--- {name}\n{found}", file=sys.stderr, flush=True)
        finally:
            bed.volumed.stop()
    kills = ", ".join(f"{kind} {count}" for kind, count in sorted(bed.killed.items()))
    words = (name, _version(name), f"{time.monotonic() - began:.0f}", kills, told, found[:200] or "nothing")
    return f"| {' | '.join(word.replace('|', '/').replace(chr(10), ' ') for word in words)} |", not found


def _version(name: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", _PACKAGES.get(name, name)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _write(page: Path, rows: list[str]) -> None:
    head = ["| program | version | seconds | kills | what it did | wrong |", "|---|---|---|---|---|---|"]
    text = "\n".join([f"Seen on {time.strftime('%Y-%m-%d', time.gmtime())}:", "", *head, *rows])
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
