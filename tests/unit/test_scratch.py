"""What a passed test leaves is removed, and nothing that is mounted there with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pilot.kernel import mounts
from tests.support import scratch

_REPOSITORY = Path(__file__).parents[2]


def test_a_tree_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to("/")
    scratch.remove(tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.requires("root", "private")
def test_what_is_mounted_there_is_not_touched(tmp_path: Path) -> None:
    kept, place = tmp_path / "kept", tmp_path / "a b"
    kept.mkdir()
    (kept / "file").touch()
    place.mkdir()
    mounts.bind(str(kept), str(place))
    scratch.remove(place)
    assert (kept / "file").exists()
    mounts.umount(str(place))
    scratch.remove(place)
    assert not place.exists()


def test_only_what_a_failed_test_left_is_there_afterwards(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.parametrize('good', [True, False])\n"
        "def test_it(tmp_path, good):\n    (tmp_path / 'file').touch()\n    assert good\n"
    )
    made = tmp_path / "made"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", str(_REPOSITORY / "pyproject.toml"), "-p", "tests.conftest",
         "--basetemp", str(made), str(tmp_path / "test_it.py")],
        cwd=_REPOSITORY, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert [path.relative_to(made).as_posix() for path in made.rglob("file")] == ["test_it_False_0/file"]
