"""One pilotd with an attacker and a victim for all of the suite; and its report."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.adversary import rows
from tests.support.pilotd import Pilotd

ISOLATION = os.environ.get("PILOT_ADVERSARY_ISOLATION", "container")
ALL = bool(os.environ.get("PILOT_ADVERSARY"))
_REPORT = os.environ.get("PILOT_ADVERSARY_REPORT")
# What takes long, or floods: only in `make adversary`.
collect_ignore = [] if ALL else ["test_neighbours.py", "test_floods.py", "test_short_of_memory.py"]

_seen = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_seen] = {}


@pytest.fixture(scope="package")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("adversary") / "state", isolation=ISOLATION).running() as daemon:
        yield daemon


@pytest.fixture(scope="package")
def client(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as made:
        yield made


@pytest.fixture(scope="package")
def http(pilotd: Pilotd) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=pilotd.url, headers=headers, timeout=120) as made:
        yield made


@pytest.fixture(scope="package")
def mallory(client: Any) -> Any:
    """The sprite that attacks."""
    return client.create_sprite("mallory")


@pytest.fixture(scope="package")
def alice(client: Any) -> Any:
    """Her neighbour."""
    return client.create_sprite("alice")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is of the other isolation alone is not tried; probes have a rule of their own (`test_inside`)."""
    row = rows.ROWS.get(_row_of(item))
    is_probe = _row_of(item) != item.name.partition("[")[0].removeprefix("test_")
    if row is not None and not is_probe and ISOLATION[0] not in row.where.split():
        pytest.skip("of the other isolation")


def _row_of(item: pytest.Item) -> str:
    """The name of its row, if it has one."""
    callspec = getattr(item, "callspec", None)
    name = item.name.partition("[")[0].removeprefix("test_")
    return str(callspec.params.get("probe", name)) if callspec is not None else name


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    name = _row_of(item)
    if report.when == "call" and name in rows.ROWS:
        before = item.config.stash[_seen].get(name, "held")
        item.config.stash[_seen][name] = before if report.passed else "**not held**"


def pytest_sessionfinish(session: pytest.Session) -> None:
    seen = session.config.stash[_seen]
    if _REPORT and seen:
        rows.write(pathlib.Path(_REPORT), rows.table(seen, ISOLATION), ISOLATION)
