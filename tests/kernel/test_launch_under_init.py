"""The launcher with init's records: processes are children of init, and their status comes from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.support import underinit

pytestmark = pytest.mark.requires("root", "private")


def test_programs_launched_by_an_agent(tmp_path: Path) -> None:
    init = underinit.build_init_or_skip("static", tmp_path)
    command = (sys.executable, "-m", "tests.support.launchagent", str(tmp_path / "result"))
    with underinit.UnderInit(init, tmp_path, command=command) as under:
        assert under.wait() == 0
    assert json.loads((tmp_path / "result").read_text()) == {
        "exit": [3, None, []],
        "signal": [None, 9, []],
        "second stage": [4, None, [1]],
        "refused": "cd /not/there: no such file or directory",
        "left": [],
    }
