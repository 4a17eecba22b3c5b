"""`native/front` as tests have it: compiled for one planner, and for a Python command line of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NATIVE = Path(__file__).parent.parent.parent / "native"
# What users run; a virtual machine has it elsewhere (`guestvm`).
PILOT = os.environ.get("PILOT_FRONT") or os.path.join(sys.prefix, "bin", "pilot")
_HEADERS = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
COLD = 99  # what `unserved` exits with


def unserved(directory: Path) -> Path:
    """A command line that does nothing: who gets there was not served by a planner."""
    return _script(directory / "cold", f"exit {COLD}")


def python(directory: Path) -> Path:
    """The Python command line of this environment."""
    return _script(directory / "cold", f'exec {sys.executable} -m pilot.command "$@"')


def _script(path: Path, line: str) -> Path:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def compile_front(directory: Path, digest: str, cold: Path) -> Path:
    """`pilot` in `directory`, which asks the planner at `directory/socket`."""
    program = directory / "pilot"
    defines = {"BUILD": digest, "COLD": str(cold), "SOCKET": str(directory / "socket")}
    words = [f'-D{name}="{value}"' for name, value in defines.items()]
    command = [os.fspath(_NATIVE / "static-cc"), "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *_HEADERS, *words]
    sources = sorted((_NATIVE / "front").glob("*.c"))
    subprocess.run([*command, "-o", program, *sources], check=True, timeout=60)
    return program


@contextmanager
def planner(directory: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A planner at `directory/socket` (or what `command` starts as one), for as long as the block."""
    words = command or (sys.executable, "-m", "pilot.command", "planner")
    with subprocess.Popen([*words, "--socket", directory / "socket"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def require_built(digest: str) -> None:
    """RuntimeError when `PILOT` is not of the sources as they are: no planner would answer it."""
    if digest.encode() not in Path(PILOT).read_bytes():
        raise RuntimeError(f"{PILOT} is of other sources: make build")


def digest_of(process: subprocess.Popen[str]) -> str:
    """The build of a planner; returns when it listens."""
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]
