"""Statistics from files, for files that this machine's kernel does not write: a directory is as good as a cgroup."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pilot.kernel import cgroup_stats
from pilot.kernel.cgroup_stats import BlkioEntry, Hugetlb, MemoryEntry, Pressure, Psi, Throttling


def _directory(path: Path, **files: str) -> str:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text + "\n")
    return str(path)


def test_v2(tmp_path: Path) -> None:
    directory = _directory(
        tmp_path,
        cpu__stat="usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 3\nnr_throttled 2\nthrottled_usec 7",
        cpu__pressure="some avg10=1.50 avg60=0.20 avg300=0.00 total=12345",
        memory__current="4096",
        memory__max="8192",
        memory__peak="5000",
        memory__stat="anon 1\nfile 2",
        memory__events="low 0\nmax 4\noom_kill 1",
        memory__swap__current="10",
        memory__swap__max="max",
        pids__current="3",
        pids__max="max",
        io__stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16",
        cpuset__cpus="",
        cpuset__cpus__effective="0-2,5",
        hugetlb__2MB__current="2097152",
        hugetlb__2MB__events="max 6",
        hugetlb__2MB__rsvd__current="0",
    )
    stats = cgroup_stats.read_stats({"": directory})
    assert (stats.cpu.usage.total, stats.cpu.usage.user, stats.cpu.usage.kernel) == (30_000, 10_000, 20_000)
    assert stats.cpu.throttling == Throttling(3, 2, 7000)
    assert stats.cpu.psi == Psi(Pressure(1.5, 0.2, 0.0, 12345), None)
    assert stats.memory.psi is msgspec.UNSET
    assert stats.memory.usage == MemoryEntry(8192, 4096, 5000, 4)
    assert stats.memory.swap == MemoryEntry((1 << 64) - 1, 4106)
    assert (stats.memory.cache, stats.memory.raw) == (2, {"anon": 1, "file": 2})
    assert (stats.pids.current, stats.pids.limit) == (3, 0)
    assert stats.cpuset.cpus == [0, 1, 2, 5]
    assert stats.hugetlb == {"2MB": Hugetlb(2097152, 0, 6)}
    assert [(e.op, e.value) for e in stats.blkio.io_service_bytes_recursive] == [
        ("Read", 1),
        ("Write", 2),
        ("Discard", 5),
    ]
    assert stats.blkio.io_serviced_recursive[0] == BlkioEntry(8, 0, "Read", 3)


def test_v1(tmp_path: Path) -> None:
    cpu = _directory(tmp_path / "cpu", cpu__stat="nr_periods 1\nnr_throttled 2\nthrottled_time 3")
    accounting = _directory(
        tmp_path / "cpuacct",
        cpuacct__usage="100",
        cpuacct__usage_percpu="60 40",
        cpuacct__usage_all="cpu user system\n0 50 10\n1 30 10",
        cpuacct__stat="user 2\nsystem 1",
    )
    blkio = _directory(
        tmp_path / "blkio",
        blkio__throttle__io_serviced_recursive="8:0 Read 7\n8:0 Total 7\nTotal 7",
        blkio__bfq__io_service_bytes_recursive="8:0 Write 9\nTotal 9",
        blkio__throttle__io_service_bytes_recursive="8:0 Write 1\nTotal 1",
    )
    huge = _directory(tmp_path / "hugetlb", hugetlb__1GB__usage_in_bytes="0", hugetlb__1GB__failcnt="2")
    stats = cgroup_stats.read_stats({"cpu": cpu, "cpuacct": accounting, "blkio": blkio, "hugetlb": huge})
    usage = stats.cpu.usage
    assert (usage.total, usage.percpu, usage.percpu_user, usage.percpu_kernel) == (100, [60, 40], [50, 30], [10, 10])
    assert (usage.user, usage.kernel) == (20_000_000, 10_000_000)
    assert stats.cpu.throttling == Throttling(1, 2, 3)
    assert [(e.op, e.value) for e in stats.blkio.io_serviced_recursive] == [("Read", 7), ("Total", 7)]
    assert stats.blkio.io_service_bytes_recursive == [BlkioEntry(8, 0, "Write", 9)]
    assert stats.hugetlb == {"1GB": Hugetlb(0, 0, 2)}


def test_the_names_that_readers_know(tmp_path: Path) -> None:
    psi = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    files = {"io__stat": "8:0 rbytes=1", "cpu__stat": "nr_throttled 2", "memory__pressure": psi}
    directory = _directory(tmp_path, **files)
    document = msgspec.json.decode(msgspec.json.encode(cgroup_stats.read_stats({"": directory})))
    assert document["blkio"]["ioServiceBytesRecursive"] == [{"major": 8, "op": "Read", "value": 1}]
    assert document["cpu"]["throttling"] == {"throttledPeriods": 2}
    assert set(document["memory"]) == {"cache", "usage", "swap", "kernel", "kernelTCP", "raw", "psi"}
    assert document["memory"]["psi"]["full"] is None


@pytest.mark.parametrize(("text", "expected"), [("", []), ("3", [3]), ("0-1,4,6-7", [0, 1, 4, 6, 7])])
def test_ranges(text: str, expected: list[int]) -> None:
    assert cgroup_stats.parse_ranges(text) == expected
