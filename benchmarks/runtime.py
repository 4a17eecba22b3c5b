"""The OCI runtime: warm in a process that stays, and from the command line, against the C floor, crun and runc.

All state directories are on one tmpfs, the bundle is the same, and a container runs busybox's `true`. *warm* is the
library in this process. `pilot` is the command as it is installed, when its first call has started a planner; `pilot
cold` has none. `wall_ms` is what a caller waits for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pilot.planner import build
from pilot.runtime import Runtime, Stdio
from pilot.spec import parse
from pilot.spec.process import Process

from . import bundles, floor, harness
from .harness import Contender, Sample, Table

_STATE = Path("/run/pilot-bench")
_SOCKET = Path("/run/pilot-planner/socket")
_PILOT = os.path.join(sys.prefix, "bin", "pilot")
_WARM_MEMORY = Path(__file__).with_name("one_warm.py")


def run(rounds: int) -> Sequence[Table]:
    """All tables; `rounds` of each."""
    with directory() as place, installed(place):
        plain = bundles.make_bundle(place / "plain", "true")
        filtered = bundles.make_bundle(place / "filtered", "true", seccomp=True)
        ours_and_theirs = tools(plain)
        return [
            _warm("create, start, exit, delete; warm library", place, plain, ours_and_theirs, rounds),
            _warm("the same with a seccomp profile", place, filtered, ours_and_theirs, rounds),
            _command_run(plain, ours_and_theirs, rounds),
            _lifecycles(plain, ours_and_theirs, rounds),
            _exec(place, ours_and_theirs, rounds),
            _memory(plain, ours_and_theirs),
        ]


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A place of our own, and the state directories."""
    _STATE.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="pilot-bench-"))
    place.chmod(0o711)
    try:
        yield place
    finally:
        shutil.rmtree(place)
        shutil.rmtree(_STATE)


class Tool(msgspec.Struct, frozen=True):
    """A command line: how it begins, and in which environment."""

    name: str
    words: list[str]
    environment: dict[str, str] = {}

    def execute(self, *words: str) -> Sample:
        return harness.execute([*self.words, *words], {**os.environ, **self.environment})

    def peak_rss_mib(self, *words: str) -> float:
        return harness.peak_rss_mib([*self.words, *words], {**os.environ, **self.environment})


def tools(bundle: Path) -> list[Tool]:
    """Ours, as it is installed and without a planner, and those yardsticks that run this bundle on this machine."""
    found = []
    for name in ("crun", "runc"):
        path = shutil.which(name)
        tool = Tool(name, [path or name, "--root", str(_STATE / name)])
        try:
            tool.execute("run", "--bundle", str(bundle), f"probe-{name}")
        except (FileNotFoundError, RuntimeError) as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            found.append(tool)
    ours = [_PILOT, "--root", str(_STATE / "pilot")]
    return [
        Tool("pilot", ours),
        Tool("pilot cold", ours, {"PILOT_PLANNER": ""}),
        *found,
    ]


@contextlib.contextmanager
def installed(directory: Path) -> Iterator[None]:
    """The steady state of a default install: the first command has started a planner, which listens."""
    bundle = bundles.make_bundle(directory / "first", "true")
    steady = Tool("pilot", [_PILOT, "--root", str(_STATE / "pilot")])
    steady.execute("run", "--bundle", str(bundle), "first")
    deadline = time.monotonic() + 60
    while not _SOCKET.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the first command has started no planner: pilot planner start")
        time.sleep(0.01)
    pid = _planner_pid()
    if build.digest().encode() not in Path(_PILOT).read_bytes():
        raise RuntimeError(f"{_PILOT} is not of the sources as they are: make build")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGTERM)


def _planner_pid() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(_SOCKET))
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


# ---- warm -----------------------------------------------------------------------------------------------------------


def _warm(title: str, directory: Path, bundle: Path, tools: Sequence[Tool], rounds: int) -> Table:
    with floor.started(directory, bundle, _STATE / "floor", "bench-floor") as yardstick:
        library = Library(bundle)
        contenders = [
            Contender("pilot library", library.run),
            Contender("C floor", yardstick.run),
            *(Contender(f"{tool.name} run", _runner(tool, bundle)) for tool in tools if not is_ours(tool.name)),
        ]
        samples = harness.interleave(contenders, rounds)
    return harness.make_table(title, samples, [c.name for c in contenders[1:]], "wall_ms")


