"""Which of a caller's descriptors a container's user may own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot.runtime import descriptors


@pytest.mark.parametrize(
    ("name", "flags", "may_be_given"),
    [
        ("file", os.O_RDONLY, False),
        ("file", os.O_WRONLY, True),
        ("file", os.O_RDWR, True),
        (".", os.O_RDONLY, False),
        ("fifo", os.O_RDWR, True),
        ("/dev/null", os.O_RDWR, False),
    ],
)
def test_what_is_read_alone_stays_its_owners(tmp_path: Path, name: str, flags: int, may_be_given: bool) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    fd = os.open(tmp_path / name, flags | os.O_CLOEXEC)
    try:
        assert descriptors._may_be_given(fd) is may_be_given
    finally:
        os.close(fd)
