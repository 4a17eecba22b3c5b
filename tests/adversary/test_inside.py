"""Nothing of the host, of the machine or of a neighbour is reached from a sprite, by its root or its user."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import httpx
import pytest
from _pytest.mark.structures import ParameterSet

from tests.adversary import inside, rows

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

_PROGRAM = "/tmp/inside.py"
_ISOLATION = os.environ.get("PILOT_ADVERSARY_ISOLATION", "container")


@pytest.fixture(scope="module")
def said(mallory: Any, http: httpx.Client) -> dict[str, dict[str, str]]:
    """As whom → probe → what gave way. All run in one go; the last ones take things away from the sprite itself."""
    source = pathlib.Path(inside.__file__).read_bytes()
    assert http.put(f"/v1/sprites/mallory/fs/write?path={_PROGRAM}", content=source).status_code == 200
    answers = {}
    for person, command in (("sprite", ["python3", _PROGRAM]), ("root", ["sudo", "python3", _PROGRAM])):
        done = mallory.run(*command, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        answers[person] = {line["name"]: line["broken"] for line in lines}
    return answers


def _cases() -> list[ParameterSet]:
    both = [(name, person) for name in inside.PROBES for person in ("root", "sprite")]
    return [
        pytest.param(name, person, marks=_not_held(name, person))
        for name, person in both
        if person == "root" or name not in inside.ROOT_ONLY
    ]


def _not_held(name: str, person: str) -> list[pytest.MarkDecorator]:
    """Root of a world in a virtual machine is uid 0 of that machine's own kernel (docs/reference/isolation.md)."""
    if _ISOLATION == "vm" and person == "root" and "v" not in rows.ROWS[name].where.split():
        return [pytest.mark.xfail(strict=True, reason="not held in a virtual machine")]
    return []


@pytest.mark.parametrize(("probe", "person"), _cases())
def test_refused(said: dict[str, dict[str, str]], probe: str, person: str) -> None:
    assert said[person][probe] == ""


def test_every_probe_has_a_row() -> None:
    assert set(inside.PROBES) <= set(rows.ROWS)
