"""A machine with a running world for each test that asks for one."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from tests.support.fake_machine import FakeMachine


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[FakeMachine]:
    made = FakeMachine(str(tmp_path / "run"))
    made.run_world()
    yield made
    made.close()
