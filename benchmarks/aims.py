"""What is asked of volumes, networks and machines, and what the newest results say to it.

The aims are data; nothing is measured here.

    aim ─ benchmark, table, row, column, statistic ─► a number of the newest result ─ compared with the bound ─► verdict

A ratio is of medians of the same rounds, ours ÷ the yardstick's: of times the smaller is the better one, of rates the
larger. `× 0.4` of a rate is "at most 2.5 times slower". A line without a bound asks for nothing: it helps to judge
another one.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .harness import Summary, Table

_P99_SAMPLES = 100
_PLAIN, _FLOOR = "ext4 on loop", "C floor"
_HELD, _CALL = "checkpoint: writers held", "checkpoint: the whole call"
_LIFE = "create, fork, attach, detach, restore, delete"
_FIRST = "first byte of a volume that another host had"
_API, _BYTES = "the pilot API", "WebSocket, the bytes alone"
_ONE, _OUTPUT = "a container of `true`", "256 MiB of output by exec"
_MEMORY = "memory of the worker of a 10 GiB disk"


class Bound(enum.Enum):
    """Which side of the number is good."""

    MOST = "≤"
    LEAST = "≥"


class Aim(msgspec.Struct, frozen=True):
    """`statistic`: a field of `Summary`, or "ratio" to `yardstick`. `table` may be the begin of a title. `bound`: None
    where the figure is only shown."""

    what: str
    table: str
    row: str
    statistic: str
    bound: float | None
    column: str = ""
    side: Bound = Bound.MOST
    yardstick: str = ""
    benchmark: str = "volume"


def _ratio(what: str, table: str, bound: float, side: Bound = Bound.MOST) -> Aim:
    return Aim(what, table, "volume", "ratio", bound, side=side, yardstick=_PLAIN)


def _network(what: str, table: str, row: str, bound: float, yardstick: str) -> Aim:
    return Aim(what, table, row, "ratio", bound, yardstick=yardstick, benchmark="network")


def _machine(what: str, table: str, row: str, bound: float, side: Bound = Bound.MOST, yardstick: str = "") -> Aim:
    statistic = "ratio" if yardstick else "median"
    return Aim(what, table, row, statistic, bound, side=side, yardstick=yardstick, benchmark="machine")


def _machines(what: str, table: str, row: str, bound: float, yardstick: str = "", column: str = "") -> Aim:
    statistic = "ratio" if yardstick else "median"
    return Aim(what, table, row, statistic, bound, column, yardstick=yardstick, benchmark="machines")


AIMS = (
    _ratio("untar", "untar of ", 1.5),
    _ratio("dpkg: write, fsync, rename", "500 × write, fsync, rename", 1.5),
    _ratio("SQLite, FULL", "500 transactions of SQLite", 1.5),
    _ratio("sequential write", "sequential write", 0.8, Bound.LEAST),
    Aim("sequential write, of what FUSE can do", "sequential write", "volume", "ratio", None, yardstick=_FLOOR),
    _ratio("sequential read", "sequential read", 0.8, Bound.LEAST),
    _ratio("random read, 4 KiB", "random read", 0.4, Bound.LEAST),
    _ratio("write and fdatasync, 4 KiB", "write and fdatasync", 0.4, Bound.LEAST),
    Aim("checkpoint, clean: held", _HELD, "clean", "median", 8, "frozen_ms"),
    Aim("checkpoint, 100k files: held", _HELD, "100k files", "median", 8, "frozen_ms"),
    Aim("checkpoint, fragmented: held", _HELD, "fragmented", "median", 8, "frozen_ms"),
    Aim("checkpoint, live: held", _HELD, "live", "p99", 100, "frozen_ms"),
    Aim("checkpoint, live: the call", _CALL, "live", "p99", 300, "call_ms"),
    Aim("checkpoint, 100 MB dirty: the call", _CALL, "100 MB dirty", "p99", 300, "call_ms"),
    Aim("checkpoint of a sprite, clean: held", "checkpoint", "clean", "median", 8, "frozen_ms", benchmark="sprite"),
    Aim("checkpoint of a sprite, live: held", "checkpoint", "under 60", "p99", 100, "frozen_ms", benchmark="sprite"),
    Aim("checkpoint of a sprite, live: the call", "checkpoint", "under 60", "p99", 300, "wall_ms", benchmark="sprite"),
    Aim("restore, until it is mounted", _LIFE, "restore, attach and mount", "p99", 100, "wall_ms"),
    Aim("fork, until it is mounted", _LIFE, "fork of a mounted disk, attach and mount", "p99", 100, "wall_ms"),
    Aim("first byte elsewhere, store at 20 ms", _FIRST, "plain, 20 ms", "median", 300, benchmark="remote"),
    Aim("first byte elsewhere of a fork, store at 20 ms", _FIRST, "fork, 20 ms", "median", 300, benchmark="remote"),
    Aim("lost with a host: age of what is left", "lost with a host", "20 ms", "most", 2000, benchmark="remote"),
    Aim("worker, 10 GB mapped: resident", _MEMORY, "after mapping 10 GiB", "most", 25, "rss_mb"),
    Aim("worker, 10 GB, attached again: resident", _MEMORY, "10 GiB, attached again", "most", 25, "rss_mb"),
    Aim("worker, 10 GB, mapped, idle: resident", _MEMORY, "after mapping 10 GiB, idle", "most", 25, "rss_mb"),
    Aim("worker, 10 GB, attached again, idle: resident", _MEMORY, "10 GiB, attached again, idle", "most", 25, "rss_mb"),
    _network("out with a policy, time", "256 MiB out", "with a policy", 1 / 0.9, "without a policy"),
    _network("out with a policy, time beside plain NAT", "256 MiB out", "with a policy", 1.25, "plain veths with NAT"),
    Aim("an allowed name", "an allowed name", "the sprite's resolver", "median", 1, "wall_ms", benchmark="network"),
    Aim("a policy in force", "a change of policy", "a policy, in force", "p90", 100, "wall_ms", benchmark="network"),
    Aim("network, added to a create", "set-up", "the machine's link", "median", 5, "wall_ms", benchmark="network"),
    _machine("a container by the API, to its exit", _ONE, _API, 1 / 3, yardstick="crun run"),
    _machine("exec by the API", "exec of `true`", _API, 1, yardstick="crun exec"),
    _machine("output of exec, MB/s", _OUTPUT, _BYTES, 500, Bound.LEAST),
    _machine("output of exec", _OUTPUT, _BYTES, 1, Bound.LEAST, "podman exec"),
    _machine("a graph of ten up", "a graph of 10", _API, 150),
    _machine("a graph of ten up, beside podman", "a graph of 10", _API, 1, yardstick="podman play kube"),
    _machine("agent and init of 20 machines, MiB", "20 idle machines: memory", "a machine", 16),
    _machine("an idle agent, ms of a processor's second", "20 idle machines: processor", "agent", 1),
    _machines("pull and unpack, 10 MB", "pull and unpack of 10 MB", "pilot", 1, "podman pull"),
    _machines("pull and unpack, 1 GB", "pull and unpack of 1000 MB", "pilot", 1, "podman pull"),
    _machines("pull and unpack, 1 GB, beside umoci", "pull and unpack of 1000 MB", "pilot", 1, "skopeo and umoci"),
    _machines("a Machine to started, 10 MB", "of an image of 10 MB", "a Machine", 1, "podman run --detach"),
    _machines("a Machine to started, 1 GB", "of an image of 1000 MB", "a Machine", 1, "podman run --detach"),
    _machines("the same of the pool, 10 MB", "of an image of 10 MB", "the same", 1, "podman run --detach"),
    _machines("the same of the pool, 1 GB", "of an image of 1000 MB", "the same", 1, "podman run --detach"),
    _machines("ten containers in a Machine", "10 containers", "a Machine", 150),
    _machines("ten containers in a Machine of the pool", "10 containers", "the same", 150),
    _machines("wait, after the event", "from an event", "wait", 5),
    _machines("a thousand Machines listed", "1000 Machines", "list", 50),
    _machines("a Machine on a sprite's checkpoint", "from nothing", "a Machine", 1000),
    _machines("the same of the pool", "from nothing", "the same", 1000),
)  # fmt: skip


class Verdict(enum.Enum):
    """`TOO_FEW`: a p99 of less than a hundred samples, which is within its bound so far. `SHOWN`: there is no bound."""

    MET = "met"
    NOT_MET = "**not met**"
    TOO_FEW = "too few samples"
    SHOWN = ""
    NOT_MEASURED = "not measured"


class Answer(msgspec.Struct, frozen=True):
    """`summary`: of the row and column of the aim; None where the results have no such thing."""

    aim: Aim
    verdict: Verdict = Verdict.NOT_MEASURED
    figure: float = math.nan
    summary: Summary | None = None


def answer(aim: Aim, tables: Sequence[Table]) -> Answer:
    """What these tables (of the aim's benchmark) say to it."""
    for table in tables:
        row = next((name for name in table.rows if name.startswith(aim.row)), None)
        if table.title.startswith(aim.table) and row is not None:
            return _answer(aim, table, row)
    return Answer(aim)


def _answer(aim: Aim, table: Table, row: str) -> Answer:
    summary = table.rows[row].get(aim.column or table.unit)
    if summary is None or (aim.yardstick and aim.yardstick not in table.ratios):
        return Answer(aim)
    figure = table.ratios[aim.yardstick][row] if aim.yardstick else float(getattr(summary, aim.statistic))
    return Answer(aim, _judge(aim, figure, summary.count), figure, summary)


def _judge(aim: Aim, figure: float, count: int) -> Verdict:
    if aim.bound is None:
        return Verdict.SHOWN
    if figure > aim.bound if aim.side is Bound.MOST else figure < aim.bound:
        return Verdict.NOT_MET
    return Verdict.TOO_FEW if aim.statistic == "p99" and count < _P99_SAMPLES else Verdict.MET


def format_page(newest: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: the table of all aims, from the newest result of each benchmark by name."""
    tables = {name: msgspec.convert(document["tables"], list[Table]) for name, document in newest.items()}
    asked = {aim.benchmark for aim in AIMS}
    sources = (f"{name} {at['time']} ({at['revision']})" for name, at in newest.items() if name in asked)
    return (
        f"{format_table([answer(aim, tables.get(aim.benchmark, ())) for aim in AIMS])}\nFrom: {'; '.join(sources)}.\n"
    )


def of_benchmark(name: str, tables: Sequence[Table]) -> str:
    """The same of one benchmark alone; empty when no aim is about it."""
    found = [answer(aim, tables) for aim in AIMS if aim.benchmark == name]
    return format_table(found) if found else ""


def format_table(answers: Sequence[Answer]) -> str:
    """Markdown: a line per aim."""
    heads = ("aim", "statistic", "bound", "figure", "verdict", "n", "median / p99 / most")
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *map(_line, answers)]) + "\n"


def _line(found: Answer) -> str:
    aim, summary = found.aim, found.summary
    statistic = f"median × {aim.yardstick}" if aim.yardstick else f"{aim.statistic} {aim.column}"
    bound = "" if aim.bound is None else f"{aim.side.value} {aim.bound:g}"
    words = [aim.what, statistic.strip(), bound]
    if summary is None:
        return "| " + " | ".join([*words, "", found.verdict.value, "", ""]) + " |"
    spread = " / ".join(f"{value:.2f}" for value in (summary.median, summary.p99, summary.most))
    return "| " + " | ".join([*words, f"{found.figure:.2f}", found.verdict.value, str(summary.count), spread]) + " |"
