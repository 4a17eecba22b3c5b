"""What a world is shown for the kernel's texts, of facts that are given."""

from __future__ import annotations

import pytest

from pilot.agent.view import load, texts
from pilot.agent.view.facts import Memory, Processor

MIB = 1 << 20
MEMINFO = """\
MemTotal:       16374000 kB
MemFree:         9000000 kB
MemAvailable:   12000000 kB
Buffers:          100000 kB
Cached:          2000000 kB
SwapTotal:         51200 kB
Committed_AS:    7000000 kB
VmallocTotal:   34359738367 kB
HugePages_Total:       4
Hugepagesize:       2048 kB
NewOfNextKernel:   77777 kB
"""


def _memory(**counted: int) -> Memory:
    return Memory(**({"limit": 512 * MIB, "used": 200 * MIB} | counted))


def _table(text: str) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()}


def test_memory_is_the_worlds_in_the_kernels_order() -> None:
    shown = texts.meminfo(MEMINFO, _memory(file=90 * MIB, inactive_file=50 * MIB, active_file=30 * MIB, anon=20 * MIB))
    assert list(_table(shown)) == list(_table(MEMINFO))
    table = _table(shown)
    assert (table["MemTotal"], table["MemFree"]) == (512 << 10, 312 << 10)
    assert table["MemAvailable"] == (312 + 80) << 10
    assert (table["Cached"], table["Buffers"], table["Committed_AS"]) == (90 << 10, 0, 20 << 10)


def test_of_memory_nothing_is_told_that_is_others() -> None:
    table = _table(texts.meminfo(MEMINFO, _memory()))
    assert table["NewOfNextKernel"] == 0
    assert (table["Hugepagesize"], table["HugePages_Total"], table["VmallocTotal"]) == (2048, 4, 34359738367)
    assert table["SwapTotal"] == 51200


def test_lines_are_as_wide_as_the_kernels() -> None:
    for ours, theirs in zip(texts.meminfo(MEMINFO, _memory()).splitlines(), MEMINFO.splitlines(), strict=True):
        if "Vmalloc" not in theirs:
            assert len(ours) == len(theirs), ours


@pytest.mark.parametrize("used", [512 * MIB, 600 * MIB])
def test_memory_is_never_less_than_none(used: int) -> None:
    table = _table(texts.meminfo(MEMINFO, _memory(used=used)))
    assert (table["MemFree"], table["MemAvailable"]) == (0, 0)


def test_without_a_limit_the_kernels_text_stays() -> None:
    assert texts.meminfo(MEMINFO, None) == MEMINFO


def test_processors_are_those_it_may_use() -> None:
    kernel = "".join(f"processor\t: {number}\nmodel name\t: A 9000\n\n" for number in range(12)) + "Hardware\t: board\n"
    shown = texts.cpuinfo(kernel, (1, 11))
    assert [line for line in shown.splitlines() if line.startswith("processor")] == [
        "processor\t: 1",
        "processor\t: 11",
    ]
    assert shown.endswith("\n\nHardware\t: board\n\n")


def test_time_is_shared_out_evenly() -> None:
    processor = Processor(numbers=(0, 3), user_s=4.0, system_s=2.0, up_s=10.0)
    lines = texts.stat("softirq 99 1 2 3\n", processor, 7, 1010.0).splitlines()
    assert lines[:3] == [
        "cpu  400 0 200 1400 0 0 0 0 0 0",
        "cpu0 200 0 100 700 0 0 0 0 0 0",
        "cpu3 200 0 100 700 0 0 0 0 0 0",
    ]
    assert {"btime 1000", "processes 7", "softirq 0 0 0 0"} <= set(lines)


def test_loadavg_is_one_line() -> None:
    assert texts.loadavg("5.10 4.00 3.00 9/999 4711\n", (0.5, 0.25, 0.125), 12) == "0.50 0.25 0.12 1/12 4711\n"


@pytest.mark.parametrize(("numbers", "text"), [((0,), "0"), ((0, 1, 2, 5), "0-2,5"), ((3, 1), "1,3"), ((), "")])
def test_ranges(numbers: tuple[int, ...], text: str) -> None:
    assert texts.ranges(numbers) == f"{text}\n"


def test_load_follows_what_was_done() -> None:
    asked = load.Load()
    assert asked.look(1e6, 2e6) == pytest.approx((2, 2, 2)), "for ever two processors"
    one, five, fifteen = asked.look(1e6 + 60, 2e6)
    assert one == pytest.approx(2 / 2.718281828, rel=1e-6)
    assert one < five < fifteen < 2
    assert asked.look(1e6 + 60, 2e6) == (one, five, fifteen), "at the same time the same"


def test_load_of_another_world_begins_anew() -> None:
    asked = load.Load()
    asked.look(1000.0, 4000.0)
    assert max(asked.look(1.0, 0.0)) == 0
