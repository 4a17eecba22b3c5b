"""A thousand containers in a row, then eight at a time, by one process: nothing may be left of them.

    python -m benchmarks.soak [COUNT]        (`make soak`; exit status 1 and the list when something is left)

Looked at before and after: mounts, cgroup directories, our own descriptors, children and threads, the files of the
state directory, and the message queues and shared memory of the kernel.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from pilot.kernel import hierarchies
from pilot.runtime import Runtime

from . import bundles, harness
from .harness import Table

_STATE = Path("/run/pilot-soak")
_AT_ONCE = 8
_COUNT = 1000


def run(count: int = _COUNT) -> Table:
    """The counts of what is there, before and after; RuntimeError names what is left."""
    directory = Path(tempfile.mkdtemp(prefix="pilot-soak-"))
    directory.chmod(0o711)
    try:
        bundle = str(bundles.make_bundle(directory / "bundle", "true", seccomp=True))
        runtime = Runtime(str(_STATE))
        _one(runtime, bundle, "warm-up")  # what is made once: libseccomp, its cache, the root
        before = look()
        for number in range(count):
            _one(runtime, bundle, f"soak-{number}")
        _at_once(runtime, bundle, count)
        after = look()
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(_STATE, ignore_errors=True)
    left = describe_difference(before, after)
    if left:
        raise RuntimeError("left behind: " + "; ".join(left))
    samples = {when: [{key: float(len(names)) for key, names in found.items()}] for when, found in
               (("before", before), ("after", after))}  # fmt: skip
    title = f"{count} containers in a row, then {count} more {_AT_ONCE} at a time: what is there"
    return harness.make_table(title, samples, [], "mounts")


def _at_once(runtime: Runtime, bundle: str, count: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [pool.submit(_one, runtime, bundle, f"soak-{number}") for number in range(count)]
        for job in jobs:
            job.result()


def _one(runtime: Runtime, bundle: str, id: str) -> None:
    created = runtime.create(id, bundle)
    created.container.start()
    status = runtime.wait(created.process, 60)
    created.process.close()
    created.container.delete()
    if status.code != 0:
        raise RuntimeError(f"{id} ended with {status}")


def look() -> Mapping[str, frozenset[str]]:
    """Everything that a container could leave behind, by kind."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = frozenset(file.read().splitlines())
    return {
        "mounts": mounts,
        "cgroups": frozenset(_cgroups()),
        "descriptors": frozenset(_descriptors()),
        "children": frozenset(_children()),
        "threads": frozenset(thread.name for thread in threading.enumerate()),
        "files": frozenset(str(path) for path in _STATE.rglob("*")),
    }


def _cgroups() -> list[str]:
    own = hierarchies.probe_hierarchies().paths("", relative=True)
    return [directory for path in set(own.values()) for directory, _, _ in os.walk(path)]


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # the one that the listing itself was read by
    return found


def _children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


def describe_difference(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> list[str]:
    """What is there now and was not, one text per kind."""
    new = {kind: sorted(after[kind] - before[kind]) for kind in after}
    return [f"{len(names)} {kind}, such as {names[0]}" for kind, names in new.items() if names]


def main() -> int:
    load = os.getloadavg()
    try:
        table = run(int(sys.argv[1]) if len(sys.argv) > 1 else _COUNT)
    except RuntimeError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print(f"{table.title}: nothing is left ({harness.write_result('soak', [table], load)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
