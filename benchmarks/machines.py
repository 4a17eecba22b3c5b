"""Machines, by way of a real pilotd and its HTTP API, beside podman, skopeo and umoci with the same images.

One registry on loopback (Debian's) has the images: busybox and so much that does not compress. Every call is a new
connection, as of a client that is started. "Started" is what `GET …/wait` says, as clients ask it; podman counts until
`run --detach` has ended. What is not here (umoci) is left out, and its row with it.

A second pilotd has a pool of one machine, which is ready before each create; what that costs beforehand is not counted.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.support import clients, registry
from tests.support import images as layouts
from tests.support.clients import Client
from tests.support.layers import Item, tar
from tests.support.pilotd import Pilotd

from pilot.image.oci import platform, reference, unpack
from pilot.image.oci.store import Store
from pilot.images import origins

from . import harness
from .harness import Contender, Sample, Table

_MIB = 1 << 20
_SMALL_MIB, _LARGE_MIB, _LARGE_QUICK_MIB = 10, 1000, 100
_MACHINES, _MACHINES_QUICK = 1000, 100
_CONTAINERS = 10
_LIMIT_S = 60.0
_TOGETHER = 8
_FOR_EVER = ["sleep", "100000"]
_CALL_S = 120.0
_UNTIL_ASKED_S = 0.3  # until a `wait` that is asked in another thread has come


def run(rounds: int) -> Sequence[Table]:
    """All tables; `rounds` of each, of what is long fewer. 50 and more: with 1 GB of an image, and 1000 Machines."""
    is_whole = rounds >= 50
    sizes = (_SMALL_MIB, _LARGE_MIB if is_whole else _LARGE_QUICK_MIB)
    with _place() as place, registry.registry(place / "served") as served:
        images = {size: _push(place, served.domain, size) for size in sizes}
        tables = [_pull(place, images[size], size, min(rounds, 5)) for size in sizes]
        with _pilotd(place / "state") as machines, _pilotd(place / "pooled", machine_pool=1) as pooled:
            tables += [_create(place, (machines, pooled), images[size], size, min(rounds, 20)) for size in sizes]
            tables.append(_ten((machines, pooled), images[_SMALL_MIB], min(rounds, 10)))
            tables.append(_wait(machines, images[_SMALL_MIB], min(rounds, 20)))
            tables.append(_list(machines, images[_SMALL_MIB], _MACHINES if is_whole else _MACHINES_QUICK, rounds))
            tables.append(_of_a_sprite((machines, pooled), min(rounds, 10)))
        return tables


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """On a disk: /tmp may be memory, and small."""
    path = Path(tempfile.mkdtemp(prefix="pilot-bench-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        with open("/proc/self/mounts") as mounts:
            left = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{path}/")]
        for mounted in reversed(left):  # podman leaves the place of its images mounted
            subprocess.run(["umount", "--lazy", mounted], check=True)
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)


def _push(place: Path, domain: str, size_mib: int) -> str:
    """An image of that size in the registry, by skopeo."""
    filling = tar(*(Item(f"data/{n}", data=os.urandom(10 * _MIB)) for n in range(size_mib // 10)))
    made = layouts.make_layout(place / f"layout-{size_mib}", [layouts.busybox_layer(), filling], {"Cmd": _FOR_EVER})
    named = f"{domain}/of-{size_mib}:1"
    copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"oci:{made.path}", f"docker://{named}"], check=True)
    shutil.rmtree(made.path)
    return named


def _timed(begin: float) -> float:
    return (time.perf_counter() - begin) * 1e3


# ---- pull and unpack ------------------------------------------------------------------------------------------------


def _pull(place: Path, image: str, size_mib: int, rounds: int) -> Table:
    podman = clients.podman(place / "pulling")
    contenders = [
        Contender("pilot: fetched, checked, unpacked", lambda: _by_us(place, image)),
        Contender("podman pull", lambda: _by_podman(podman, image)),
    ]
    if shutil.which("umoci"):
        contenders.append(Contender("skopeo and umoci", lambda: _by_umoci(place, image)))
    samples = harness.interleave(contenders, rounds, warmup=1, limit_s=_LIMIT_S)
    yardsticks = [each.name for each in contenders[1:]]
    note = "From a registry on loopback, nothing of it here before. podman: overlay."
    return harness.make_table(f"pull and unpack of {size_mib} MB", samples, yardsticks, "wall_ms", note)


def _by_us(place: Path, image: str) -> Sample:
    directory = place / "ours"
    begin = time.perf_counter()
    store = Store(str(directory / "store"))
    named = reference.parse(image)
    with origins.of_registry(named) as origin:
        found = store.bring(origin, str(named), platform.host()).image
    (directory / "root").mkdir()
    unpack.unpack_into(store.layers(found), str(directory / "root"))
    wall_ms = _timed(begin)
    shutil.rmtree(directory)
    return {"wall_ms": wall_ms}


def _by_podman(podman: Client, image: str) -> Sample:
    begin = time.perf_counter()
    podman.run("--storage-driver=overlay", "pull", "--quiet", "--tls-verify=false", image)
    wall_ms = _timed(begin)
    podman.run("--storage-driver=overlay", "rmi", "--force", image)
    return {"wall_ms": wall_ms}


def _by_umoci(place: Path, image: str) -> Sample:
    directory = place / "theirs"
    directory.mkdir()
    copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]
    begin = time.perf_counter()
    subprocess.run([*copy, f"docker://{image}", f"oci:{directory}/layout:1"], check=True)
    subprocess.run(["umoci", "unpack", "--image", f"{directory}/layout:1", f"{directory}/bundle"], check=True)
    wall_ms = _timed(begin)
    shutil.rmtree(directory)
    return {"wall_ms": wall_ms}


# ---- Machines -------------------------------------------------------------------------------------------------------


class Machines:
    """An app of a pilotd, each call over a connection of its own."""

    def __init__(self, daemon: Pilotd) -> None:
        self.daemon = daemon
        self._headers = {"Authorization": f"Bearer {daemon.token()}", "Content-Type": "application/json"}
        self.ask("POST", "/v1/apps", {"app_name": "bench"})

    def ask(self, method: str, path: str, body: object = None) -> Any:
        # Not httpx: each client reads whom it believes, for plain HTTP as well, which takes longer than the call.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=_CALL_S)) as stream:
            stream.request(method, path, None if body is None else json.dumps(body), self._headers)
            answer = stream.getresponse()
            said = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {said.decode()}\n{self.daemon.tail()}")
        return json.loads(said) if said else None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Below the app's Machines."""
        return self.ask(method, f"/v1/apps/bench/machines{path}", body)

    def create(self, config: object, **more: object) -> str:
        return str(self.call("POST", "", {"config": config, **more})["id"])

    def wait(self, id: str, state: str) -> None:
        self.call("GET", f"/{id}/wait?state={state}&timeout=60")

    def destroy(self, id: str) -> None:
        self.call("DELETE", f"/{id}?force=true")

    def await_pool(self) -> None:
        """Its pool is full, where it has one."""
        full = f"pilotd_machine_pool_ready {float(self.daemon.machine_pool)}\n"
        while full not in httpx.get(f"{self.daemon.url}/metrics", timeout=_CALL_S, trust_env=False).text:
            time.sleep(_UNTIL_ASKED_S)


