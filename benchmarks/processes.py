"""Processes by their command lines, and what they cost; under tests.support.private all that is there is ours."""

from __future__ import annotations

import os
from collections.abc import Callable

AGENT = "/usr/bin/python3 -ISE /usr/lib/pilot"
INIT = f"/usr/lib/pilot/bin/pilot-init -- {AGENT}"
REAPER = "/.sprite/init --reaper"


def find(wanted: Callable[[str, str], bool]) -> list[int]:
    """Pids of processes of which `wanted(comm, command line)` holds."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            comm, words = _read(pid, "comm").strip(), _read(pid, "cmdline").replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since the listing
        if wanted(comm, words):
            found.append(int(pid))
    return found


def pss_mib(pid: int) -> float:
    """Its share of the memory that it uses: pages that n processes map count as 1/n."""
    rows = (line.split() for line in _read(str(pid), "smaps_rollup").splitlines())
    return next(int(row[1]) for row in rows if row[0] == "Pss:") / 1024


def cpu_ms(pid: int) -> float:
    """Processor time that it has used: exact, of the scheduler, where /proc/PID/stat has ticks."""
    return int(_read(str(pid), "schedstat").split()[0]) / 1e6


def _read(pid: str, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()
