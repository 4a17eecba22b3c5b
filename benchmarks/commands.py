"""The command line under load and below its callers, beside runc and crun: what users of podman wait for.

`pilot` is as it is installed: the first command has started a planner, which has the rest. `pilot cold` has none.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support import busybox, clients
from tests.support.clients import Client

from . import bundles, harness, runtime
from .harness import Contender, Sample, Table
from .runtime import Tool

_EXECS = 20
_AT_ONCE = 8
_CONTAINERS = 1000
_FEWEST = 40  # containers of a quick run
_CONTAINERD = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{directory}/containerd.sock"
[ttrpc]
address = "{directory}/ttrpc.sock"
"""


def run(rounds: int) -> Sequence[Table]:
    """All tables; `rounds` of each. With fifty or more the containers under load are a thousand."""
    with runtime.directory() as directory, runtime.installed(directory):
        plain = bundles.make_bundle(directory / "plain", "true")
        tools = runtime.tools(plain)
        tables = [_execs(directory, tools, rounds), _load(plain, tools, rounds)]
        for make in (_podman, _buildah, _containerd):
            with contextlib.ExitStack() as stack:
                contenders = make(directory, tools, stack)
                if contenders:
                    tables.append(_whole(contenders, rounds))
        return tables


def _others(tools: Sequence[Tool]) -> list[str]:
    return [tool.name for tool in tools if not runtime.is_ours(tool.name)]


# ---- under load ------------------------------------------------------------------------------------------------------


def _execs(directory: Path, tools: Sequence[Tool], rounds: int) -> Table:
    bundle = bundles.make_bundle(directory / "asleep-under-load", "sleep", "100000")
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(_EXECS) as pool:
        contenders = []
        for number, tool in enumerate(tools):
            one = stack.enter_context(runtime.running(tool, f"load-{number}", bundle))
            contenders.append(Contender(tool.name, lambda one=one: _together(pool, [one] * _EXECS)))  # type: ignore[misc]
        samples = harness.interleave(contenders, rounds)
    return harness.make_table(f"{_EXECS} execs of `true` at once, until the last", samples, _others(tools), "wall_ms")


def _together(pool: concurrent.futures.Executor, work: Sequence[Callable[[], Sample]]) -> Sample:
    begin = time.perf_counter()
    for job in [pool.submit(one) for one in work]:
        job.result()
    return {"wall_ms": (time.perf_counter() - begin) * 1e3}


def _load(bundle: Path, tools: Sequence[Tool], rounds: int) -> Table:
    """One sample each: it is long enough."""
    count = _CONTAINERS if rounds >= 50 else _FEWEST
    samples = {}
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for tool in tools:
            work = [
                lambda tool=tool, number=number: tool.execute("run", "--bundle", str(bundle), f"many-{number}")
                for number in range(count)
            ]
            seconds = _together(pool, work)["wall_ms"] / 1e3
            samples[tool.name] = [{"per_s": count / seconds, "wall_ms": seconds * 1e3}]
    title = f"{count} containers, {_AT_ONCE} at a time: containers per second"
    return harness.make_table(title, samples, _others(tools), "per_s", "A rate: the larger is the better one.")


# ---- whole commands --------------------------------------------------------------------------------------------------


def _whole(contenders: Sequence[Contender], rounds: int) -> Table:
    title, *_ = contenders[0].name.partition(" with ")
    samples = harness.interleave(contenders, rounds)
    others = [contender.name for contender in contenders if contender.name.endswith(("runc", "crun"))]
    return harness.make_table(f"{title}, whole", samples, others, "wall_ms")


def _binaries(tools: Sequence[Tool]) -> dict[str, str]:
    """What a caller is told to execute; cold is the Python command line itself, as callers pass no environment on."""
    found = {tool.name: tool.words[0] for tool in tools}
    return {**found, "pilot cold": f"{found['pilot']}-cold"}


def _timed(client: Client, *words: str) -> Sample:
    begin = time.perf_counter()
    client.run(*words)
    return {"wall_ms": (time.perf_counter() - begin) * 1e3}


def _podman(directory: Path, tools: Sequence[Tool], stack: contextlib.ExitStack) -> list[Contender]:
    if not shutil.which("podman"):
        return []
    home = directory / "podman"
    home.mkdir(mode=0o755)
    client = clients.podman(home)
    client.run("import", clients.make_image_tar(home / "image.tar"), clients.IMAGE)
    words = ("run", "--rm", "--network", "none", clients.IMAGE, "true")
    return [
        Contender(f"podman run --rm with {name}", lambda path=path: _timed(client, "--runtime", path, *words))  # type: ignore[misc]
        for name, path in _binaries(tools).items()
    ]


def _buildah(directory: Path, tools: Sequence[Tool], stack: contextlib.ExitStack) -> list[Contender]:
    if not shutil.which("buildah"):
        return []
    home = directory / "buildah"
    home.mkdir(mode=0o755)
    client = clients.buildah(home)
    client.run("from", "--name", "working", "scratch")
    client.run("add", "working", clients.make_image_tar(home / "image.tar"), "/")
    stack.callback(client.run, "rm", "working")
    words = ("--network", "none", "working", "--", "true")
    return [
        Contender(f"buildah run with {name}", lambda path=path: _timed(client, "run", "--runtime", path, *words))  # type: ignore[misc]
        for name, path in _binaries(tools).items()
    ]


def _containerd(directory: Path, tools: Sequence[Tool], stack: contextlib.ExitStack) -> list[Contender]:
    if not (shutil.which("containerd") and shutil.which("ctr")):
        return []
    home = directory / "ctr"
    home.mkdir(mode=0o755)
    client = stack.enter_context(_started_containerd(home))
    rootfs = str(busybox.make_rootfs(home))

    def once(path: str) -> Sample:
        words = ("run", "--rm", "--runc-binary", path, "--env", "PATH=/bin", "--rootfs", rootfs, "bench", "true")
        return _timed(client, *words)

    return [
        Contender(f"ctr run --rm with {name}", lambda path=path: once(path))  # type: ignore[misc]
        for name, path in _binaries(tools).items()
    ]


@contextlib.contextmanager
def _started_containerd(home: Path) -> Iterator[Client]:
    (home / "config.toml").write_text(_CONTAINERD.format(directory=home))
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(["containerd", "--config", home / "config.toml"], stdout=log, stderr=log)
    client = Client(("ctr", "--address", str(home / "containerd.sock")), {**os.environ, "HOME": str(home)})
    deadline = time.monotonic() + 60
    while client.call("version").code:
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"containerd did not start: {(home / 'log').read_text()}")
        time.sleep(0.1)
    try:
        yield client
    finally:
        daemon.terminate()
        daemon.wait(60)
