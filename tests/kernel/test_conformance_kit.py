"""Real machines against `pilot conformance`: the agent under init with the real runtime."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest
from tests.kernel import test_agent
from tests.support import underinit

from pilot.conformance import main

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return underinit.build_init_or_skip("static", tmp_path_factory.mktemp("init"))


@pytest.fixture
def machine(tmp_path: pathlib.Path, init: pathlib.Path) -> Iterator[test_agent.Machine]:
    made = test_agent.Machine(tmp_path, init)
    yield made
    made.stop()
    print((tmp_path / "log").read_text())


def _unmet(document: str) -> list[tuple[str, str, str]]:
    rows = json.loads(document)["results"]
    return [(row["operation"], row["promise"], row["why"]) for row in rows if row["outcome"] == "unmet"]


def test_a_bare_machine_keeps_what_needs_no_world(
    machine: test_agent.Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    status = main.main(["--dial", machine.dial_path, "--json", "--timeout", "60"])
    out = capfd.readouterr().out
    assert (_unmet(out), status) == ([], 0)
