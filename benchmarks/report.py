"""Results → docs/reference/benchmarks.md: of each benchmark the newest, as tables. Nothing is rounded in our favour."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from . import aims, harness
from .harness import Summary, Table

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `python -m benchmarks report` from the newest files in `benchmarks/results/`; do not edit.
`make bench` measures again. Contenders take turns in one process run, so a ratio means more than a number: machines
differ, and so do moments.
"""


def newest() -> dict[str, Mapping[str, Any]]:
    """The last result of each benchmark, by name."""
    documents = (json.loads(path.read_text()) for path in sorted(harness.RESULTS.glob("*.json")))
    return {document["benchmark"]: document for document in documents}


def write_page() -> Path:
    """The page, from what is there."""
    found = newest()
    sections = [f"## Aims\n\n{aims.format_page(found)}"]
    sections += [_section(name, document) for name, document in found.items()]
    PAGE.write_text("\n".join([_HEAD, *sections]), encoding="utf-8")
    return PAGE


def _section(name: str, document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    load = ", ".join(f"{value:.1f}" for value in document["load"])
    facts = (
        f"{document['time']}, revision {document['revision']}. {machine['processor']}, {machine['cpus']} CPUs, "
        f"{machine['memory']}; Linux {machine['kernel']}; Python {machine['python']}; {machine['runc']}; "
        f"{machine['crun']}. Load at the start: {load}."
    )
    tables = [format_table(msgspec.convert(table, Table)) for table in document["tables"]]
    return "\n\n".join([f"## {name}", facts, *tables]) + "\n"


def format_table(table: Table) -> str:
    """Markdown: a line per contender."""
    heads = ["n", f"median ({table.unit})", "p90", "p99", "least–most", *(f"× {name}" for name in table.ratios)]
    lines = [f"### {table.title}", "", "| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name, columns in table.rows.items():
        summary = columns[table.unit]
        ratios = [_ratio(ratios.get(name)) for ratios in table.ratios.values()]
        lines.append(f"| {name} | " + " | ".join([*_numbers(summary), *ratios]) + " |")
    paragraphs = ["\n".join(lines), "\n".join(_details(table)), table.note]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _numbers(summary: Summary) -> tuple[str, ...]:
    values = (summary.median, summary.p90, summary.p99)
    return str(summary.count), *(f"{value:.2f}" for value in values), f"{summary.least:.2f}–{summary.most:.2f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _details(table: Table) -> Iterator[str]:
    """Medians of the other columns, a line per contender that has any."""
    for name, columns in table.rows.items():
        others = [f"{key} {summary.median:.2f}" for key, summary in columns.items() if key != table.unit]
        if others:
            yield f"- {name}: {', '.join(others)}"
