"""Skips what the machine cannot do, by trying it; an unexpected skip fails the run. What a passed test leaves is
removed."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support import probes, scratch

_failed = pytest.StashKey[bool]()


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
                    probes.unexpected[need] = reason


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_failed] = report.failed or item.stash.get(_failed, False)
    return report


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """pytest's, which goes when the test has passed; that of one that failed is left to be looked at."""
    yield tmp_path
    if not request.node.stash.get(_failed, False):
        scratch.remove(tmp_path)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)  # of one that xdist has started
    if output is not None:
        output["unexpected"] = probes.unexpected
    elif probes.unexpected:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Workers:
    """Where xdist has others run the tests, what they have found counts."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        output: dict[str, dict[str, str]] = getattr(node, "workeroutput", {})  # without one that died: a failure itself
        probes.unexpected.update(output.get("unexpected", {}))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Workers(), "workers")
    if config.pluginmanager.hasplugin("hypothesispytest"):
        _leave_time_to_properties()


def _leave_time_to_properties() -> None:
    """An example may take as long as a busy machine needs for it; Hypothesis would give it a fifth of a second."""
    import hypothesis  # not every place that runs tests has it

    profile = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.register_profile(profile, parent=hypothesis.settings.default, deadline=None)
    hypothesis.settings.load_profile(profile)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for need, reason in sorted(probes.unexpected.items()):
        terminalreporter.write_line(f"unexpected skip: {need}: {reason} (not in PILOT_EXPECTED_SKIPS)", red=True)
