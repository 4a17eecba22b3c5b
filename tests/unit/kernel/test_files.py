"""A file is replaced as a whole or not at all, and a lock goes with its holder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pilot import errors
from pilot.kernel import files


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "state"
    files.replace(str(path), b"old", durable=durable)
    files.replace(str(path), b"new" * 100_000, mode=0o640, durable=durable)
    assert path.read_bytes() == b"new" * 100_000
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["state"]


def test_what_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:1])
        raise OSError(28, "full")

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(OSError, match="full"):
        files.replace(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_a_lock_is_one_holder_s_until_it_dies(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = f"from pilot.kernel import files; files.lock({path!r}, 'taken'); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(errors.StateError, match="taken by another"):
            files.lock(path, "taken by another", timeout_s=0.05)
        holder.kill()
    os.close(files.lock(path, "taken by another"))


def _break_off(place: str) -> None:
    with files.whole(place) as out:
        out.write(b"half")
        raise ZeroDivisionError


def test_an_output_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    for before in (None, b"old"):
        place = tmp_path / f"place-{before!r}"
        if before is not None:
            place.write_bytes(before)
        with pytest.raises(ZeroDivisionError):
            _break_off(str(place))
        assert (place.read_bytes() if place.exists() else None) == before
        with files.whole(str(place), mode=0o600) as out:
            out.write(b"new")
            out.flush()
            assert (place.read_bytes() if place.exists() else None) == before
        assert place.read_bytes() == b"new"
        assert place.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2


def test_an_output_is_for_nobody_for_whom_it_was_not_before(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for before, wanted, after in ((0o600, 0o666, 0o600), (0o644, 0o600, 0o600), (0o400, 0o666, 0o400)):
        place.touch()
        place.chmod(before)
        with files.whole(str(place), mode=wanted) as out:
            out.write(b"new")
        assert stat.S_IMODE(place.stat().st_mode) == after
        place.unlink()


def test_an_output_leaves_what_is_no_file_as_it_is(tmp_path: Path) -> None:
    """A link leads on, a pipe and a device are written to, a directory is refused."""
    (tmp_path / "link").symlink_to("far/target")
    (tmp_path / "far").mkdir()
    with files.whole(str(tmp_path / "link")) as out:
        out.write(b"through a link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far/target").read_bytes() == b"through a link"
    reading, writing = os.pipe()
    with files.whole(f"/proc/self/fd/{writing}") as out:
        out.write(b"through a pipe")
    assert os.read(reading, 100) == b"through a pipe"
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="No space left"), files.whole("/dev/full") as out:
        out.write(b"x" * 100_000)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    with pytest.raises(IsADirectoryError), files.whole(str(tmp_path / "far")):
        raise AssertionError("a directory was opened")
