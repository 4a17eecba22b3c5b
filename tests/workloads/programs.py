"""fio, stress-ng and dbench on the volume, each told to look at what it reads; AssertionError with what they said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.workloads.bed import Bed

DBENCH_LOAD = "/usr/share/dbench/client.txt"
# Of the class: what is about filesystems of the kernel's own, or mounts, and not about ours.
_NOT_OURS = "binderfs,bind-mount,procfs"
_FIO = {
    "buffered": ("--ioengine=psync", "--bs=4k", "--fsync=16"),
    "direct": ("--ioengine=libaio", "--iodepth=16", "--direct=1", "--bs=4k"),
    "large": ("--ioengine=libaio", "--iodepth=4", "--direct=1", "--bs=256k"),
    "mapped": ("--ioengine=mmap", "--bs=4k", "--fsync=64"),
}
_FIO_BYTES = "48m"


def run(*command: str, timeout_s: float) -> str:
    """What it said; an error status is a find."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout_s,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout[-3000:]}"
    return done.stdout


def fio(bed: Bed, seconds: int) -> str:
    """Random writes with checksums, read again at once under kills, and once more after detach and attach."""
    with bed.mounted() as place, bed.kills():
        _fio(place, "--do_verify=1", "--verify_backlog=512", f"--loops={max(1, seconds // 15)}", seconds=seconds)
        _fio(place, "--do_verify=0", "--loops=1", "--end_fsync=1", seconds=seconds)
    bed.check()
    with bed.mounted() as place:
        _fio(place, "--verify_only=1", "--loops=1", seconds=seconds)
    return f"{len(_FIO)} jobs of {_FIO_BYTES}, crc32c of every block"


def _fio(place: Path, *options: str, seconds: int) -> None:
    common = ["fio", f"--directory={place}", f"--size={_FIO_BYTES}", "--rw=randwrite", "--verify=crc32c",
              "--verify_fatal=1", "--verify_state_save=0", "--randrepeat=1", *options]  # fmt: skip
    jobs = [word for name, own in _FIO.items() for word in (f"--name={name}", *own)]
    run(*common, *jobs, timeout_s=seconds * 20 + 600)


def stress_ng(bed: Bed, seconds: int) -> str:
    """Each stressor of the class filesystem, one after the other, verifying."""
    each = max(1, seconds // 30)
    with bed.mounted() as place, bed.kills():
        said = run(
            "stress-ng", "--class", "filesystem", "--exclude", _NOT_OURS, "--sequential", "2", "--timeout", f"{each}s",
            "--verify", "--temp-path", str(place), timeout_s=seconds * 20 + 600,
        )  # fmt: skip
    bed.check()
    assert "successful run completed" in said, said[-3000:]
    hogs = re.search(r"dispatching hogs: (.*)", said)
    assert hogs is not None, said[-3000:]
    return f"{hogs[1].count(',') + 1} stressors, two of each, {each} s; {said.count('skipping stress test')} skipped"


def dbench(bed: Bed, seconds: int) -> str:
    """A file server's day, by four clients that sync."""
    with bed.mounted() as place, bed.kills():
        said = run(
            "dbench", "-c", DBENCH_LOAD, "-D", str(place), "-t", str(seconds), "--sync-dir", "4",
            timeout_s=seconds * 5 + 300,
        )  # fmt: skip
    bed.check()
    found = re.search(r"Throughput ([\d.]+) MB/sec", said)
    assert found is not None, said[-3000:]
    return f"4 clients, {found[1]} MB/s"
