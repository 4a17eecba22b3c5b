"""Who reads a slab: nobody finds it changing, and nobody waits for a dead one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pilot import errors
from pilot.volume.disk import sharing


def test_one_is_alone_only_without_others(tmp_path: Path) -> None:
    with contextlib.closing(sharing.Readers(str(tmp_path))) as one:
        with one.alone() as is_alone:
            assert is_alone
        with contextlib.closing(sharing.Readers(str(tmp_path))) as two:
            for reader in (one, two):
                with reader.alone() as is_alone:
                    assert not is_alone
        with one.alone() as is_alone:
            assert is_alone


def test_a_failed_try_keeps_the_share(tmp_path: Path) -> None:
    """With flock it would be lost, and the other one alone."""
    one, two, three = (sharing.Readers(str(tmp_path)) for _ in range(3))
    with one.alone() as is_alone:
        assert not is_alone
    three.close()
    with two.alone() as is_alone:
        assert not is_alone
    one.close()
    with two.alone() as is_alone:
        assert is_alone
    two.close()


def test_who_comes_waits_until_it_is_done(tmp_path: Path) -> None:
    came = threading.Event()

    def come() -> None:
        sharing.Readers(str(tmp_path)).close()
        came.set()

    with contextlib.closing(sharing.Readers(str(tmp_path))) as one:
        with one.alone() as is_alone:
            assert is_alone
            visitor = threading.Thread(target=come)
            visitor.start()
            assert not came.is_set()
        visitor.join(30)
        assert came.is_set()


def test_one_that_never_lets_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_TIMEOUT_S", 0.05)
    with contextlib.closing(sharing.Readers(str(tmp_path))) as one, one.alone():
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(errors.HostError, match="does not let go"):
            sharing.Readers(str(tmp_path))
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_dead_process_reads_nothing(tmp_path: Path) -> None:
    program = (
        f"import os; from pilot.volume.disk import sharing; r = sharing.Readers({str(tmp_path)!r}); print(); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    with contextlib.closing(sharing.Readers(str(tmp_path))) as one:
        with one.alone() as is_alone:
            assert not is_alone
        other.kill()
        other.communicate(timeout=30)
        with one.alone() as is_alone:
            assert is_alone