@contextlib.contextmanager
def _pilotd(state: Path, machine_pool: int = 0) -> Iterator[Machines]:
    daemon = Pilotd(state)
    daemon.machine_pool = machine_pool
    daemon.stop_machines_on_exit = True
    daemon.start()
    try:
        yield Machines(daemon)
    finally:
        daemon.stop()


def _config(image: str) -> dict[str, object]:
    return {"image": image, "stop_config": {"signal": "SIGKILL"}}


def _create(place: Path, both: tuple[Machines, Machines], image: str, size_mib: int, rounds: int) -> Table:
    machines, pooled = both
    podman = clients.podman(place / "running")
    podman.run("--storage-driver=overlay", "pull", "--quiet", "--tls-verify=false", image)
    contenders = [
        Contender("a Machine, create to started", lambda: _started(machines, image)),
        Contender("the same, of the pool", lambda: _started(pooled, image)),
        Contender("podman run --detach", lambda: _detached(podman, image)),
    ]
    samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    note = "The image is present: two rounds before. podman: crun, overlay, no network; a Machine has a network."
    return harness.make_table(f"of an image of {size_mib} MB", samples, ["podman run --detach"], "wall_ms", note)


def _started(machines: Machines, image: str) -> Sample:
    machines.await_pool()
    begin = time.perf_counter()
    id = machines.create(_config(image))
    answered_ms = _timed(begin)
    machines.wait(id, "started")
    wall_ms = _timed(begin)
    machines.destroy(id)
    return {"wall_ms": wall_ms, "answered_ms": answered_ms}


def _detached(podman: Client, image: str) -> Sample:
    options = ("--storage-driver=overlay", "--runtime", "crun")
    begin = time.perf_counter()
    podman.run(*options, "run", "--detach", "--network", "none", "--name", "bench-detached", image)
    wall_ms = _timed(begin)
    podman.run(*options, "rm", "--force", "--time", "0", "bench-detached")
    return {"wall_ms": wall_ms, "answered_ms": wall_ms}


