"""Lines of one machine: whole, on a full disk, and while they are written."""

from __future__ import annotations

import errno
import os
import pathlib
from unittest import mock

import msgspec
import pytest

from pilot.host.network import lines
from pilot.host.network.lines import Lines


class Line(msgspec.Struct):
    text: str


def test_what_a_full_disk_takes_half_of_is_not_there(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "m1.log")
    made, real = Lines(path), os.write
    made.add(Line("one"))
    taken = iter([4])  # bytes, and then none

    def half(fd: int, data: bytes) -> int:
        for count in taken:
            return real(fd, data[:count])
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch.object(os, "write", half), pytest.raises(OSError, match="No space"):
        made.add(Line("two"))
    made.add(Line("three"))
    made.close()
    assert lines.read(path) == [b'{"text":"one"}', b'{"text":"three"}']


def test_a_line_that_is_being_written_is_not_read_yet(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m1.log"
    path.write_bytes(b'{"text":"one"}\n{"te')
    assert lines.read(str(path)) == [b'{"text":"one"}']


def test_there_may_be_none(tmp_path: pathlib.Path) -> None:
    assert lines.read(str(tmp_path / "m1.log")) == []
