"""Measure, store, print; or write the page of what was stored, or tell which aims of volumes it meets.

python -m benchmarks [--rounds N | --quick] [NAME...]        python -m benchmarks report | aims
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from . import aims, harness, report

# Each a module with `run(rounds) -> Sequence[Table]`.
BENCHMARKS = (
    "runtime",
    "commands",
    "volume",
    "remote",
    "sprite",
    "machine",
    "machines",
    "vm",
    "cold",
    "ingress",
    "network",
    "identity",
)
_ROUNDS = 50
_QUICK = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description="measure pilot against its yardsticks")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--quick", dest="rounds", action="store_const", const=_QUICK, help=f"{_QUICK} rounds")
    parser.add_argument("names", nargs="*", help=f"report, aims, or some of: {', '.join(BENCHMARKS)} (default: all)")
    given = parser.parse_args()
    if given.names == ["report"]:
        print(report.write_page())
        return 0
    if given.names == ["aims"]:
        print(aims.format_page(report.newest()), end="")
        return 0
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in given.names or BENCHMARKS:
        _measure(name, given.rounds)
    return 0


def _measure(name: str, rounds: int) -> None:
    load = os.getloadavg()
    tables = importlib.import_module(f".{name}", __package__).run(rounds)
    for table in tables:
        print(report.format_table(table))
    print(aims.of_benchmark(name, tables))
    print(f"stored in {harness.write_result(name, tables, load)}")


if __name__ == "__main__":
    sys.exit(main())
