"""examples/walk.py, as `make demo` shows it, in machines of the kind that is asked for."""

from __future__ import annotations

import re

import pytest
from examples import walk
from tests.support import pilotd
from tests.support.isolation import ISOLATION

pytestmark = [
    pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "outside"),
    pytest.mark.timeout(900),
]


def test_the_way_is_walked(capsys: pytest.CaptureFixture[str]) -> None:
    """What was damaged is restored; a fork and its origin write on apart."""
    with pilotd.serving(isolation=ISOLATION) as daemon:
        walk.walk(daemon.url, daemon.token())
    steps = re.split(r"^ *\d+ ms   ", capsys.readouterr().out, flags=re.MULTILINE)
    titled = (step.partition("\n") for step in steps)
    said = {title: [line.strip() for line in lines.splitlines()] for title, _, lines in titled}
    assert said["walker$ cat keep; ls / | wc -l"][0] == "precious"
    assert said["child$ echo written in the child >> keep; cat keep"] == ["precious", "written in the child"]
    assert said["walker$ echo written in the parent >> keep; cat keep"] == ["precious", "written in the parent"]
    assert said["child$ cat keep"] == ["precious", "written in the child"]
