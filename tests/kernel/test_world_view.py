"""What a sprite is told of itself by the kernel's files is its own: memory, processors, load, uptime, while it runs and
after its size has changed; and containers in it may still have a /proc and /sys of their own."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import internet as nets
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

RESERVED_MIB = 96  # of init and agent; and a sixteenth is for what sessions have said


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    body = {"name": "seen", "config": {"ram_mb": 512, "cpus": 1}}
    answer = httpx.post(f"{pilotd.url}/v1/sprites", json=body, headers=_headers(pilotd), timeout=120)
    assert answer.status_code == 201, answer.text
    with pilotd.client() as client:
        yield client.sprite("seen")


def _headers(pilotd: Pilotd) -> dict[str, str]:
    return {"Authorization": f"Bearer {pilotd.token()}"}


def _resize(pilotd: Pilotd, **config: int) -> None:
    answer = httpx.put(f"{pilotd.url}/v1/sprites/seen", json={"config": config}, headers=_headers(pilotd), timeout=120)
    assert answer.status_code == 200, answer.text


def _says(sprite: Any, script: str) -> str:
    done = sprite.run("sh", "-c", script, capture_output=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.decode())


def _held_mib(ram_mb: int) -> int:
    return ram_mb - RESERVED_MIB - ram_mb // 16


def _free_mib(sprite: Any) -> tuple[int, int]:
    """Total and used."""
    total, used = _says(sprite, "free -m | grep Mem:").split()[1:3]
    return int(total), int(used)


def _shared_mib(sprite: Any) -> int:
    return int(_says(sprite, "grep Shmem: /proc/meminfo").split()[1]) >> 10


def test_memory_is_its_own_and_a_new_size_shows_at_once(pilotd: Pilotd, sprite: Any) -> None:
    _resize(pilotd, ram_mb=512, cpus=1)
    total, used = _free_mib(sprite)
    assert total == _held_mib(512)
    assert used < 200, "not the host's"
    _says(sprite, "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null")
    nets.wait_until(lambda: 100 <= _shared_mib(sprite) < 130, "it is counted, which the kernel does now and then", 60)
    _says(sprite, "rm /dev/shm/x")
    open_before = "exec 3</proc/meminfo; head -1 <&3"
    assert _says(sprite, open_before).split()[1] == str(_held_mib(512) << 10)
    _resize(pilotd, ram_mb=640, cpus=1)
    assert _free_mib(sprite)[0] == _held_mib(640)
    assert _says(sprite, "cat /.sprite/policy/resources.json") == '{"memory":{"limit_mb":640}}\n'


def _processors(sprite: Any) -> set[str]:
    """How many there are, by each who is asked."""
    return set(
        _says(
            sprite,
            "nproc; nproc --all; getconf _NPROCESSORS_ONLN; grep -c ^processor /proc/cpuinfo;"
            "grep -c '^cpu[0-9]' /proc/stat; python3 -c 'import os; print(os.cpu_count())'",
        ).split()
    )


def test_processors_are_its_own_and_a_new_size_shows_at_once(pilotd: Pilotd, sprite: Any) -> None:
    here = len(os.sched_getaffinity(0))
    if here < 2:
        pytest.skip("a host with one processor")
    _resize(pilotd, ram_mb=512, cpus=1)
    assert _processors(sprite) == {"1"}
    allowed = (
        "grep Cpus_allowed_list /proc/self/status; printf 'Cpus_allowed_list:\\t'; cat /sys/devices/system/cpu/online"
    )
    assert len(set(_says(sprite, allowed).splitlines())) == 1, "which they are, too"
    # Of what was there before, and of a cgroup that somebody inside has made.
    group = "/sys/fs/cgroup/cpuset/inner"
    _says(sprite, f"if [ -d /sys/fs/cgroup/cpuset ]; then sudo mkdir {group}; fi")
    _says(sprite, "sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/pid")
    _resize(pilotd, ram_mb=512, cpus=2)
    assert _processors(sprite) == {"2"}
    before = "taskset -p $(cat /tmp/pid) | grep -o '[^ ]*$'"
    assert _says(sprite, before) == "3\n" or here > 2
    _resize(pilotd, ram_mb=512, cpus=1)
    assert _processors(sprite) == {"1"}
    assert _says(sprite, before) in ("1\n", "2\n") or here > 2
    _says(sprite, f"kill $(cat /tmp/pid); [ ! -d {group} ] || sudo rmdir {group}")


def test_it_has_begun_when_it_began(sprite: Any) -> None:
    host_s = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    told = _says(
        sprite, "cut -d' ' -f1 /proc/uptime; python3 -c 'import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))'"
    )
    for text in told.split():
        assert 0 <= float(text) < min(600, host_s)
    booted = int(_says(sprite, "grep btime /proc/stat").split()[1])
    now, up = map(float, _says(sprite, "date +%s; cut -d' ' -f1 /proc/uptime").split())
    assert abs(now - up - booted) <= 3, "and says so everywhere; each of the three is in whole seconds somewhere"
    assert _says(sprite, "ps -o lstart= -p 1").strip()


def test_load_and_time_are_of_its_own_doing(sprite: Any) -> None:
    first = _says(sprite, "head -1 /proc/stat").split()
    _says(sprite, "python3 -c 'import time\nwhile time.process_time() < 2: pass'")
    after = _says(sprite, "head -1 /proc/stat; cat /proc/loadavg").split()
    used = int(after[1]) + int(after[3]) - int(first[1]) - int(first[3])
    assert used >= 150, "hundredths of a second of a processor, as user and as system"
    assert 0 < float(after[11]) <= 2.5, after


def test_containers_in_it_may_have_a_proc_and_sys_of_their_own(sprite: Any) -> None:
    assert _says(sprite, "unshare -Urmpf --mount-proc ps -e -o comm=").split() == ["ps"]
    assert (
        _says(sprite, "unshare -Urmpfn --mount-proc sh -c 'mount -t sysfs s /sys && ls -d /sys/class'")
        == "/sys/class\n"
    )
    covered = "grep -c MemTotal /proc/meminfo; unshare -Urmpf --mount-proc grep -c MemTotal /proc/meminfo"
    assert _says(sprite, covered).split() == ["1", "1"]


def test_it_is_shown_by_the_next_agent_too(pilotd: Pilotd, sprite: Any) -> None:
    _resize(pilotd, ram_mb=512, cpus=1)
    # Readers all the while: what the agent that is killed had taken is answered by the next one.
    readers = (
        "for i in 1 2 3 4; do (n=0; while [ ! -e /tmp/enough ] && [ $n -lt 20000 ]; do n=$((n+1));"
        " read -r line </proc/meminfo || echo failed >>/tmp/failed; done) & done; wait; touch /tmp/done"
    )
    _says(sprite, f"rm -f /tmp/enough /tmp/failed /tmp/done; ({readers}) >/dev/null 2>&1 &")
    for pid in _agents():
        os.kill(pid, 9)
    assert _free_mib(sprite)[0] == _held_mib(512)
    _says(sprite, "touch /tmp/enough; n=0; while [ ! -e /tmp/done ] && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done")
    assert _says(sprite, "ls /tmp/done; cat /tmp/failed 2>/dev/null || true") == "/tmp/done\n"


def _agents() -> list[int]:
    """Those of the machines of this test's pid namespace."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:3] == [b"/usr/bin/python3", b"-ISE", b"/usr/lib/pilot"]:
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    assert found
    return found


