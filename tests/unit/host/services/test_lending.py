"""Files that answers are read from are counted until they are closed, and their room is promised once."""

from __future__ import annotations

import gc
import os
import pathlib
from collections.abc import Callable

import pytest

from pilot import errors
from pilot.host.api import streams
from pilot.host.services import lending
from pilot.host.services.lending import Lending
from pilot.wire import faults

KEEP_FREE = 1 << 20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what the disk has free beyond what is to be left; what is written does not count in itself."""

    def free(size_bytes: int) -> None:
        found = os.statvfs_result((4096, 1, 0, 0, size_bytes + KEEP_FREE, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "fstatvfs", lambda _: found)

    free(1 << 40)
    return free


@pytest.fixture
def lent(tmp_path: pathlib.Path, disk: Callable[[int], None]) -> Lending:
    return Lending(str(tmp_path), KEEP_FREE)


def test_of_one_organisation_no_more_than_so_many_and_others_have_theirs(lent: Lending) -> None:
    files = [lent.file("a", "read", 1) for _ in range(lending.OF_ONE)]
    with pytest.raises(faults.Exhausted):
        lent.file("a", "read", 1)
    lent.file("b", "read", 1).close()
    files[0].written()
    with pytest.raises(faults.Exhausted, match="as many answers"):
        lent.file("a", "read", 1)
    files[0].close()
    files[0].close()
    lent.file("a", "read", 1).close()
    for file in files:
        file.close()


def test_what_is_promised_to_one_is_not_promised_again(lent: Lending, disk: Callable[[int], None]) -> None:
    disk(1600)
    first = lent.file("a", "ship")
    assert first.most_bytes == 900, "three quarters of 1200, which are three quarters of the disk's room"
    second = lent.file("b", "ship")
    assert first.most_bytes + second.most_bytes <= 1200
    with pytest.raises(faults.Exhausted, match="no room"):
        lent.file("c", "read", 100, 100)
    first.write(b"x" * 600)
    assert first.written() == 600
    disk(1000)
    third = lent.file("c", "read", 100, 100)
    assert first.read() == b"x" * 600
    first.close()
    disk(1600)
    second.close()
    fourth = lent.file("c", "read", 800, 800)
    assert fourth.most_bytes == 800
    for file in (third, fourth):
        file.close()


def _drop(lent: Lending) -> None:
    lent.file("a", "read", 1)
    gc.collect()


def test_nobody_has_it_any_more(lent: Lending) -> None:
    for _ in range(lending.OF_ONE + 1):
        with pytest.warns(ResourceWarning):
            _drop(lent)


def test_who_reads_too_slowly_is_left() -> None:
    now_s = 0.0
    deadline = streams.Deadline(64 << 20, lambda: now_s)
    now_s = streams.ANSWER_S + 64
    deadline.check()
    now_s += 1
    with pytest.raises(errors.HostError):
        deadline.check()