def _ten(both: tuple[Machines, Machines], image: str, rounds: int) -> Table:
    def ten(machines: Machines) -> Sample:
        containers = [{"name": f"c{n}", "image": image, "stop": {"signal": "SIGKILL"}} for n in range(_CONTAINERS)]
        machines.await_pool()
        begin = time.perf_counter()
        id = machines.create({"containers": containers})
        machines.wait(id, "started")
        started_ms = _timed(begin)
        while len({row["container"] for row in machines.call("GET", f"/{id}/ps")}) < _CONTAINERS:
            pass
        wall_ms = _timed(begin)
        machines.destroy(id)
        return {"wall_ms": wall_ms, "started_ms": started_ms}

    alone, pooled = both
    contenders = [
        Contender("a Machine", lambda: ten(alone)),
        Contender("the same, of the pool", lambda: ten(pooled)),
    ]
    samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    note = "started_ms: until `wait` says started (one has begun); wall_ms: until all ten have a process."
    return harness.make_table(f"{_CONTAINERS} containers in one Machine", samples, [], "wall_ms", note)


def _wait(machines: Machines, image: str, rounds: int) -> Table:
    """From when the event says that it happened to when who waits has read the answer; by one clock."""
    id = machines.create(_config(image))
    machines.wait(id, "started")

    def ask() -> float:
        machines.wait(id, "stopped")
        return time.time()

    def waited() -> Sample:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            told = pool.submit(ask)
            time.sleep(_UNTIL_ASKED_S)
            machines.call("POST", f"/{id}/stop")
            told_s = told.result()
        [event] = machines.call("GET", f"/{id}/events?limit=1")
        machines.call("POST", f"/{id}/start")
        machines.wait(id, "started")
        return {"wall_ms": told_s * 1e3 - event["timestamp"]}

    samples = harness.interleave([Contender("wait", waited)], rounds, warmup=1, limit_s=_LIMIT_S)
    machines.destroy(id)
    return harness.make_table("from an event to the answer of `wait`", samples, [], "wall_ms", "In whole milliseconds.")


def _list(machines: Machines, image: str, count: int, rounds: int) -> Table:
    with concurrent.futures.ThreadPoolExecutor(_TOGETHER) as pool:
        made = [pool.submit(lambda: machines.create(_config(image), skip_launch=True)) for _ in range(count)]
        ids = [each.result() for each in made]

        def listed() -> Sample:
            begin = time.perf_counter()
            rows = machines.call("GET", "")
            if len(rows) < count:
                raise RuntimeError(f"{len(rows)} of {count} are listed")
            return {"wall_ms": _timed(begin)}

        samples = harness.interleave([Contender("list", listed)], rounds, limit_s=_LIMIT_S)
        list(pool.map(machines.destroy, ids))
    note = "All in one answer, each with its config and events."
    return harness.make_table(f"{count} Machines listed", samples, [], "wall_ms", note)


def _of_a_sprite(both: tuple[Machines, Machines], rounds: int) -> Table:
    """What each costs who wants one: a sprite, and a Machine of a checkpoint that no Machine was made of before."""
    machines, pooled = both
    number = iter(range(10_000))
    with machines.daemon.client() as client, _source(machines), _source(pooled):

        def sprite() -> Sample:
            begin = time.perf_counter()
            made = client.create_sprite(f"bench-{next(number)}")
            made.run("true", check=True)
            wall_ms = _timed(begin)
            made.destroy()
            return {"wall_ms": wall_ms}

        contenders = [
            Contender("a sprite, create to a command's end", sprite),
            Contender("a Machine on a checkpoint, create to started", lambda: _shipped(machines)),
            Contender("the same, of the pool", lambda: _shipped(pooled)),
        ]
        samples = harness.interleave(contenders, rounds, warmup=1, limit_s=_LIMIT_S)
    note = "The checkpoint is new each time; making it does not count."
    return harness.make_table("from nothing to running", samples, [contenders[0].name], "wall_ms", note)


@contextlib.contextmanager
def _source(machines: Machines) -> Iterator[None]:
    """A sprite with something on its disk."""
    with machines.daemon.client() as client:
        source = client.create_sprite("bench-source")
        source.run("sh", "-c", "head -c 50000000 /dev/urandom > data; sync", check=True)
        yield
        source.destroy()


def _shipped(machines: Machines) -> Sample:
    point = f"v{_checkpoint(machines.daemon)}"
    machines.await_pool()
    begin = time.perf_counter()
    id = machines.create({**_config(f"sprite://bench-source/{point}"), "init": {"exec": _FOR_EVER}})
    machines.wait(id, "started")
    wall_ms = _timed(begin)
    machines.destroy(id)
    return {"wall_ms": wall_ms}


def _checkpoint(daemon: Pilotd) -> int:
    """A new one of the source; its number."""
    headers = {"Authorization": f"Bearer {daemon.token()}"}
    path = f"{daemon.url}/v1/sprites/bench-source/checkpoint"
    answer = httpx.post(path, json={}, headers=headers, timeout=_CALL_S, trust_env=False)
    answer.raise_for_status()
    listed = httpx.get(f"{daemon.url}/v1/sprites/bench-source/checkpoints", headers=headers, timeout=_CALL_S)
    return max(int(row["id"][1:]) for row in listed.json() if row["id"][1:].isdigit())
