"""pytest's part of a lane (`lanes`): which files are ours, and whose turn it is.

<directory>/claims/<file>   made by the lane that runs the tests of this file
<directory>/turn            locked shared by each test, alone by one that is marked `alone`
<directory>/next            locked while somebody waits for `turn`, so that who wants it alone gets it
                            (both by lockf: a child that a test has forked, and that lives on, holds no lock)
<directory>/lane-<number>   what was collected, what was done and what failed, at the end
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import lanes, probes

_directory = Path(os.environ[lanes.DIRECTORY])
_only = frozenset(json.loads(os.environ.get(lanes.ONLY) or "[]"))
_done: list[str] = []
_failed: dict[str, str] = {}


@functools.cache
def _is_ours(path: Path) -> bool:
    try:
        os.close(os.open(_directory / "claims" / quote(str(path), safe=""), os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    fd = os.open(_directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.lockf(fd, how)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _turn(how: int) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        with _locked("next", fcntl.LOCK_EX):
            held.enter_context(_locked("turn", how))
        yield


def _ours(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """One file is asked for ahead: what ends with a file (its fixtures) ends before the next one of ours."""
    return (item for item in items if _is_ours(item.path))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _only:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in _only])
        items[:] = [item for item in items if item.nodeid in _only]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """pytest's own, over what is ours."""
    if session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own says what is wrong
    ours = _ours(session.items)
    item = next(ours, None)
    while item is not None:
        following = next(ours, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        for why, kind in ((session.shouldfail, session.Failed), (session.shouldstop, session.Interrupted)):
            if why:
                raise kind(str(why))
        item = following
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the time that a test may take
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with _turn(fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH):
        result = yield
    _done.append(item.nodeid)
    return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.setdefault(report.nodeid, f"{report.when}: {_reason(report)}")


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(report.longrepr) if crash is None else f"{crash.path}:{crash.lineno}: {crash.message}"
    return " ".join(said.split())[:300]


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = lanes.Told([item.nodeid for item in session.items], _done, _failed, sorted(probes.unexpected))
    (_directory / f"lane-{os.environ[lanes.NUMBER]}").write_text(json.dumps(dataclasses.asdict(told)))
