"""Keeps what machines and daemons write into their logs from filling the host's disk.

    <state-dir>/volumed.log, network/{resolver,connectors}.log,
    machines/<id>/*.log     appended to by processes that are not ours to trust
    *.log.old               the end of what was cut off

Their writers have the files open for appending and go on in the emptied file. A line that is written in the moment of
the cut may be lost; a machine that writes as fast as it can has the disk of a moment, never more.
"""

from __future__ import annotations

import glob
import logging
import os
from contextlib import AbstractContextManager

from . import periodic

log = logging.getLogger(__name__)

MAX_BYTES = 4 << 20
KEPT_BYTES = 256 << 10
PERIOD_S = 1.0
_PATTERNS = ("volumed.log", "network/resolver.log", "network/connectors.log", "machines/*/*.log")


def cut(path: str) -> bool:
    """Empty the log when it is too long, its end kept beside it; whether that was done."""
    file_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(file_fd).st_size
        if size <= MAX_BYTES:
            return False
        end = os.pread(file_fd, KEPT_BYTES, size - KEPT_BYTES)
        os.ftruncate(file_fd, 0)
    finally:
        os.close(file_fd)
    with open(path + ".old", "wb") as old:
        old.write(end)
    return True


def cut_all(state_dir: str) -> None:
    """Look at every log once."""
    for pattern in _PATTERNS:
        for path in glob.glob(os.path.join(glob.escape(state_dir), pattern)):
            try:
                if cut(path):
                    log.warning("log was too long, cut", extra={"path": path})
            except FileNotFoundError:
                continue  # its machine was destroyed in between
            except OSError as error:
                log.warning("log not cut", extra={"path": path, "error": str(error)})


def watching(state_dir: str) -> AbstractContextManager[None]:
    """Cut what is too long, for as long as the block lasts; what grew while no pilotd ran is cut first."""
    return periodic.every(PERIOD_S, "log-watch", lambda: cut_all(state_dir))
