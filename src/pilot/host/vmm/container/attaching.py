"""A disk that is attached while its machine starts: neither needs the other until both are there.

with begun(disk, …) as mount:      release, attach  ─┐ in a thread
    start the machine                                │
    pass mount() to its agent           waits  ◄─────┘
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterator

from .. import Disk


@contextlib.contextmanager
def begun(disk: Disk, uid_base: int, uid_count: int) -> Iterator[Callable[[], int]]:
    """Begin at once. What is yielded waits for the descriptor, which then is the caller's.

    Waits for the end of it, whatever happens in the block: volumed is to be asked in order. A failure that nobody has
    asked for is told by the next attempt, which has it, too.
    """
    with concurrent.futures.ThreadPoolExecutor(1, "attach") as pool:
        attached = pool.submit(disk.mount, uid_base, uid_count)
        taken = False

        def take() -> int:
            nonlocal taken
            mount_fd = attached.result()
            taken = True
            return mount_fd

        try:
            yield take
        finally:
            if not taken and attached.exception() is None:
                os.close(attached.result())
