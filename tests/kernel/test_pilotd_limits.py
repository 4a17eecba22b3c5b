"""What one sprite takes is taken from nobody else: machines have limits, and a world that reaches them stays usable."""

from __future__ import annotations

import asyncio
import glob
import pathlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.support.pilotd import Pilotd

from pilot.server import client as http
from pilot.server import stream
from pilot.server.call import WebSocket
from pilot.wire import dial as dialling
from pilot.wire import schema, websocket

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

MIB = 1 << 20


@pytest.fixture(scope="module")
def client(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        yield client


def _create(pilotd: Pilotd, client: Any, name: str, config: dict[str, int]) -> Any:
    import httpx

    body = {"name": name, "config": config}
    answer = httpx.post(
        f"{pilotd.url}/v1/sprites", json=body, headers={"Authorization": f"Bearer {pilotd.token()}"}, timeout=120
    )
    assert answer.status_code == 201, answer.text
    return client.sprite(name)


def _limits(kind: str, v1: str, v2: str) -> set[str]:
    found = glob.glob(f"/sys/fs/cgroup/{kind}/pilot-*/machines/*/{v1}")
    found += glob.glob(f"/sys/fs/cgroup/pilot-*/machines/*/{v2}")
    return {pathlib.Path(path).read_text().strip() for path in found}


def test_memory_is_limited_and_a_full_tmpfs_ends_nothing(pilotd: Pilotd, client: Any) -> None:
    small = _create(pilotd, client, "small", {"ram_mb": 192, "cpus": 1})
    assert str(192 * MIB) in _limits("memory", "memory.limit_in_bytes", "memory.max")
    agent = small.run("sh", "-c", "echo before > ~/before; sync", check=True)
    assert agent.returncode == 0
    # Memory that no process holds: ending processes would not give it back.
    filled = small.run("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=400", capture_output=True)
    assert (filled.returncode, b"No space left" in filled.stderr) == (1, True)
    assert small.run("sh", "-c", "rm -f /dev/shm/x; cat ~/before", capture_output=True).stdout == b"before\n"
    small.destroy()


def test_processes_are_limited(pilotd: Pilotd, client: Any) -> None:
    crowd, calm = _create(pilotd, client, "crowd", {"ram_mb": 256}), _create(pilotd, client, "calm", {})
    assert _limits("pids", "pids.max", "pids.max") == {"4096"}
    # Bounded by memory before it is by number; either way every process of it dies within the sprite.
    crowd.run("timeout", "-s", "KILL", "3", "sh", "-c", "b() { b | b & }; b; sleep 3", capture_output=True)
    assert calm.run("echo", "calm", capture_output=True).stdout == b"calm\n"
    crowd.destroy()
    calm.destroy()


_HERD = """
import os, signal
count = 0
try:
    while os.fork():
        count += 1
except BlockingIOError:
    print(count)
else:
    os.closerange(0, 3)
    signal.pause()
"""


def test_how_many_processes_changes_while_it_runs(pilotd: Pilotd, client: Any) -> None:
    sprite = _create(pilotd, client, "herd", {"ram_mb": 512, "pids": 400})
    assert "400" in _limits("pids", "pids.max", "pids.max")
    assert _held("pids", "pids.max", "pids.max") == {"300"}, "a quarter is init's and the agent's"
    count = int(sprite.run("python3", "-c", _HERD, capture_output=True).stdout)
    assert 200 < count < 300
    assert _resize(pilotd, "herd", {"pids": 128}) == 409, "they are there, and the agent would have no room"
    assert _held("pids", "pids.max", "pids.max") == {"300"}
    assert _resize(pilotd, "herd", {"pids": 800}) == 200
    assert _held("pids", "pids.max", "pids.max") == {"600"}
    own = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"
    assert sprite.run("sh", "-c", own, capture_output=True).stdout.split() == [b"600"]
    sprite.destroy()


def _resize(pilotd: Pilotd, name: str, config: dict[str, int]) -> int:
    import httpx

    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    answer = httpx.put(f"{pilotd.url}/v1/sprites/{name}", json={"config": config}, headers=headers, timeout=120)
    return answer.status_code


# Its root finds it wherever it mounts the hierarchy, where v1 has it; where v2 does, it is shown.
_OWN_LIMIT = (
    "mkdir -p /run/own; mount -t cgroup -o memory none /run/own 2>/dev/null;"
    " cat /run/own/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; umount /run/own"
)


def test_a_size_changes_while_it_runs_and_what_is_in_use_is_not_taken(pilotd: Pilotd, client: Any) -> None:
    sprite = _create(pilotd, client, "grows", {"ram_mb": 512, "cpus": 1})
    started = sprite.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!", capture_output=True).stdout.decode()
    assert _resize(pilotd, "grows", {"ram_mb": 640, "cpus": 2}) == 200
    assert str(640 * MIB) in _limits("memory", "memory.limit_in_bytes", "memory.max")
    held = (640 - 96 - 40) * MIB  # without the agent's reserve, and a sixteenth for what sessions have said
    assert _held("memory", "memory.limit_in_bytes", "memory.max") == {str(held)}
    assert sprite.run("sudo", "sh", "-c", _OWN_LIMIT, capture_output=True).stdout.split() == [str(held).encode()]
    assert {"200000", "200000 100000"} & _limits("cpu", "cpu.cfs_quota_us", "cpu.max")
    sprite.run("dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=150", check=True)
    if "SwapTotal:             0 kB" in pathlib.Path("/proc/meminfo").read_text():  # else there is room for it
        assert _resize(pilotd, "grows", {"ram_mb": 128}) == 409
        assert _held("memory", "memory.limit_in_bytes", "memory.max") == {str(held)}
    sprite.run("rm", "/dev/shm/x", check=True)
    assert _resize(pilotd, "grows", {"ram_mb": 384}) == 200
    assert str(384 * MIB) in _limits("memory", "memory.limit_in_bytes", "memory.max")
    assert sprite.run("kill", "-0", started.strip()).returncode == 0, "and it ran on"
    sprite.destroy()


def test_memory_that_runs_out_is_told(pilotd: Pilotd, client: Any) -> None:
    import httpx

    sprite = _create(pilotd, client, "hungry", {"ram_mb": 192})
    calm = sprite.run("sh", "-c", "kill -9 $$", capture_output=True)
    assert (calm.returncode, calm.stderr) == (137, b""), "killed by somebody else"
    done = sprite.run("python3", "-c", "b'x' * (1 << 30)", capture_output=True)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (
        137,
        [b"sprite: killed: out of memory (the sprite may use 144 MiB)"],
    )
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    used = httpx.get(f"{pilotd.url}/v1/sprites/hungry/usage", headers=headers, timeout=60).json()["machine"]
    assert 100 * MIB < used["memory_peak_bytes"] <= 192 * MIB
    assert used["cpu_s"] > 0.01
    why = httpx.get(f"{pilotd.url}/v1/sprites/hungry/why", headers=headers, timeout=60).json()
    assert why["out_of_memory"]["processes"] >= 1
    sprite.destroy()


# Of its own cgroup, as its root sees it, in v1 or v2; then processes and memory without end. What may be made says how
# many there were.
_UNBOUND = r"""
import glob, os, subprocess
os.makedirs("/run/own", exist_ok=True)
subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "none", "/run/own"], stderr=subprocess.DEVNULL)
for path in glob.glob("/run/own/memory.limit_in_bytes") + glob.glob("/sys/fs/cgroup/memory.max"):
    open(path, "w").write("-1" if "limit" in path else "max")
for path in ["/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"]:
    if os.path.exists(path):
        open(path, "w").write("max")
        print("raised", open(path).read().strip())
child = os.fork()
if child == 0:
    open("/proc/self/oom_score_adj", "w").write("1000")
    kept = [bytes(b"x") * (1 << 20) for _ in range(1 << 12)]
    os._exit(0)
print("memory", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_root_of_a_sprite_raises_limits_of_its_own_and_has_no_more_for_it(pilotd: Pilotd, client: Any) -> None:
    sprite = _create(pilotd, client, "unbound", {"ram_mb": 512})
    held = _held("memory", "memory.limit_in_bytes", "memory.max")
    done = sprite.run("sudo", "python3", "-c", _UNBOUND, capture_output=True)
    assert done.stdout.split() == [b"raised", b"max", b"memory", b"-9"], (done.stdout, done.stderr)
    # What it raised was below; what holds is above, and less than the machine has.
    assert _held("memory", "memory.limit_in_bytes", "memory.max") == held
    assert all(int(limit) <= 512 * MIB - 96 * MIB for limit in held)
    assert int(*_held("pids", "pids.max", "pids.max")) == 4096 - 512
    assert sprite.run("echo", "there", capture_output=True).stdout == b"there\n"
    sprite.destroy()


# As many cgroups of v2 as it can, below its own; what it was told at the end; and none is left.
_MANY_CGROUPS = r"""
import errno, os
root = next(path for path in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(path + "/cgroup.procs"))
made = 0
try:
    while made < 5000:
        os.mkdir(f"{root}/many{made}")
        made += 1
except OSError as error:
    print(errno.errorcode[error.errno], made)
for number in range(made):
    os.rmdir(f"{root}/many{number}")
"""


def test_cgroups_that_a_sprite_makes_are_bounded(client: Any, pilotd: Pilotd) -> None:
    """Each is the kernel's to look through; on a host without v2 nothing bounds them."""
    if not glob.glob("/sys/fs/cgroup/unified") and not glob.glob("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("no v2")
    sprite = _create(pilotd, client, "many", {})
    done = sprite.run("sudo", "python3", "-c", _MANY_CGROUPS, capture_output=True)
    told, made = done.stdout.split()
    assert (told, 512 < int(made) <= 1024) == (b"EAGAIN", True), (done.stdout, done.stderr)
    sprite.destroy()


def _held(kind: str, v1: str, v2: str) -> set[str]:
    """The limits of the cgroups above worlds."""
    found = glob.glob(f"/sys/fs/cgroup/{kind}/pilot-*/machines/*/world/{v1}")
    found += glob.glob(f"/sys/fs/cgroup/pilot-*/machines/*/world/{v2}")
    return {pathlib.Path(path).read_text().strip() for path in found}


_ENDLESS = "head -c 100000000 /dev/zero | tr '\\0' x"
_FILL = "dd if=/dev/zero of=/dev/shm/x bs=1M; mkdir -p ~/many; cd ~/many; for n in $(seq 2000); do : > $n; done; sync"


def test_everything_full_at_once_leaves_the_agent_its_reserve(pilotd: Pilotd, client: Any) -> None:
    """Output that nobody reads, a full tmpfs, listings, connections, watches and sessions, in a small machine."""
    full = _create(pilotd, client, "full", {"ram_mb": 256})
    assert full.run("true").returncode == 0
    paths = sorted((pilotd.state / "machines").glob("*/dial.sock"), key=lambda path: path.stat().st_mtime)
    machine = str(paths[-1])

    dialled: list[stream.SocketStream] = []

    async def dial() -> stream.SocketStream:
        dialled.append(await stream.dial_unix(machine, dialling.PORT_API, timeout_s=60))
        return dialled[-1]

    async def status() -> schema.Status:
        return await (await http.request(await dial(), "GET", "/v1/status", timeout_s=60)).json(schema.Status)

    async def start(script: str) -> WebSocket:
        query = urlencode([("cmd", "sh"), ("cmd", "-c"), ("cmd", script), ("detachable", "true")])
        return await http.open_websocket(await dial(), f"/v1/exec?{query}", timeout_s=60)

    async def listing() -> int:
        answer = await http.request(await dial(), "GET", "/v1/fs/list?path=/&recursive=true", timeout_s=60)
        await answer.body()
        return answer.status

    async def test() -> None:
        async with asyncio.timeout(300):
            before = await status()
            filling = await start(_FILL)
            for _ in range(12):
                await (await start(_ENDLESS)).close(1000)
            slow = [await start(_ENDLESS) for _ in range(12)]
            idle = [await dial() for _ in range(300)]
            watching = [await http.open_websocket(await dial(), "/v1/ports/watch", timeout_s=60) for _ in range(64)]
            await asyncio.gather(*(start("sleep 1000") for _ in range(40)), return_exceptions=True)
            # Done in the world's memory, which is full: an answer, whichever, and no reset.
            assert set(await asyncio.gather(*(listing() for _ in range(6)))) <= {200, 500, 503, 504}
            while not isinstance(await filling.receive(), websocket.Closed):
                pass
            after = await status()
            assert (after.boot_id, after.agent_restarts, after.world) == (before.boot_id, 0, "running")
            assert len(slow) + len(idle) + len(watching) == 376
        for each in dialled:
            await each.close()

    asyncio.run(test())
    assert full.run("sh", "-c", "rm -f /dev/shm/x; echo alive", capture_output=True).stdout == b"alive\n"
    full.destroy()
