"""Logs of machines are cut when they are too long; writers go on, also those that do not append."""

from __future__ import annotations

import pathlib

import pytest

from pilot.host import log_files


@pytest.fixture
def console(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(log_files, "MAX_BYTES", 1000)
    monkeypatch.setattr(log_files, "KEPT_BYTES", 10)
    path = tmp_path / "machines" / "m1" / "console.log"
    path.parent.mkdir(parents=True)
    return path


def test_a_long_log_is_cut_and_its_writer_goes_on(tmp_path: pathlib.Path, console: pathlib.Path) -> None:
    with console.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000 + b"the end...")
        log_files.cut_all(str(tmp_path))
        assert console.read_bytes() == b""
        assert console.with_name("console.log.old").read_bytes() == b"the end..."
        writer.write(b"more")
        log_files.cut_all(str(tmp_path))
    assert console.read_bytes() == b"more"


def test_a_writer_that_does_not_append_leaves_a_hole_not_a_full_disk(
    tmp_path: pathlib.Path, console: pathlib.Path
) -> None:
    with console.open("wb", buffering=0) as writer:
        writer.write(b"x" * 5_000_000)
        log_files.cut_all(str(tmp_path))
        writer.write(b"y")
        assert console.stat().st_blocks * 512 <= 65536
        log_files.cut_all(str(tmp_path))
        assert console.stat().st_size == 0


def test_a_link_in_its_place_is_left_alone(tmp_path: pathlib.Path, console: pathlib.Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 2000)
    console.symlink_to(other)
    log_files.cut_all(str(tmp_path))
    assert other.stat().st_size == 2000
