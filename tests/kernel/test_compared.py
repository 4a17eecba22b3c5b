"""The cases of `tests.support.compare` under pilot beside runc or crun, observation by observation.

One test stands for all cases of a file: what differs is told by its name, and meant differences are in a table of their
own. Cases that take long are of `make compare` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.compare import judge, life
from tests.support.compare.case import Case
from tests.support.compare.cases import MODULES

pytestmark = [pytest.mark.requires("root", "private", "busybox", "runc", "crun"), pytest.mark.slow]


@pytest.fixture(scope="module")
def holder_pid() -> Iterator[int]:
    with life.holder() as pid:
        yield pid


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_same(
    module: ModuleType, holder_pid: int, planner_socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOT_PLANNER", planner_socket)
    differ = []
    for case in module.CASES:
        if case.slow:
            continue
        runtimes = [runtime for runtime in life.RUNTIMES if runtime.name in {"pilot", case.like}]
        differ += _differences(case, runtimes, tmp_path, holder_pid)
    assert not differ, "\n".join(differ)


def _differences(case: Case, runtimes: Sequence[life.Runtime], directory: Path, holder_pid: int) -> list[str]:
    """Those that are there twice: a process that is just becoming another is seen as either, of any runtime."""
    found: list[str] = []
    for _ in range(2):
        seen = life.observe_all(case, runtimes, directory, holder_pid)
        found = judge.differences(case, seen["pilot"], seen[case.like])
        if not found:
            break
    return found
