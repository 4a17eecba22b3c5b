"""The kernel's text and the world's facts → what the world is shown. Pure.

Of what only the kernel knows as a whole (interrupts, forks) the world is told nothing rather than its neighbours'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .facts import Memory, Processor

_TICKS = 100  # USER_HZ, in which the kernel speaks to programs
# Lines of /proc/meminfo that tell nobody's memory: how large pages are, what addresses there are; and swap, which is
# shared.
_AS_THEY_ARE = re.compile(r"(Vmalloc(Total|Chunk)|Huge\w*|DirectMap\w*|Swap(Total|Free))$")
_PROCESSOR = re.compile(r"^processor\s*:\s*(\d+)\s*$", re.MULTILINE)


def meminfo(kernel: str, memory: Memory | None) -> str:
    """/proc/meminfo: the kernel's lines in its order."""
    if memory is None:
        return kernel
    kib = {name: max(0, size) >> 10 for name, size in _rows(memory).items()}
    return "".join(_meminfo_line(line, kib) for line in kernel.splitlines())


def _meminfo_line(line: str, kib: dict[str, int]) -> str:
    name, _, rest = line.partition(":")
    if _AS_THEY_ARE.match(name):
        return f"{line}\n"
    unit = " kB" if rest.endswith("kB") else ""
    return f"{name + ':':<16}{kib.get(name, 0):>8}{unit}\n"


def _rows(memory: Memory) -> dict[str, int]:
    free = max(0, memory.limit - memory.used)
    given_back = memory.active_file + memory.inactive_file + memory.slab_reclaimable
    return {
        "MemTotal": memory.limit,
        "MemFree": free,
        "MemAvailable": min(memory.limit, free + given_back),
        "Cached": memory.file,
        "Active": memory.active_anon + memory.active_file,
        "Inactive": memory.inactive_anon + memory.inactive_file,
        "Active(anon)": memory.active_anon,
        "Inactive(anon)": memory.inactive_anon,
        "Active(file)": memory.active_file,
        "Inactive(file)": memory.inactive_file,
        "Unevictable": memory.unevictable,
        "Dirty": memory.dirty,
        "Writeback": memory.writeback,
        "AnonPages": memory.anon,
        "Mapped": memory.mapped,
        "Shmem": memory.shmem,
        "KReclaimable": memory.slab_reclaimable,
        "Slab": memory.slab_reclaimable + memory.slab_unreclaimable,
        "SReclaimable": memory.slab_reclaimable,
        "SUnreclaim": memory.slab_unreclaimable,
        "KernelStack": memory.kernel_stack,
        "PageTables": memory.page_tables,
        "CommitLimit": memory.limit,
        "Committed_AS": memory.anon + memory.shmem,
    }


def cpuinfo(kernel: str, numbers: Sequence[int]) -> str:
    """/proc/cpuinfo: the paragraphs of these processors, and those that are of none (arm has one at the end)."""
    kept = []
    for paragraph in filter(str.strip, kernel.split("\n\n")):
        found = _PROCESSOR.search(paragraph)
        if found is None or int(found[1]) in numbers:
            kept.append(paragraph.strip("\n") + "\n\n")
    return "".join(kept)


def stat(kernel: str, processor: Processor, processes: int, now_s: float) -> str:
    """/proc/stat: what the world has used, evenly on its processors, whose each has been idle else."""
    count = len(processor.numbers)
    user, system = (round(used_s * _TICKS / count) for used_s in (processor.user_s, processor.system_s))
    idle = max(0, round(processor.up_s * _TICKS) - user - system)
    lines = [f"cpu  {_times(user * count, system * count, idle * count)}"]
    lines += [f"cpu{number} {_times(user, system, idle)}" for number in processor.numbers]
    lines += ["intr 0", "ctxt 0", f"btime {round(now_s - processor.up_s)}", f"processes {processes}"]
    lines += ["procs_running 1", "procs_blocked 0", "softirq 0" + " 0" * _softirqs(kernel)]
    return "".join(f"{line}\n" for line in lines)


def _times(user: int, system: int, idle: int) -> str:
    return f"{user} 0 {system} {idle} 0 0 0 0 0 0"


def _softirqs(kernel: str) -> int:
    """How many kinds of them this kernel has."""
    line = next((line for line in kernel.splitlines() if line.startswith("softirq ")), "softirq 0")
    return len(line.split()) - 2


def loadavg(kernel: str, averages: Sequence[float], processes: int) -> str:
    """/proc/loadavg; whoever reads it runs, which is all that is known of who does."""
    last = kernel.split()[-1]
    return " ".join(f"{average:.2f}" for average in averages) + f" 1/{processes} {last}\n"


def ranges(numbers: Sequence[int]) -> str:
    """{0,1,2,5} → "0-2,5", as /sys/devices/system/cpu/online has them."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][-1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs) + "\n"
