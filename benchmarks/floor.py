"""The C floor (`floor.c`), compiled and ready to run one container each time it is asked."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pilot.kernel import hierarchies
from pilot.kernel import seccomp as compiler
from pilot.plan import seccomp as seccomp_plan
from pilot.spec import parse

from . import harness
from .harness import Sample

_SOURCE = Path(__file__).with_name("floor.c")
_COLUMNS = ("create_ms", "start_ms", "exit_ms", "delete_ms")


class Floor:
    """A running floor."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self) -> Sample:
        """One container."""
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        words = self._process.stdout.readline().split()
        if not words:
            raise RuntimeError("the floor has ended")
        parts = dict(zip(_COLUMNS, (int(word) / 1e6 for word in words), strict=True))
        return {"wall_ms": sum(parts.values()), **parts}


@contextlib.contextmanager
def started(directory: Path, bundle: Path, state: Path, name: str) -> Iterator[Floor]:
    """Compile it into `directory`, and keep it until the end."""
    program = harness.build(_SOURCE, directory)
    state.mkdir(exist_ok=True)
    groups = _cgroups(name)
    devices = next((path for path in groups if "/devices" in path), "-")
    command = [program, bundle, state, name, _filter(bundle, directory), devices, *groups]
    with subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Floor(process)
        assert process.stdin  # a pipe
        process.stdin.close()


def _cgroups(name: str) -> list[str]:
    """The directories that the runtime would make, cgroup2 last."""
    paths = hierarchies.probe_hierarchies().paths(f"/{name}", relative=True)
    unified = paths.pop("", None)
    return [*dict.fromkeys(paths.values()), *([unified] if unified else [])]


def _filter(bundle: Path, directory: Path) -> str:
    profile = parse.read_spec(str(bundle)).linux.seccomp
    if profile is None:
        return "-"
    path = directory / "filter"
    path.write_bytes(compiler.compile_filter(seccomp_plan.plan_filter(profile)).instructions)
    return str(path)
