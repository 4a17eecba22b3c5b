"""Tables of benchmarks as Markdown."""

from __future__ import annotations

import pytest
from benchmarks import harness, report


@pytest.mark.parametrize("columns", [{"ms": 1.0}, {"ms": 1.0, "cpu_ms": 2.0}])
def test_what_follows_a_table_are_paragraphs_of_their_own(columns: dict[str, float]) -> None:
    table = harness.make_table("work", {"ours": [columns]}, [], "ms", "What this is.")
    details = ["- ours: cpu_ms 2.00"] if "cpu_ms" in columns else []
    assert report.format_table(table).split("\n\n")[2:] == [*details, "What this is.\n"]


def test_a_table_with_nothing_to_say_about_it_ends_with_its_last_line() -> None:
    table = harness.make_table("work", {"ours": [{"ms": 1.0}]}, [], "ms")
    assert report.format_table(table).endswith("1.00–1.00 |\n")
