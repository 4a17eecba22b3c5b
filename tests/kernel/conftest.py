"""What most tests of the runtime begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import bundles, front
from tests.support.pilotd import Pilotd

from pilot.runtime import Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime; whatever the test left is removed."""
    made = Runtime(str(tmp_path / "root"))
    yield made
    for container in made.list():
        container.delete(force=True)


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    """As most files want it; one that wants another says so itself."""
    with Pilotd(tmp_path_factory.mktemp("pilotd") / "state").running() as daemon:
        yield daemon


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with a busybox rootfs."""
    return bundles.make_bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def planner_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a planner of this build listens."""
    directory = tmp_path_factory.mktemp("planner")
    with front.planner(directory, front.PILOT, "planner") as process:
        front.require_built(front.digest_of(process))
        yield str(directory / "socket")


@pytest.fixture(params=["cold", "planner"])
def by_front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs twice: each `front.PILOT` is the Python command line, then asks a planner."""
    how: str = request.param
    monkeypatch.setenv("PILOT_PLANNER", request.getfixturevalue("planner_socket") if how == "planner" else "")
    return how
