"""How far a pull is: a bar for each blob on a terminal, nothing elsewhere.

    4f4fb700ef54  [██████████████          ]   31.4 / 52.3 MiB

What is written down for others is the command's output, never this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from ..image.oci.documents import Descriptor

_WIDTH = 24
_PAUSE_S = 0.1


class Bars:
    """A `store.Watch`. One blob is fetched at a time: its line is drawn anew, and left when it is whole."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._is_wanted = out.isatty()
        self._clock = clock
        self._drawn_s = float("-inf")
        self._ended: set[str] = set()

    def __call__(self, blob: Descriptor, count: int) -> None:
        is_whole = count >= blob.size
        if not self._is_wanted or blob.digest in self._ended or not (is_whole or self._is_due()):
            return
        self._out.write(f"\r\x1b[K{line(blob, count)}" + ("\n" if is_whole else ""))
        self._out.flush()
        if is_whole:
            self._ended.add(blob.digest)

    def _is_due(self) -> bool:
        now_s = self._clock()
        if now_s - self._drawn_s < _PAUSE_S:
            return False
        self._drawn_s = now_s
        return True


def line(blob: Descriptor, count: int) -> str:
    """One bar."""
    full = _WIDTH if not blob.size else _WIDTH * min(count, blob.size) // blob.size
    name = blob.digest.partition(":")[2][:12]
    return f"{name}  [{'█' * full}{' ' * (_WIDTH - full)}]  {_mib(count)} / {_mib(blob.size)} MiB"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):6.1f}"
