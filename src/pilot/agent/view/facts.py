"""What there is to be shown, as values."""

from __future__ import annotations

import msgspec


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the world, by what its cgroup counts."""

    limit: int
    used: int
    file: int = 0
    shmem: int = 0
    anon: int = 0
    mapped: int = 0
    active_anon: int = 0
    inactive_anon: int = 0
    active_file: int = 0
    inactive_file: int = 0
    unevictable: int = 0
    dirty: int = 0
    writeback: int = 0
    slab_reclaimable: int = 0
    slab_unreclaimable: int = 0
    kernel_stack: int = 0
    page_tables: int = 0


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """Which processors it may use, and what it has used since it began."""

    numbers: tuple[int, ...]
    user_s: float
    system_s: float
    up_s: float

    @property
    def used_s(self) -> float:
        return self.user_s + self.system_s


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Of the world that runs, now. `now_s` is Unix time; `memory` is None where nothing limits it."""

    memory: Memory | None
    processor: Processor
    processes: int
    now_s: float
