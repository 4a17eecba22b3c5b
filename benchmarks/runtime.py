"""The OCI runtime: warm in a process that stays, and cold from the command line, against the C floor, crun and runc.

All state directories are on one tmpfs, the bundle is the same, and a container runs busybox's `true`. *warm* is the
library in this process; a process per command is *cold*. `wall_ms` is what a caller waits for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot.runtime import Runtime, Stdio
from pilot.spec import parse
from pilot.spec.process import Process

from . import bundles, floor, harness
from .harness import Contender, Sample, Table

_STATE = Path("/run/pilot-bench")
_WARM_MEMORY = Path(__file__).with_name("one_warm.py")


def run(rounds: int) -> Sequence[Table]:
    """All tables; `rounds` of each."""
    with _directory() as directory:
        plain = bundles.make_bundle(directory / "plain", "true")
        filtered = bundles.make_bundle(directory / "filtered", "true", seccomp=True)
        return [
            _warm("create, start, exit, delete; warm library", directory, plain, rounds),
            _warm("the same with a seccomp profile", directory, filtered, rounds),
            _cold_run(plain, rounds),
            _cold_lifecycle(plain, rounds),
            _exec(directory, rounds),
            _memory(plain),
        ]


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    _STATE.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="pilot-bench-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(_STATE)


def commands() -> dict[str, list[str]]:
    """How each command line begins; crun where it is installed."""
    programs = {
        "pilot": os.path.join(sys.prefix, "bin", "pilot"),
        "crun": shutil.which("crun"),
        "runc": shutil.which("runc"),
    }
    return {name: [path, "--root", str(_STATE / name)] for name, path in programs.items() if path}


# ---- warm -----------------------------------------------------------------------------------------------------------


def _warm(title: str, directory: Path, bundle: Path, rounds: int) -> Table:
    with floor.started(directory, bundle, _STATE / "floor", "bench-floor") as yardstick:
        library = Library(bundle)
        contenders = [
            Contender("pilot library", library.run),
            Contender("C floor", yardstick.run),
            *(Contender(f"{name} run", _runner(name, bundle)) for name in commands() if name != "pilot"),
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


def _runner(name: str, bundle: Path) -> harness.Run:
    command = [*commands()[name], "run", "--bundle", str(bundle), f"bench-{name}"]
    return lambda: harness.execute(command)


def _cold_run(bundle: Path, rounds: int) -> Table:
    contenders = [Contender(f"{name} run", _runner(name, bundle)) for name in commands()]
    samples = harness.interleave(contenders, rounds)
    return harness.make_table("run, cold command line", samples, _others(contenders), "wall_ms")


def _cold_lifecycle(bundle: Path, rounds: int) -> Table:
    contenders = [Contender(f"{name} create, start, delete", _lifecycle(name, bundle)) for name in commands()]
    samples = harness.interleave(contenders, rounds)
    return harness.make_table("create, start, delete: three cold commands", samples, _others(contenders), "wall_ms")


def _lifecycle(name: str, bundle: Path) -> harness.Run:
    base, id = commands()[name], f"bench-{name}"
    create = [*base, "create", "--bundle", str(bundle), id]
    # By force: nobody has waited for the process yet.
    rest = ([*base, "start", id], [*base, "delete", "--force", id])
    return lambda: harness.add(harness.execute(create), *(harness.execute(command) for command in rest))


def _others(contenders: Sequence[Contender]) -> list[str]:
    return [contender.name for contender in contenders if not contender.name.startswith("pilot")]


# ---- exec -----------------------------------------------------------------------------------------------------------


def _exec(directory: Path, rounds: int) -> Table:
    bundle = bundles.make_bundle(directory / "asleep", "sleep", "100000")
    with contextlib.ExitStack() as stack:
        contenders = [Contender("pilot library", stack.enter_context(_warm_exec(bundle)))]
        for name in commands():
            contenders.append(Contender(f"{name} exec", stack.enter_context(_cold_exec(name, bundle))))
        samples = harness.interleave(contenders, rounds)
    return harness.make_table("exec of `true` in a running container", samples, _others(contenders), "wall_ms")


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
def _cold_exec(name: str, bundle: Path) -> Iterator[harness.Run]:
    base, id = commands()[name], f"bench-exec-{name}"
    harness.execute([*base, "run", "--detach", "--bundle", str(bundle), id])
    try:
        yield lambda: harness.execute([*base, "exec", id, "true"])
    finally:
        harness.execute([*base, "delete", "--force", id])


# ---- memory ---------------------------------------------------------------------------------------------------------


def _memory(bundle: Path) -> Table:
    """One sample each: the peak hardly varies."""
    samples: dict[str, list[Sample]] = {"pilot library": [{"peak_rss_mib": _library_peak_mib(bundle)}]}
    for name, base in commands().items():
        command = [*base, "run", "--bundle", str(bundle), f"bench-{name}"]
        samples[f"{name} run"] = [{"peak_rss_mib": harness.peak_rss_mib(command)}]
    return harness.make_table("peak memory of the largest process", samples, _yardsticks(samples), "peak_rss_mib")


def _yardsticks(samples: dict[str, list[Sample]]) -> list[str]:
    return [name for name in samples if not name.startswith("pilot")]


def _library_peak_mib(bundle: Path) -> float:
    """Of an interpreter that has nothing but the library in it."""
    command = [sys.executable, str(_WARM_MEMORY), str(_STATE / "library"), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout) / 1024
