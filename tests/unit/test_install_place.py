"""Where `make install` and `make uninstall` may be told to work."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def _make(*words: str) -> subprocess.CompletedProcess[str]:
    """What would be done: nothing is."""
    command = ("make", "-n", "-C", str(ROOT), *words)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("DESTDIR=/tmp/package", "DESTDIR is not supported"),
        ("PREFIX=/opt/my programs", "one path without blanks"),
        ("PREFIX=", "one path without blanks"),
        ("PREFIX=dist", "has to be absolute"),
    ],
)
def test_a_place_that_would_not_be_what_was_meant_is_refused(target: str, word: str, why: str) -> None:
    done = _make(target, word)
    assert done.returncode == 2
    assert why in done.stderr
    assert "rm -rf" not in done.stdout


def test_nothing_else_is_removed() -> None:
    done = _make("uninstall", "PREFIX=/opt/pilot")
    assert done.returncode == 0, done.stderr
    assert "rm -rf /opt/pilot/lib/pilot" in done.stdout.splitlines()
