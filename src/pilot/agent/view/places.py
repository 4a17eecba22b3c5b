"""Which text is bound where in the world, and where what it covers can still be seen.

The kernel gives a new user namespace a fresh /proc and /sys only where one is to be seen with nothing over it
(`mount_too_revealing`): containers in the world want that, so both are mounted elsewhere, too.
"""

from __future__ import annotations

import os

DIRECTORY = "view"
FILES = {
    "meminfo": ("/proc/meminfo",),
    "cpuinfo": ("/proc/cpuinfo",),
    "stat": ("/proc/stat",),
    "loadavg": ("/proc/loadavg",),
    "online": tuple(f"/sys/devices/system/cpu/{name}" for name in ("online", "present", "possible")),
}
# Filesystem → where it is as the kernel made it.
UNTOUCHED = {"proc": "/.sprite/kernel/proc", "sysfs": "/.sprite/kernel/sys"}


def binds(run: str) -> list[tuple[str, str]]:
    """From where in the machine, to where in the world; nothing where nothing is served."""
    directory = os.path.join(run, DIRECTORY)
    if not os.path.ismount(directory):
        return []
    pairs = [(os.path.join(directory, name), place) for name, places in FILES.items() for place in places]
    return [(source, place) for source, place in pairs if os.path.exists(place)]
