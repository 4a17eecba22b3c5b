"""Tests in lanes: each is run once, a lane that fails or dies fails the run, and who must be alone is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

_REPOSITORY = Path(__file__).parents[2]
_START = "import pathlib, sys; from tests.support import lanes; sys.exit(lanes.run(int(sys.argv[1]), sys.argv[2:], ()))"
_NOTES = """
import os, pathlib, time, pytest
def note(what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(what + "\\n")
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    directory = tmp_path / "suite"
    directory.mkdir()
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = alone\naddopts = -p no:cacheprovider\n")
    return directory


def _run(suite: Path, count: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _START, str(count), "-c", str(suite / "pytest.ini"), "--rootdir", str(suite)]
    return _done([*command, str(suite)], suite)


def _done(command: Sequence[str], suite: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment, "NOTES": str(suite / "notes")}
    return subprocess.run(
        command, cwd=_REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _notes(suite: Path) -> list[str]:
    return (suite / "notes").read_text().split()


def test_each_test_is_run_by_one_lane(suite: Path) -> None:
    """Directories come and go between the files of a lane."""
    for number in range(6):
        (suite / f"{number // 2}").mkdir(exist_ok=True)
        (suite / f"{number // 2}" / f"test_{number}.py").write_text(
            f"{_NOTES}\ndef test_a():\n    note('{number}a')\ndef test_b():\n    note('{number}b')\n"
        )
    done = _run(suite, 3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(_notes(suite)) == [f"{number}{one}" for number in range(6) for one in "ab"]
    assert {line[:3] for line in done.stdout.splitlines()} == {"1| ", "2| ", "3| "}


def test_what_ends_with_a_directory_ends_before_another_of_ours(suite: Path) -> None:
    """The file between the two of ours, in the same directory as the first, is another lane's."""
    for name in ("0/test_a", "0/test_b", "1/test_c"):
        (suite / name).parent.mkdir(exist_ok=True)
        (suite / f"{name}.py").write_text(f"{_NOTES}\ndef test_it():\n    note('{name[-1]}')\n")
    claims = suite / "claims"
    claims.mkdir()
    (claims / quote(str(suite / "0" / "test_b.py"), safe="")).touch()
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.lane", "-c", str(suite / "pytest.ini"), str(suite)]
    done = _done(command, suite, PILOT_LANES=str(suite), PILOT_LANE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _notes(suite) == ["a", "c"]


def test_a_test_that_fails_fails_the_run(suite: Path) -> None:
    (suite / "test_a.py").write_text("def test_a():\n    assert not 'here'\n")
    (suite / "test_b.py").write_text("def test_b():\n    pass\n")
    done = _run(suite)
    assert done.returncode == 1
    assert "lanes: failed: " in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("lanes: failed by itself too: ")
    assert "assert not 'here'" in done.stdout.splitlines()[-1]


_UNSTEADY = f"""{_NOTES}
@pytest.mark.parametrize("number", range({{}}))
def test_it(number):
    note(f"a{{{{number}}}}")
    assert pathlib.Path(os.environ["NOTES"]).read_text().split().count(f"a{{{{number}}}}") > 1
"""


def test_what_fails_beside_others_and_passes_by_itself_is_told(suite: Path) -> None:
    """And nothing else is run again."""
    (suite / "test_a.py").write_text(_UNSTEADY.format(2))
    (suite / "test_b.py").write_text(f"{_NOTES}\ndef test_b():\n    note('b')\n")
    done = _run(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.split("::")[1] for line in done.stdout.splitlines() if "lanes: unsteady: " in line} == {
        "test_it[0]: passed by itself", "test_it[1]: passed by itself"
    }  # fmt: skip
    assert sorted(_notes(suite)) == ["a0", "a0", "a1", "a1", "b"]


def test_many_that_fail_are_no_matter_of_chance(suite: Path) -> None:
    (suite / "test_a.py").write_text(_UNSTEADY.format(6))
    done = _run(suite)
    assert done.returncode == 1
    assert done.stdout.rstrip().splitlines()[-1] == "lanes: 6 failed"
    assert len(_notes(suite)) == 6


def test_an_unexpected_skip_fails_the_run_whatever_else(suite: Path) -> None:
    """The need is one that no machine has."""
    (suite / "conftest.py").write_text(
        "from tests.support import probes\n"
        "def pytest_collection_modifyitems():\n    probes.unexpected['wings'] = 'none'\n"
    )
    (suite / "test_a.py").write_text("def test_a():\n    pass\n")
    done = _run(suite)
    assert done.returncode == 1
    assert "lanes: lane 1: unexpected skip: wings" in done.stdout


def test_a_lane_that_dies_fails_the_run(suite: Path) -> None:
    (suite / "test_a.py").write_text("import os\ndef test_a():\n    os._exit(0)\n")
    (suite / "test_b.py").write_text("def test_b():\n    pass\n")
    done = _run(suite)
    assert done.returncode == 1
    assert "did not come to its end" in done.stdout


def test_nothing_runs_beside_a_test_that_must_be_alone(suite: Path) -> None:
    """Others come and go all the time; while it runs none of them does."""
    for number in range(4):
        (suite / f"test_{number}.py").write_text(
            f"{_NOTES}\n@pytest.mark.parametrize('_', range(40))\n"
            f"def test_it(_):\n    note('in')\n    time.sleep(0.002)\n    note('out')\n"
        )
    (suite / "test_alone.py").write_text(
        f"{_NOTES}\n@pytest.mark.alone\n@pytest.mark.parametrize('_', range(10))\n"
        "def test_it(_):\n    note('begin')\n    time.sleep(0.05)\n    note('end')\n"
    )
    done = _run(suite, 3)
    assert done.returncode == 0, done.stdout + done.stderr
    running = 0
    notes = _notes(suite)
    assert notes.count("begin") == 10
    for before, note in zip(["", *notes], notes, strict=False):
        assert (note == "end") == (before == "begin")
        running += {"in": 1, "out": -1}.get(note, 0)
        assert note != "begin" or running == 0
