"""What may leave the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot.image import cli, prune


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    names = [
        "guest-1",
        "guest-1.erofs",
        "guest-2",
        "guest-2.erofs",
        "guest-3",
        "base-1",
        "base-2",
        "world-minimal-1.tar",
        "debian-standard-1",
        "debian-standard-2",
        "programs-1",
        "programs-2",
        "other",
    ]
    for age, name in enumerate(names):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    return tmp_path


def test_the_newest_of_each_kind_stays(cache: Path) -> None:
    assert {os.path.basename(path) for path in prune.unused(str(cache), [])} == {
        "guest-1",
        "guest-2",
        "guest-1.erofs",
        "base-1",
        "debian-standard-1",
        "programs-1",
    }


def test_what_a_machine_stands_on_stays(cache: Path) -> None:
    mountinfo = "36 35 98:0 /var/cache/pilot/guest-1 / ro,noatime - ext4 /dev/root rw"
    assert "guest-1" not in {os.path.basename(path) for path in prune.unused(str(cache), ["", mountinfo])}


def test_the_command_removes_and_says_what(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--cache-dir", str(cache), "prune"]) == 0
    assert f"{cache}/base-1\n" in capsys.readouterr().out
    assert not (cache / "base-1").exists()
    assert cli.main(["--cache-dir", str(cache), "list"]) == 0
    left = ("base-2", "guest-3", "guest-2.erofs", "world-minimal-1.tar", "debian-standard-2", "programs-2")
    assert capsys.readouterr().out.splitlines() == [f"{cache}/{name}" for name in left]


def test_an_unknown_artefact_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["build", "nonsense"])
    assert "no such artefact: nonsense" in capsys.readouterr().err
