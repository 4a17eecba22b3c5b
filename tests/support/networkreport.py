"""A pytest plugin: what the rows of the bypass table said in a virtual machine, for docs/reference/network-policy.md.

    pytest -p tests.support.networkreport tests/guest/test_network_vm.py

The page is written when all that was collected has run.
"""

from __future__ import annotations

import pathlib

import pytest

from tests.support import pages

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "network-policy.md"
BEGIN, END = "<!-- by make vm-tests -->", "<!-- end -->"
_HEAD = "| row, in a virtual machine | seen |\n|---|---|\n"

_seen: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for a test; the worst of its parts counts."""
    name = report.nodeid.partition("::")[2]
    if report.when == "call" or not report.passed:
        _seen[name] = report.outcome if _seen.get(name) in (None, "passed") else _seen[name]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _seen:
        rows = "".join(f"| `{name}` | {outcome} |\n" for name, outcome in _seen.items())
        pages.write_between(PAGE, BEGIN, END, _HEAD + rows)