class Library:
    """The runtime in this process."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = str(bundle)
        self._runtime = Runtime(str(_STATE / "library"))

    def run(self) -> Sample:
        """One container, from reading its bundle to nothing."""
        times = [time.perf_counter()]
        created = self._runtime.create("bench-library", self._bundle, stdio=Stdio())
        times.append(time.perf_counter())
        created.container.start()
        times.append(time.perf_counter())
        status = self._runtime.wait(created.process, 60)
        times.append(time.perf_counter())
        created.container.delete()
        created.process.close()
        times.append(time.perf_counter())
        assert status.code == 0, status
        parts = [(after - before) * 1e3 for before, after in itertools.pairwise(times)]
        columns = ("create_ms", "start_ms", "exit_ms", "delete_ms")
        return {"wall_ms": sum(parts), **dict(zip(columns, parts, strict=True))}


# ---- cold -----------------------------------------------------------------------------------------------------------


def _runner(tool: Tool, bundle: Path) -> harness.Run:
    return lambda: tool.execute("run", "--bundle", str(bundle), "bench")


def _command_run(bundle: Path, tools: Sequence[Tool], rounds: int) -> Table:
    contenders = [Contender(f"{tool.name} run", _runner(tool, bundle)) for tool in tools]
    samples = harness.interleave(contenders, rounds)
    return harness.make_table("run, from the command line", samples, _others(samples), "wall_ms")


def _lifecycles(bundle: Path, tools: Sequence[Tool], rounds: int) -> Table:
    contenders = [Contender(tool.name, _lifecycle(tool, bundle)) for tool in tools]
    samples = harness.interleave(contenders, rounds)
    return harness.make_table("create, start, state, delete: four commands", samples, _others(samples), "wall_ms")


def _lifecycle(tool: Tool, bundle: Path) -> harness.Run:
    # Deleted by force: nobody has waited for the process yet.
    steps = (
        ("create", "--bundle", str(bundle), "bench"),
        ("start", "bench"),
        ("state", "bench"),
        ("delete", "--force", "bench"),
    )
    return lambda: harness.add(*(tool.execute(*step) for step in steps))


def is_ours(name: str) -> bool:
    """Whether a row is no yardstick."""
    return name.startswith("pilot")


def _others(samples: Mapping[str, object]) -> list[str]:
    """The yardsticks."""
    return [name for name in samples if not is_ours(name)]


# ---- exec -----------------------------------------------------------------------------------------------------------


def _exec(directory: Path, tools: Sequence[Tool], rounds: int) -> Table:
    bundle = bundles.make_bundle(directory / "asleep", "sleep", "100000")
    with contextlib.ExitStack() as stack:
        contenders = [Contender("pilot library", stack.enter_context(_warm_exec(bundle)))]
        for number, tool in enumerate(tools):
            run = stack.enter_context(running(tool, f"bench-exec-{number}", bundle))
            contenders.append(Contender(f"{tool.name} exec", run))
        samples = harness.interleave(contenders, rounds)
    return harness.make_table("exec of `true` in a running container", samples, _others(samples), "wall_ms")


@contextlib.contextmanager
def _warm_exec(bundle: Path) -> Iterator[harness.Run]:
    runtime = Runtime(str(_STATE / "library"))
    spec = parse.read_spec(str(bundle))
    created = runtime.create("bench-exec", str(bundle), spec=spec)
    created.container.start()
    process = Process(args=("true",), cwd="/", env=spec.process.env if spec.process else ())

    def run() -> Sample:
        begin = time.perf_counter()
        spawned = created.container.exec(process, Stdio())
        status = runtime.wait(spawned, 60)
        spawned.close()
        assert status.code == 0, status
        return {"wall_ms": (time.perf_counter() - begin) * 1e3}

    try:
        yield run
    finally:
        created.container.delete(force=True)
        runtime.wait(created.process, 60)
        created.process.close()


@contextlib.contextmanager
def running(tool: Tool, id: str, bundle: Path) -> Iterator[harness.Run]:
    """A container that sleeps, and how `true` is executed in it."""
    tool.execute("run", "--detach", "--bundle", str(bundle), id)
    try:
        yield lambda: tool.execute("exec", id, "true")
    finally:
        tool.execute("delete", "--force", id)


# ---- memory ---------------------------------------------------------------------------------------------------------


def _memory(bundle: Path, tools: Sequence[Tool]) -> Table:
    """One sample each: the peak hardly varies."""
    samples: dict[str, list[Sample]] = {"pilot library": [{"peak_rss_mib": _library_peak_mib(bundle)}]}
    for tool in tools:
        peak = tool.peak_rss_mib("run", "--bundle", str(bundle), "bench")
        samples[f"{tool.name} run"] = [{"peak_rss_mib": peak}]
    note = "With a planner it is the front end; the planner is as large as the library."
    return harness.make_table("peak memory of the largest process", samples, _others(samples), "peak_rss_mib", note)


def _library_peak_mib(bundle: Path) -> float:
    """Of an interpreter that has nothing but the library in it."""
    command = [sys.executable, str(_WARM_MEMORY), str(_STATE / "library"), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout) / 1024
