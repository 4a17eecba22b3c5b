"""A skip that nobody has announced fails the run, whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]
_TEST = 'import pytest\n\n@pytest.mark.requires("vm-tests")\ndef test_it(): ...\n'


def _run(directory: Path, expected: str, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(_TEST)
    environment = {**os.environ, "PILOT_EXPECTED_SKIPS": expected}
    environment.pop("PILOT_VM_TESTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(_REPOSITORY / "pyproject.toml"), "-p", "tests.conftest"]
    return subprocess.run(
        [*command, *options, str(directory)], cwd=_REPOSITORY, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_a_skip_that_is_not_expected_fails_the_run(tmp_path: Path, options: Sequence[str]) -> None:
    done = _run(tmp_path, "root", options)
    assert done.returncode == 1, done.stdout
    assert "unexpected skip: vm-tests: " in done.stdout
    assert _run(tmp_path, "root vm-tests", options).returncode == 0
