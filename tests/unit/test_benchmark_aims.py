"""Verdicts of benchmark results: from tables to met or not met."""

from __future__ import annotations

import msgspec
import pytest
from benchmarks import aims, harness
from benchmarks.aims import Aim, Bound, Verdict
from benchmarks.harness import Table


def _table(values: list[float], title: str = "work, 1 MiB") -> Table:
    samples = {"ours": [{"ms": value, "other": 2 * value} for value in values], "plain": [{"ms": 10.0, "other": 1.0}]}
    return harness.make_table(title, samples, ["plain"], "ms")


def _aim(statistic: str, bound: float | None, side: Bound = Bound.MOST, yardstick: str = "") -> Aim:
    return Aim("it is quick", "work", "ours", statistic, bound, side=side, yardstick=yardstick)


@pytest.mark.parametrize(
    ("aim", "values", "verdict"),
    [
        (_aim("median", 5), [1, 5, 100], Verdict.MET),
        (_aim("median", 5), [1, 5.1, 100], Verdict.NOT_MET),
        (_aim("ratio", 0.8, Bound.LEAST, "plain"), [8], Verdict.MET),
        (_aim("ratio", 0.8, Bound.LEAST, "plain"), [7.9], Verdict.NOT_MET),
        (_aim("ratio", 1.5, yardstick="plain"), [15.1], Verdict.NOT_MET),
        (_aim("p99", 5), [5] * 100, Verdict.MET),
        (_aim("p99", 5), [5] * 99, Verdict.TOO_FEW),
        (_aim("p99", 5), [5] * 98 + [6] * 2, Verdict.NOT_MET),
        (_aim("p99", 5), [6] * 5, Verdict.NOT_MET),
        (_aim("ratio", None, yardstick="plain"), [20], Verdict.SHOWN),
    ],
)
def test_verdicts(aim: Aim, values: list[float], verdict: Verdict) -> None:
    assert aims.answer(aim, [_table(values)]).verdict is verdict


def test_another_column_is_found_by_name() -> None:
    aim = msgspec.structs.replace(_aim("most", 3), column="other")
    assert aims.answer(aim, [_table([2])]).figure == 4


@pytest.mark.parametrize("tables", [[], [_table([1], "something else")]])
def test_what_was_not_measured_is_not_met(tables: list[Table]) -> None:
    found = aims.answer(_aim("median", 5), tables)
    assert found.verdict is Verdict.NOT_MEASURED
    assert "not measured" in aims.format_table([found])


def test_a_column_that_is_not_there_was_not_measured() -> None:
    aim = msgspec.structs.replace(_aim("most", 3), column="missing")
    assert aims.answer(aim, [_table([2])]).verdict is Verdict.NOT_MEASURED


def test_a_yardstick_that_did_not_take_part_was_not_measured() -> None:
    aim = _aim("ratio", 1.5, yardstick="another")
    assert aims.answer(aim, [_table([2])]).verdict is Verdict.NOT_MEASURED


def test_a_line_without_a_bound_shows_its_figure_and_no_verdict() -> None:
    found = aims.answer(_aim("ratio", None, yardstick="plain"), [_table([20])])
    assert "| it is quick | median × plain |  | 2.00 |  | 1 |" in aims.format_table([found])


def test_the_page_says_which_results_it_read() -> None:
    document = {"time": "today", "revision": "abc", "tables": [msgspec.to_builtins(_table([1], "untar of 1 MiB"))]}
    page = aims.format_page({"volume": document, "soak": document})
    assert page.count("\n") == len(aims.AIMS) + 4
    assert page.endswith("From: volume today (abc).\n")
