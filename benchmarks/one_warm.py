"""A process with nothing but the runtime library in it: ten containers, then its peak memory in KiB (VmHWM).

python one_warm.py ROOT BUNDLE
"""

from __future__ import annotations

import sys

from pilot.runtime import Runtime


def main(root: str, bundle: str) -> int:
    runtime = Runtime(root)
    for _ in range(10):
        created = runtime.create("bench-memory", bundle)
        created.container.start()
        runtime.wait(created.process, 60)
        created.process.close()
        created.container.delete()
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
