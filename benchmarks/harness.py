"""Contenders that take turns, and what is told of them.

One round runs every contender once, each time in another order, so that whatever else the machine does falls on all of
them alike; ratios are between medians of the same rounds. A sample is a mapping from a column ("wall_ms") to a number.

    rows = interleave([Contender("ours", ours), Contender("theirs", theirs)], rounds=50)
    table = make_table("what was done", rows, column="wall_ms", yardsticks=["theirs"])
    write_result("name", [table])
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

Sample = Mapping[str, float]
Run = Callable[[], Sample]
RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parent.parent
_VERSIONS = {
    "crun": ["crun", "--version"],
    "runc": ["runc", "--version"],
    "compiler": ["cc", "--version"],
    "busybox": ["busybox"],
}


class Contender(msgspec.Struct, frozen=True):
    """`run` does the work once; what it returns is measured in there, so that setting up does not count."""

    name: str
    run: Run


class Summary(msgspec.Struct, frozen=True):
    """Of one column of one contender."""

    count: int
    median: float
    p90: float
    least: float
    most: float
    p99: float = math.nan  # results that were stored before it was asked for


class Table(msgspec.Struct, frozen=True):
    """One question and its answer. `ratios`: medians, as a multiple of the yardstick's."""

    title: str
    unit: str
    rows: dict[str, dict[str, Summary]]  # contender → column → summary
    ratios: dict[str, dict[str, float]] = {}  # yardstick → contender → ratio
    note: str = ""


def interleave(
    contenders: Sequence[Contender], rounds: int, warmup: int = 2, limit_s: float = math.inf
) -> dict[str, list[Sample]]:
    """Samples of each contender, by name; the first `warmup` rounds are not kept. After `limit_s` no round begins."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    end = time.monotonic() + limit_s
    for turn, order in zip(range(rounds + warmup), _orders(contenders), strict=False):
        if turn > warmup and time.monotonic() > end:
            break
        for contender in order:
            sample = contender.run()
            if turn >= warmup:
                samples[contender.name].append(sample)
    return samples


def _orders(contenders: Sequence[Contender]) -> Iterator[Sequence[Contender]]:
    """Each rotation in turn: nobody always comes after the same one."""
    for start in itertools.cycle(range(len(contenders))):
        yield [*contenders[start:], *contenders[:start]]


def summarize(values: Sequence[float]) -> Summary:
    ordered = sorted(values)
    p90, p99 = (ordered[min(len(ordered) - 1, round(len(ordered) * share))] for share in (0.9, 0.99))
    return Summary(len(ordered), statistics.median(ordered), p90, ordered[0], ordered[-1], p99)


def make_table(
    title: str, samples: Mapping[str, Sequence[Sample]], yardsticks: Sequence[str], column: str, note: str = ""
) -> Table:
    """Summaries of all columns, and ratios of the medians of `column` to each yardstick."""
    rows = {name: {key: summarize([row[key] for row in list_]) for key in list_[0]} for name, list_ in samples.items()}
    ratios = {
        yardstick: {
            name: columns[column].median / rows[yardstick][column].median
            for name, columns in rows.items()
            if name != yardstick
        }
        for yardstick in yardsticks
    }
    return Table(title, column, rows, ratios, note)


def write_result(name: str, tables: Sequence[Table], load: tuple[float, float, float]) -> Path:
    """One JSON file of this run; `load` is that of the start. Returns its path."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    document = {
        "benchmark": name,
        "time": now.isoformat(timespec="seconds"),
        "revision": _output(["git", "describe", "--always", "--dirty"], cwd=_ROOT),
        "machine": machine(),
        "load": load,
        "tables": [msgspec.to_builtins(table) for table in tables],
    }
    path = RESULTS / f"{name}-{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "processor": _field("/proc/cpuinfo", "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "python": sys.version.split()[0],
        **{name: _output(command) for name, command in _VERSIONS.items()},
    }


def _field(path: str, name: str) -> str:
    with open(path, encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith(name)), "")


def _output(command: Sequence[str], cwd: Path | None = None) -> str:
    """The first line of what a command says; empty when it is not there."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return ""
    return (done.stdout.splitlines() or [""])[0]


def build(source: Path, directory: Path) -> Path:
    """The program that a C file is, compiled into `directory` when it is not there yet."""
    program = directory / source.stem
    if not program.exists():
        warnings = ["-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", "-O2", "-pthread", *warnings, "-o", program, source], check=True, timeout=120)
    return program


def execute(command: list[str], environment: Mapping[str, str] = os.environ) -> Sample:
    """Run a command once, with /dev/null for stdin and stdout: its time, and the processor time of its processes."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(2)]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=null)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    if status:
        raise RuntimeError(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return {"wall_ms": wall * 1e3, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3}


def add(*samples: Sample) -> Sample:
    """Several commands as one."""
    return {key: sum(sample[key] for sample in samples) for key in samples[0]}


def peak_rss_mib(command: list[str], environment: Mapping[str, str] = os.environ) -> float:
    """The largest of the processes of a command. busybox starts it: the peak of a process includes its parent's.

    busybox takes the kernel's KiB for pages and multiplies them (67 MB where wait4 says 17); that is undone.
    """
    timed = ["/bin/busybox", "time", "-v", *command]
    done = subprocess.run(timed, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    line = next(line for line in done.stderr.splitlines() if "Maximum resident set size" in line)
    return int(line.rpartition(":")[2]) / (os.sysconf("SC_PAGESIZE") / 1024) / 1024
