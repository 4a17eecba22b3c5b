"""Files of cgroup filesystems and /proc: one write is one command, and writing never makes a file."""

from __future__ import annotations

import errno
import os

# ENODEV: the directory behind an open file is gone. EOPNOTSUPP: not in this kind of cgroup, or switched off (PSI).
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP})


def read(path: str) -> str:
    """The whole file, without the last newline. OSError with the path."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n")


def read_or_none(path: str) -> str | None:
    """As `read`; None when there is no such file, or it has nothing to say here (EOPNOTSUPP)."""
    try:
        return read(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def write(path: str, value: str) -> None:
    """`value` in one write(2). OSError with the path; FileNotFoundError when the kernel has no such file."""
    file_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file_fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(file_fd)


def parse_table(text: str) -> dict[str, int]:
    """Lines of `name number`, as memory.stat has them; others are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
