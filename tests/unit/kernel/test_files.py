"""A file is replaced as a whole or not at all, and a lock goes with its holder."""

from __future__ import annotations

import os
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