def test_what_it_has_used_is_told_by_day_after_another_pilotd_too(pilotd: Pilotd, sprite: Any) -> None:
    _says(sprite, "python3 -c 'import time\nwhile time.process_time() < 1: pass'")
    pilotd.stop()
    pilotd.start()
    for place in ("/v1/sprites/seen/usage/days", "/v1/usage/days"):
        days = httpx.get(pilotd.url + place, headers=_headers(pilotd), timeout=60).json()["days"]
        assert sum(day["awake_s"] for day in days) > 1
        assert sum(day["cpu_s"] for day in days) > 1
        assert max(day["disk_bytes"] for day in days) > 1 << 20


def test_who_reads_all_the_time_sleeps_too(pilotd: Pilotd, sprite: Any) -> None:
    """A reader whose answer does not come cannot be frozen: so the agent still answers while the world is stopped."""
    _says(
        sprite,
        "printf '#!/bin/sh\\nwhile :; do cat /proc/meminfo /proc/stat; done\\n' >/tmp/reader; chmod +x /tmp/reader",
    )
    _says(sprite, "for i in 1 2 3; do /tmp/reader >/dev/null 2>&1 & done")
    for _ in range(20):
        answer = httpx.post(f"{pilotd.url}/v1/sprites/seen/sleep", headers=_headers(pilotd), timeout=120)
        assert (answer.status_code, answer.json().get("status")) == (200, "warm"), answer.text
        assert _says(sprite, "pgrep -cx reader") == "3\n"
    _says(sprite, "pkill -x reader")
