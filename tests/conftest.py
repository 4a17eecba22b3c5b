"""Skips what the machine cannot do, by trying it; an unexpected skip fails the run."""

from __future__ import annotations

import os

import pytest

from tests.support import probes

_unexpected: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    listed = os.environ.get("PILOT_EXPECTED_SKIPS")
    expected = None if listed is None else set(listed.split())
    for item in items:
        for mark in item.iter_markers("requires"):
            for need in mark.args:
                reason = probes.missing(need)
                if reason is None:
                    continue
                item.add_marker(pytest.mark.skip(reason=f"requires {need}: {reason}"))
                if expected is not None and need not in expected:
                    _unexpected[need] = reason


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for need, reason in sorted(_unexpected.items()):
        terminalreporter.write_line(f"unexpected skip: {need}: {reason} (not in PILOT_EXPECTED_SKIPS)", red=True)
