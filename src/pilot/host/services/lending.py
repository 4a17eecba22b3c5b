"""Files that answers are read from: without a name, on the host's disk, and counted until the last of them is read.

A client reads as slowly as it likes, so not the making of such a file is what is bounded, but its life: so many at
once, so many of one organisation, and all of them together no more than a share of the room that the disk would have
without them. Who makes one is promised its bytes first; what it did not need is given back when it is written, the
rest when the file is closed, or nobody has it any more.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable

from ...wire import faults

AT_ONCE = 32
OF_ONE = 8
ANY = 1 << 62
# Of the disk's room, for all of them; and of what is left of that, for one of which nobody knows how large it will be.
_SHARE = 3 / 4


@dataclasses.dataclass
class _Loan:
    who: str
    bytes: int
    is_written: bool = False


class Lent(io.FileIO):
    """To be written up to `most_bytes`, then read once, by whoever closes it."""

    def __init__(self, fd: int, most_bytes: int, settle: Callable[[int], None], give_back: Callable[[], None]) -> None:
        super().__init__(fd, "r+b")
        self.most_bytes = most_bytes
        self._settle = settle
        self._give_back: Callable[[], None] | None = give_back

    def written(self) -> int:
        """All of it is: its length; it is read from the beginning."""
        size_bytes = os.fstat(self.fileno()).st_size
        self._settle(size_bytes)
        self.seek(0)
        return size_bytes

    def close(self) -> None:
        super().close()
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class Lending:
    """`directory`: where they are; None: the system's own. Safe to use from any thread."""

    def __init__(self, directory: str | None, keep_free_bytes: int) -> None:
        self._directory = directory
        self._keep_free_bytes = keep_free_bytes
        self._lock = threading.Lock()
        self._loans: dict[int, _Loan] = {}
        self._numbers = itertools.count()
        # By finalizers, too, which run in whatever thread, also in one that has the lock.
        self._returned: deque[int] = deque()

    def file(self, who: str, what: str, most_bytes: int = ANY, least_bytes: int = 1) -> Lent:
        """For an organisation. `what`: for the error, `Exhausted`."""
        with tempfile.TemporaryFile(dir=self._directory, buffering=0) as made:
            found = os.fstatvfs(made.fileno())
            free_bytes = found.f_bavail * found.f_frsize
            number, promised = self._promise(who, what, (least_bytes, most_bytes), free_bytes)
            try:
                return Lent(
                    os.dup(made.fileno()),
                    promised,
                    lambda size_bytes: self._settle(number, size_bytes),
                    lambda: self._returned.append(number),
                )
            except OSError:
                self._returned.append(number)
                raise

    def _promise(self, who: str, what: str, wanted: tuple[int, int], free_bytes: int) -> tuple[int, int]:
        hint = "try again in a while"
        with self._lock:
            while self._returned:
                del self._loans[self._returned.popleft()]
            loans = self._loans.values()
            if len(loans) >= AT_ONCE or sum(each.who == who for each in loans) >= OF_ONE:
                raise faults.Exhausted(f"{what}: as many answers are being read as may be", hint=hint)
            written = sum(each.bytes for each in loans if each.is_written)
            room = max(free_bytes + written - self._keep_free_bytes, 0)
            left = int(room * _SHARE) - sum(each.bytes for each in loans)
            least_bytes, most_bytes = wanted
            if least_bytes > left:
                raise faults.Exhausted(f"{what}: no room on the host's disk beside answers being read", hint=hint)
            number, promised = next(self._numbers), min(most_bytes, max(least_bytes, int(left * _SHARE)))
            self._loans[number] = _Loan(who, promised)
            return number, promised

    def _settle(self, number: int, size_bytes: int) -> None:
        with self._lock:
            loan = self._loans[number]
            loan.bytes, loan.is_written = size_bytes, True
